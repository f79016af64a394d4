"""Plants a canary in each kind of place that a program in Python can keep a value in, or looks for one. It is four letters, over
and over; who looks for it knows only the letters' number times FACTOR, and so does not have it among its own objects."""

import builtins
import functools
import os
import sys

FACTOR = 0x9E3779B97F4A7C15
MASK = 0xFFFFFFFFFFFFFFFF
ModuleType = type(sys)
kept = []


class Keeper:
    """Keeps a value as an attribute."""


@functools.lru_cache
def cached(text):
    return [text]


def remembers(value=[]):
    return value


def plant(letters):
    text = letters * 128
    globals()["planted"] = text
    kept.append({"key": (text,)})
    Keeper.value = text
    remembers().append(text)
    cached(text)
    builtins.planted = text
    sys.planted = text
    sys.modules[text] = ModuleType(text)
    os.environ["PLANTED"] = text
    with open("/tmp/" + letters, "w") as file:
        file.write(text)


def is_canary(text, wanted):
    if len(text) < 8 or text[:4] != text[4:8]:
        return False
    letters = text[:4] if isinstance(text, bytes) else text[:4].encode(errors="replace")
    return int.from_bytes(letters[:4], "little") * FACTOR & MASK == wanted


def children(value):
    """What an object of the function's own refers to, as far as a program can tell."""
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif getattr(value, "__module__", None) == __name__:
        yield from value.__dict__.values()
        yield getattr(value, "__defaults__", None)


def search(wanted):
    """Where the canary is, and how many objects were looked at: what the own module, `sys` and `builtins` hold, the names of all
    modules and of what they hold, and the environment."""
    found, seen = [], set()
    names = {name: list(module.__dict__) for name, module in sys.modules.items()}
    waiting = [("modules", module) for module in (names, globals(), sys.__dict__, builtins.__dict__)]
    waiting.append(("environment", dict(os.environ)))
    # The list grows meanwhile, and keeps what it holds alive, so that no identity comes twice.
    for place, value in waiting:
        if isinstance(value, (str, bytes)):
            if is_canary(value, wanted):
                found.append(place)
        elif value is not sys.modules and id(value) not in seen:
            seen.add(id(value))
            waiting += [(place, child) for child in children(value)]
    found += ["files"] * len(os.listdir("/tmp"))
    return found, len(waiting)


def main(request):
    order, rest = request[:8].strip(), request[8:]
    if order == "search":
        found, count = search(int(rest, 16))
        return "%s in %s objects" % (" ".join(found) or "nothing", count)
    plant(rest[:4])
    if order == "fault":
        raise ValueError(rest)
    return "planted modules environment files\n" + rest
