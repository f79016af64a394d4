"""markdown: a text with headings, lists, links, code and tables becomes HTML."""

import hashlib
import random

import markdown


def text(seed):
    dice = random.Random(int(seed))
    lines = ["# Report " + seed, "", "Some *words*, `code` and a [link](https://example.org/%s)." % seed, ""]
    for number in range(20):
        lines.append("%s item %d with **%d** & <b>more</b>" % (dice.choice("*-+"), number, dice.randrange(1000)))
    lines += ["", "| a | b |", "|---|---|", "| 1 | %d |" % dice.randrange(10), "", "```", "x < y", "```"]
    return markdown.markdown("\n".join(lines), extensions=["tables", "fenced_code", "toc"])


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
