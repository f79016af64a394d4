"""Does what its request says: `WHAT ARGUMENT`."""

import sys

import faas

count = 0


def helper(value):
    raise ValueError("no good: " + value)


def chained(value):
    try:
        helper(value)
    except ValueError as error:
        raise KeyError("after " + value) from error


def stairs(level):
    """Fails so many calls deep, in places that differ."""
    if level == 0:
        raise OSError("at the bottom")
    exec(compile("\n" * level + "stairs(level - 1)", "/code/stairs.py", "exec"), {"stairs": stairs, "level": level})


def deeper(level):
    return deeper(level + 1)


def nested(name):
    try:
        return "answer " + faas.invoke(name, "from Python").text
    except faas.InvokeError as error:
        return "caught " + error.kind


def json(shape):
    """Sends JSON of an awkward shape to another function, and tells what came of it."""
    texts = {
        "deep": b"[" * 500000 + b"]" * 500000,
        "wide": b"[" + b"1234," * 200000 + b"0]",
        "long": b'"' + b"\\u00e4" * 170000 + b'"',
        "number": b"9" * 1000000,
        "broken": b'{"a": [1, 2',
        "no-text": b'"\xff\xfe"',
    }
    try:
        reply = faas.invoke("event", texts[shape])
        return shape + ": " + str(len(reply)) + " " + repr(bytes(reply[:40]))
    except faas.InvokeError as error:
        return shape + ": " + error.kind + ": " + error.message[:100]


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


def listed(_):
    return str(len([0] * 10**9))


def text_bomb(_):
    text = "x"
    while True:
        text += text


def spin(_):
    while True:
        pass


def counted(_):
    global count
    count += 1
    return "call " + str(count)


def catch_all():
    """Catches what it can, for ever."""
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


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
    "tower": lambda _: str(9 ** 9 ** 9)[:1],
    "json": json,
    "list": listed,
    "text-bomb": text_bomb,
    "chain": chained,
    "stairs": lambda level: stairs(int(level)),
    "sleep": lambda _: __import__("time").sleep(3600),
    "catch-all": lambda _: catch_all(),
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
