"""What a computation in Python costs: calls, arithmetic, lists, dictionaries, texts and objects, without any input or output.

`main` answers how many nanoseconds it took. Imports and compilation are not part of it.
"""

import hashlib
import time


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def primes(limit):
    """How many prime numbers there are below `limit`."""
    sieve = [True] * limit
    for number in range(2, limit):
        if sieve[number]:
            for multiple in range(number * number, limit, number):
                sieve[multiple] = False
    return sum(sieve) - 2


def product(size):
    """An element of the product of two matrices of floats."""
    left = [[float(row + column) for column in range(size)] for row in range(size)]
    right = [[float(row - column) for column in range(size)] for row in range(size)]
    columns = list(zip(*right))
    rows = [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in left]
    return rows[1][2]


def words(count):
    """The most frequent of so many words, and how often it is there."""
    counts = {}
    state = 1
    for _ in range(count):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        word = "word" + str((state >> 16) % 97)
        counts[word] = counts.get(word, 0) + 1
    return max(sorted(counts), key=counts.get), max(counts.values())


class Tree:
    """A sorted binary tree."""

    def __init__(self, value):
        self.value, self.left, self.right = value, None, None

    def insert(self, value):
        side = "left" if value < self.value else "right"
        below = getattr(self, side)
        if below is None:
            setattr(self, side, Tree(value))
        else:
            below.insert(value)

    def depth(self):
        return 1 + max(below.depth() if below else 0 for below in (self.left, self.right))


def tree_depth(count):
    tree = Tree(count // 2)
    for number in range(count):
        tree.insert(number * 7919 % count)
    return tree.depth()


def digest(rounds):
    value = b""
    for _ in range(rounds):
        value = hashlib.sha256(value).digest()
    return value.hex()[:8]


def compute():
    return fib(17), primes(20000), product(24), words(8000), tree_depth(1000), digest(300)


# As CPython computes it.
EXPECTED = (1597, 2262, 4000.0, ("word0", 103), 21, "c5a34633")


def main(arg):
    start = time.monotonic_ns()
    result = compute()
    taken = time.monotonic_ns() - start
    if result != EXPECTED:
        raise ValueError(f"the result is {result}, not {EXPECTED}")
    return str(taken)
