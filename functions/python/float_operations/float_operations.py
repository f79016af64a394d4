"""Sums of the sines, cosines and square roots of 0 … n-1.

IEEE 754 prescribes every bit of a square root and of a sum, so those are given as the 16 hexadecimal digits of their bits.
Sine and cosine may differ in the last bit between two mathematics libraries: their sums are given with six decimals.
"""

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
    return {"n": SplitMix64(seed).between(1, 10_000)}


def compute(given):
    sines = cosines = roots = 0.0
    for number in range(given["n"]):
        sines += math.sin(number)
        cosines += math.cos(number)
        roots += math.sqrt(number)
    return {
        "sines": f"{sines:.6f}",
        "cosines": f"{cosines:.6f}",
        "roots": struct.pack(">d", roots).hex(),
    }


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
