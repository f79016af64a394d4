"""Copies what `worker.py` needs of this interpreter's standard library, with its compiled modules, to a folder.

    python3 -S pack.py FOLDER

Run by the interpreter that is packed. Compiled modules are marked as always valid: the guest's file system keeps no times.
"""
import gc
import json
import os
import signal
import sys

# What a worker has loaded, before this program itself needs more.
needed = [getattr(module, "__file__", None) for module in sys.modules.values() if module.__name__ != "__main__"]

import importlib.util
import py_compile
import shutil

library = os.path.dirname(os.__file__)
target = os.path.join(sys.argv[1], "lib", os.path.basename(library))
for source in sorted({file for file in needed if file}):
    place = os.path.join(target, os.path.relpath(source, library))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    shutil.copyfile(source, place)
    if place.endswith(".py"):
        py_compile.compile(
            place,
            cfile=importlib.util.cache_from_source(place),
            dfile=source,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
os.makedirs(os.path.join(target, "lib-dynload"), exist_ok=True)
print(sys.version.split()[0])
