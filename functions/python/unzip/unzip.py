"""Unpacks a zip archive in memory and checks its checksums.

The archive is packed first. Two compressors may compress the same file differently: the result names the contents only.
"""

import hashlib
import io
import zipfile


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


WORDS = ["archive", "of", "several", "files", "that", "compress", "quite", "well"]


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"files": numbers.between(1, 8), "words": numbers.between(100, 1000), "contents": numbers.between(0, 999_999)}


def pack(files, words, seed):
    numbers = SplitMix64(seed)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index in range(files):
            text = " ".join(WORDS[numbers.between(0, len(WORDS) - 1)] for _ in range(words))
            method = zipfile.ZIP_STORED if index % 4 == 3 else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"folder/{index}.txt"), text, method)
    return packed


def compute(given):
    packed = pack(given["files"], given["words"], given["contents"])
    digest = hashlib.sha256()
    sizes = {}
    with zipfile.ZipFile(packed) as archive:
        for name in archive.namelist():
            contents = archive.read(name)
            digest.update(contents)
            sizes[name] = len(contents)
    return {"sizes": sizes, "sha256": digest.hexdigest()}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
