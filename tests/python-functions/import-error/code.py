import nowhere


def main(arg):
    return arg
