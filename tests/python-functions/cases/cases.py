"""Does what its request says: `WHAT ARGUMENT`."""

import sys

import faas

count = 0


def helper(value):
    raise ValueError("no good: " + value)


def deeper(level):
    return deeper(level + 1)


def nested(name):
    try:
        return "answer " + faas.invoke(name, "from Python").text
    except faas.InvokeError as error:
        return "caught " + error.kind


def impatient(name):
    try:
        return faas.invoke(name, b"", timeout=0.2).text
    except faas.InvokeError as error:
        return "caught " + error.kind


def logged(text):
    import logging

    print("printed", text)
    print("complained", text, file=sys.stderr)
    faas.log("logged", text)
    logging.warning("warned %s", text)
    return "written"


def hog(_):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def spin(_):
    while True:
        pass


def counted(_):
    global count
    count += 1
    return "call " + str(count)


def randomness(_):
    import random

    return "random " + str(random.random() != random.Random(1).random())


CASES = {
    "raise": helper,
    "exit": lambda code: sys.exit(int(code)),
    "complain": lambda text: sys.exit(text),
    "number": lambda text: int(text),
    "recurse": lambda _: deeper(0),
    "spin": spin,
    "hog": hog,
    "power": lambda _: str(10 ** 10 ** 9)[:1],
    "regex": lambda _: str(__import__("re").match("(a+)+$", "a" * 60 + "b")),
    "nested": nested,
    "impatient": impatient,
    "log": logged,
    "env": lambda name: faas.env[name],
    "count": counted,
    "random": randomness,
    "long": lambda length: "x" * int(length),
}


def main(arg):
    what, _, argument = arg.partition(" ")
    return CASES[what](argument)
