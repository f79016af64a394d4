"""A function with a package beside it."""

import pkgutil

from greetings import polite
from greetings.words import WORD


def main(arg):
    data = pkgutil.get_data("greetings", "name.txt").decode().strip()
    return f"{polite(WORD)} from {data}"
