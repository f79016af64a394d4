#!/usr/bin/env python3
"""What the workloads in functions/python/ return, computed by the Python that runs this program.

    expected.py --seed=N [--seeds=COUNT] [NAME …]   a line of JSON for each workload and seed
    expected.py --check LOG                         compares what the entry `workloads` printed to its console, and
                                                    prints the figure `workloads_right`: right calls of all calls

A line is `{"digest": …, "input": …, "name": …, "result": …, "seed": …}`; the digest is described at `digest`. On the console such
lines have `WORKLOAD ` before them, and the totals of a balanced load `BALANCED `. A native counterpart has the name of
its workload with `-native` behind it.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import sys
from functools import lru_cache
from pathlib import Path

# The functions' folders stay as they are.
sys.dont_write_bytecode = True

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions" / "python"
NATIVE = "-native"


@lru_cache(maxsize=None)
def load(name):
    """The module of the workload `name`, or `None` if there is none of this name.

    Other functions are not even loaded: they may do what only Aerie can, or nothing good.
    """
    path = FUNCTIONS / name / (name.replace("-", "_") + ".py")
    if not path.is_file() or "\ndef make_input(seed):" not in path.read_text(encoding="utf-8"):
        return None
    spec = importlib.util.spec_from_file_location("workload_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names():
    """The names of all workloads: functions in Python that can make their input from a seed."""
    return sorted(folder.name for folder in FUNCTIONS.iterdir() if load(folder.name))


def canonical(value):
    """JSON with sorted names and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(result):
    """The first 16 hexadecimal digits of the SHA-256 of the result in canonical form."""
    return hashlib.sha256(canonical(result).encode()).hexdigest()[:16]


@lru_cache(maxsize=None)
def expected(name, seed):
    """What the workload `name`, or its native counterpart, answers, as a line's object."""
    workload = name[: -len(NATIVE)] if name.endswith(NATIVE) else name
    module = load(workload)
    if module is None:
        raise KeyError(f"there is no workload {workload!r} in {FUNCTIONS}")
    # As a caller gets it, who knows no tuples.
    answer = json.loads(json.dumps(module.handler({"seed": seed}, None)))
    return {"name": name, "seed": seed, "digest": digest(answer["result"]), **answer}


def total_digest(name, seed, calls):
    """The digests of `calls` consecutive seeds, combined by exclusive or, so that their order does not matter."""
    total = 0
    for number in range(seed, seed + calls):
        total ^= int(expected(name, number)["digest"], 16)
    return f"{total:016x}"


# How many calls the run made, as its last lines say.
TOTALS = re.compile(r"(\d+) calls succeeded, (\d+) failed$")
NOT_MADE = re.compile(r"(\d+) calls were not made$")


def calls_of(log):
    """How many calls a console's log should have results of, failed and missing ones included; `None` without totals."""
    totals, not_made = None, 0
    for line in log.splitlines():
        if found := TOTALS.search(line.rstrip()):
            totals = int(found[1]) + int(found[2])
        elif found := NOT_MADE.search(line.rstrip()):
            not_made = int(found[1])
    return None if totals is None else totals + not_made


def differences(log):
    """Compares the lines of a console's log. Returns how many calls were right, and texts about the wrong lines."""
    right, wrong = 0, []
    for line in log.splitlines():
        for word, compare in (("WORKLOAD ", compare_call), ("BALANCED ", compare_total)):
            at = line.find(word + "{")
            if at >= 0:
                calls, difference = parsed(line[at + len(word) :], compare)
                right += calls
                wrong += [difference] if difference else []
    return right, wrong


def parsed(text, compare):
    """Compares a line: how many right calls it stands for, and what is wrong with it."""
    try:
        line = json.loads(text)
        difference = compare(line)
        return (0, difference) if difference else (line.get("calls", 1), None)
    except ValueError as error:
        return 0, f"no JSON ({error}): {text[:100]}"
    except (KeyError, TypeError) as error:
        return 0, f"{error} in {text[:100]}"


def compare_call(line):
    wanted = expected(line["name"], line["seed"])
    for key in ("input", "result", "digest"):
        if line[key] != wanted[key]:
            return (
                f"{line['name']} with seed {line['seed']}: its {key} is {canonical(line[key])}, "
                f"but Python's is {canonical(wanted[key])}"
            )
    return None


def compare_total(line):
    wanted = total_digest(line["name"], line["seed"], line["calls"])
    if line["digest"] != wanted:
        return f"{line['name']}, {line['calls']} calls from seed {line['seed']}: {line['digest']}, but Python's is {wanted}"
    return None


def check(path):
    """Prints how a console's log compares; returns the exit code."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    right, wrong = differences(text)
    calls = calls_of(text)
    for difference in wrong:
        print(difference)
    if calls is None:
        print(f"{path} has no line `N calls succeeded, N failed`: the run did not end")
        return 1
    print(f"workloads_right {right} of {calls} (compared with Python {sys.version.split()[0]})")
    return 0 if right == calls > 0 and not wrong else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many consecutive seeds (1)")
    parser.add_argument("--check", metavar="LOG", help="a console's log to compare")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these workloads")
    options = parser.parse_args()
    if options.check:
        return check(options.check)
    unknown = [name for name in options.names if load(name) is None]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(names())}")
    for name in options.names or names():
        for seed in range(options.seed, options.seed + options.seeds):
            print(canonical(expected(name, seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
