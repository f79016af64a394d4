"""The discrete Fourier transform of a sequence whose length is a power of two (Cooley and Tukey).

The roots of unity are made with square roots instead of sines: then IEEE 754 prescribes each bit of the result, in every
library. It is given as the SHA-256 of all real and imaginary parts in big-endian IEEE 754 form.
"""

import hashlib
import math
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
    length = 1 << numbers.between(4, 9)
    return {"length": length, "contents": numbers.between(0, 999_999)}


def signal(length, seed):
    """So many numbers from -1 to 1, multiples of 1/512."""
    numbers = SplitMix64(seed)
    return [numbers.between(-512, 512) / 512 for _ in range(length)]


def roots(length):
    """The first half of the roots of unity, exp(-2 pi i k / length), as pairs."""
    table = [(1.0, 0.0)]
    cosine, sine = -1.0, 0.0  # of pi, which is halved each time
    while 2 * len(table) < length:
        if len(table) == 1:
            cosine, sine = 0.0, 1.0
        else:
            half = math.sqrt((1.0 + cosine) / 2.0)
            cosine, sine = half, sine / (2.0 * half)
        finer = []
        for real, imaginary in table:
            finer.append((real, imaginary))
            finer.append((real * cosine + imaginary * sine, imaginary * cosine - real * sine))
        table = finer
    return table


def transform(values, table):
    if len(values) == 1:
        return [(values[0], 0.0)]
    even = transform(values[0::2], table[0::2])
    odd = transform(values[1::2], table[0::2])
    upper, lower = [], []
    for (real, imaginary), (x, y), (c, s) in zip(even, odd, table):
        x, y = x * c - y * s, x * s + y * c
        upper.append((real + x, imaginary + y))
        lower.append((real - x, imaginary - y))
    return upper + lower


def compute(given):
    values = signal(given["length"], given["contents"])
    result = transform(values, roots(len(values)))
    # Adding 0.0 makes a negative zero positive.
    parts = b"".join(struct.pack(">dd", real + 0.0, imaginary + 0.0) for real, imaginary in result)
    return {"first": parts[:8].hex(), "sha256": hashlib.sha256(parts).hexdigest()}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
