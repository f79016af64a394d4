"""When a function in Python begins to run: the time of the system's clock in nanoseconds."""

import time


def main(arg):
    return str(time.monotonic_ns())
