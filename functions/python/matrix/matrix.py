"""The square of a matrix of whole numbers, modulo a prime, several times over."""

import hashlib


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


PRIME = 1_000_003


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"size": numbers.between(8, 24), "squarings": numbers.between(1, 4), "contents": numbers.between(0, 999_999)}


def matrix(size, seed):
    numbers = SplitMix64(seed)
    return [[numbers.between(0, PRIME - 1) for _ in range(size)] for _ in range(size)]


def square(rows):
    columns = list(zip(*rows))
    return [[sum(left * right for left, right in zip(row, column)) % PRIME for column in columns] for row in rows]


def compute(given):
    rows = matrix(given["size"], given["contents"])
    for _ in range(given["squarings"]):
        rows = square(rows)
    text = ";".join(",".join(str(element) for element in row) for row in rows)
    trace = sum(row[index] for index, row in enumerate(rows)) % PRIME
    return {"trace": trace, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
