"""A page with a table: texts are escaped and put into templates."""

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


PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1>\n<table>\n{rows}</table></body></html>\n"
ROW = '<tr class="{kind}"><td>{number}</td><td>{name}</td><td>{price}</td></tr>\n'
ESCAPES = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")]
WORDS = ["bread", "salt & pepper", "<unknown>", "apples", 'the "best" tea', "rice", "oil > butter", "pears"]


def make_input(seed):
    numbers = SplitMix64(seed)
    return {"title": "Order no. " + str(numbers.between(1, 99_999)), "rows": numbers.between(1, 128)}


def escape(text):
    for character, entity in ESCAPES:
        text = text.replace(character, entity)
    return text


def page(title, count):
    rows = []
    for number in range(count):
        cents = number * number * 37 % 10_000
        rows.append(
            ROW.format(
                kind="even" if number % 2 == 0 else "odd",
                number=number,
                name=escape(WORDS[number % len(WORDS)]),
                price=f"{cents // 100}.{cents % 100:02}",
            )
        )
    return PAGE.format(title=escape(title), rows="".join(rows))


def compute(given):
    text = page(given["title"], given["rows"])
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
