"""Writes a file below /tmp, reads it piece by piece, and removes it."""

import hashlib
import os


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


PIECE = 16 * 1024


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"bytes": numbers.between(1, 1 << 20), "contents": numbers.between(0, 999_999)}


def contents(length, seed):
    numbers = SplitMix64(seed)
    pattern = b"".join(numbers.next().to_bytes(8, "big") for _ in range(127))
    return (pattern * (length // len(pattern) + 1))[:length]


def compute(given):
    path = f"{os.environ.get('TMPDIR', '/tmp')}/read-{os.getpid()}-{given['contents']}"
    digest = hashlib.sha256()
    pieces = length = 0
    try:
        with open(path, "wb") as file:
            file.write(contents(given["bytes"], given["contents"]))
        with open(path, "rb") as file:
            while True:
                piece = file.read(PIECE)
                if not piece:
                    break
                digest.update(piece)
                pieces += 1
                length += len(piece)
    finally:
        if os.path.exists(path):
            os.remove(path)
    return {"bytes": length, "pieces": pieces, "sha256": digest.hexdigest()}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
