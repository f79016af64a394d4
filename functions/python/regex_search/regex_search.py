"""Looks for a digit, a non-digit and a digit anywhere in a text of 64 characters."""

import re


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


LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PATTERN = re.compile(r"\d\D\d")


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"text": "".join(LETTERS[numbers.between(0, len(LETTERS) - 1)] for _ in range(64))}


def compute(given):
    found = PATTERN.search(given["text"])
    return {"start": found.start() if found else None, "text": found.group() if found else None}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
