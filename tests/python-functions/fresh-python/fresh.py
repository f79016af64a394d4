"""Tells what clones must not have in common, as fresh-native does. Values whose names begin with function- come from what was
drawn or made before the first request: clones of one function share them, but no two functions do."""

import os
import random
import secrets
import tempfile
import time
import uuid

random.random()
at_import = random.getrandbits(64)
# A generator of one's own is a value like any other.
own = random.Random()
method = random.getrandbits
system = random.SystemRandom()
table = [random.getrandbits(64) for _ in range(1024)]
uses = 0
start = time.monotonic_ns()


def draw():
    yield "random", random.random().hex()
    yield "random", random.random().hex()
    for _ in range(8):
        yield "getrandbits", "%x" % random.getrandbits(64)
        yield "method", "%x" % method(64)
        yield "randbytes", random.randbytes(16).hex()
        yield "uuid1", uuid.uuid1().hex
        yield "uuid4", uuid.uuid4().hex
        yield "token", secrets.token_bytes(16).hex()
        yield "urandom", os.urandom(16).hex()
        yield "system", "%x" % system.getrandbits(64)
        yield "new", "%x" % random.Random().getrandbits(64)
    with open("/dev/urandom", "rb") as file:
        yield "device", file.read(16).hex()
    yield "function-import", "%x" % at_import
    yield "function-own", "%x" % own.getrandbits(64)
    yield "function-hash", "%x" % (hash("a text") & 0xFFFFFFFFFFFFFFFF)


def clocks():
    yield "monotonic", time.monotonic_ns()
    yield "monotonic", time.perf_counter_ns()
    yield "wall", time.time_ns()
    yield "wall", int(time.time() * 1000000) * 1000
    yield "cpu", time.process_time_ns()
    if time.monotonic_ns() < start:
        raise AssertionError("the monotonic clock went back")


def state():
    global uses
    uses += 1
    yield "table", "%x" % hash(tuple(table))
    yield "uses", uses
    for index in range(len(table)):
        table[index] += 1


def main(request):
    answer = {"draw": draw, "clocks": clocks, "state": state}[request]
    return "\n".join("%s %s" % line for line in answer())
