"""The shortest function: a greeting."""


def main(arg):
    return f"Hello, {arg or 'world'}!"
