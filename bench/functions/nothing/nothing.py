def main(arg):
    return arg
