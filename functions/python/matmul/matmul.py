"""The product of two matrices of floats.

Elements of the input are multiples of 1/8, which JSON carries exactly. Sums are made in the order of the index, so that each bit
of the result is prescribed; it is given as the SHA-256 of all elements, row by row, in big-endian IEEE 754 form.
"""

import hashlib
import struct


class SplitMix64:
    """Random numbers that a seed reproduces in every Python (Steele, Lea and Flood 2014)."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed & self.MASK

    def next(self):
        """The next number of 64 bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        mixed = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & self.MASK
        return mixed ^ (mixed >> 31)

    def between(self, least, most):
        """A number from `least` to `most`, both included."""
        return least + self.next() % (most - least + 1)


def make_input(seed):
    numbers = SplitMix64(seed)
    size = numbers.between(2, 10)

    def matrix():
        return [[numbers.between(-800, 800) / 8 for _ in range(size)] for _ in range(size)]

    return {"left": matrix(), "right": matrix()}


def product(left, right):
    columns = list(zip(*right))
    result = []
    for row in left:
        line = []
        for column in columns:
            total = 0.0
            for first, second in zip(row, column):
                total += first * second
            line.append(total)
        result.append(line)
    return result


def compute(given):
    result = product(given["left"], given["right"])
    elements = b"".join(struct.pack(">d", element) for row in result for element in row)
    return {
        "size": len(result),
        "first": struct.pack(">d", result[0][0]).hex(),
        "sha256": hashlib.sha256(elements).hexdigest(),
    }


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
