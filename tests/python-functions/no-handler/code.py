def other(arg):
    return arg
