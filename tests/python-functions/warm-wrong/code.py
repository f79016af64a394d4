"""A function whose warm-up fails."""


def main(arg):
    if arg == "not this":
        raise LookupError("cannot warm up with " + arg)
    return arg
