"""Next to nothing, in a worker that has allocated 1_000_000 bytes when the module was loaded: what a larger worker costs."""


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


CARRAY = (bytes(range(251)) * (1_000_000 // 251 + 1))[:1_000_000]


def make_input(seed):
    return {"index": SplitMix64(seed).between(0, max(len(CARRAY) - 1, 0))}


def compute(given):
    return {"bytes": len(CARRAY), "value": CARRAY[given["index"]] if CARRAY else None}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
