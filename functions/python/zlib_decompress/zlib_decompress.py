"""Decompresses five texts in zlib's format (RFC 1950).

Two compressors may compress the same text differently, so the input does not come from one: it is written here, symbol by
symbol, with the fixed codes of RFC 1951, and words that were there before as references.
"""

import hashlib
import zlib


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


WORDS = ["capability", "gateway", "thread", "worker", "message", "kernel", "region", "account", "invoke", "signal"]


class Deflate:
    """One block with fixed codes (RFC 1951, 3.2.6)."""

    def __init__(self):
        self.text = ""
        self.bits = []
        self.number(1, 1)  # the last block
        self.number(1, 2)  # fixed codes

    def number(self, value, count):
        """Numbers go in with the lowest bit first."""
        self.bits.extend(value >> index & 1 for index in range(count))

    def code(self, value, count):
        """Codes go in with the highest bit first."""
        self.bits.extend(value >> index & 1 for index in reversed(range(count)))

    def literal(self, text):
        for character in text:
            self.code(0x30 + ord(character), 8)
        self.text += text

    def reference(self, word):
        """`word`, of 3 to 10 characters, which is in the text already."""
        distance = len(self.text) - self.text.rindex(word)
        self.code(len(word) - 2, 7)
        if distance <= 4:
            self.code(distance - 1, 5)
        else:
            count = (distance - 1).bit_length() - 2
            self.code(2 * count + 2 + ((distance - 1) >> count & 1), 5)
            self.number((distance - 1) & ((1 << count) - 1), count)
        self.text += word

    def finish(self):
        """The whole, with zlib's header and checksum."""
        self.code(0, 7)
        self.bits.extend([0] * (-len(self.bits) % 8))
        octets = bytearray(b"\x78\x01")
        for at in range(0, len(self.bits), 8):
            octets.append(sum(bit << index for index, bit in enumerate(self.bits[at : at + 8])))
        return bytes(octets) + zlib.adler32(self.text.encode()).to_bytes(4, "big")


def compressed(numbers):
    stream = Deflate()
    for _ in range(numbers.between(20, 60)):
        word = WORDS[numbers.between(0, len(WORDS) - 1)]
        if word in stream.text:
            stream.reference(word)
        else:
            stream.literal(word)
        stream.literal(" .,;"[numbers.between(0, 3)])
    return stream.finish().hex()


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"texts": [compressed(numbers) for _ in range(5)]}


def compute(given):
    texts = [zlib.decompress(bytes.fromhex(text)) for text in given["texts"]]
    return {
        "lengths": [len(text) for text in texts],
        "sha256": hashlib.sha256(b"".join(texts)).hexdigest(),
    }


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
