"""A function in Python under Linux: answers each byte on standard input with one on standard output.

`warm` answers itself, `fork` from a child for each request, and `stay` too, but these children live until the end.
What it imports and the first invocation happen before, as in a zygote that is well prepared.
"""
import gc
import json
import os
import signal
import sys


def main(arg):
    return arg


def invoke():
    return json.dumps(main(json.loads("{}")))


def in_child(stays):
    child = os.fork()
    if child:
        return child
    invoke()
    os.write(1, b"a")
    if stays:
        signal.pause()
    os._exit(0)


way = sys.argv[1]
invoke()
gc.collect()
gc.freeze()
staying = []
while os.read(0, 1):
    if way == "warm":
        invoke()
        os.write(1, b"a")
    elif way == "fork":
        os.waitpid(in_child(False), 0)
    else:
        staying.append(in_child(True))
for child in staying:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
