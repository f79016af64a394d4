"""Compares what functions with packages answered with what the same code and packages answer in the host's Python.

    python3 tests/python-packages/expected.py LOG           compare; ends with 1 if anything differs
    python3 tests/python-packages/expected.py --table LOG   print the table of docs/python.md

LOG is the console's log of the entry `python-packages`, which has the packages installed.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = HERE.parent.parent / "target" / "python-packages"
CALL = re.compile(r"call (pkg-\w+) (\d+)\s*$")
ANSWER = re.compile(r"\b([0-9a-f]{64}) \(client \d")
FAILURE = re.compile(r"failed: (?:function \S+ cannot be created: )?the function returned an error: (.*?\))(?: \(client \d.*)?$")


def packages_folder(name):
    """Where the image tool installed the packages of a function."""
    value = 0xCBF29CE484222325
    for byte in (HERE / name / "requirements.txt").read_bytes():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return PACKAGES / ("1-%016x" % value)


def computed(name, seed):
    """What the host's Python answers; None if it fails."""
    code = "import sys; sys.path[:0] = sys.argv[1:3]; import main; print(main.main(sys.argv[3]))"
    folders = [str(HERE / name), str(packages_folder(name))]
    command = [sys.executable, "-B", "-I", "-c", code, *folders, seed]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else None


def answers(log):
    """Function, seed, and what the log says of it: an answer or a failure."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        call, answer, failure = CALL.search(line), ANSWER.search(line), FAILURE.search(line)
        if call:
            found.append([call[1], call[2], None, None])
        elif answer and found:
            found[-1][2] = answer[1]
        elif failure and found:
            found[-1][3] = failure[1]
    return found


def requirements(name):
    lines = (HERE / name / "requirements.txt").read_text().splitlines()
    return ", ".join(line.split()[0].replace("==", " ") for line in lines)


def about(name):
    return (HERE / name / "main.py").read_text().partition('"""')[2].partition('"""')[0].partition(": ")[2].rstrip(".")


def main(arguments):
    is_table, log = arguments[0] == "--table", pathlib.Path(arguments[-1])
    found, wrong, rows = answers(log), 0, {}
    for name, seed, answer, failure in found:
        expected = computed(name, seed)
        is_right = answer is not None and answer == expected
        if failure is None and not is_right:
            wrong += 1
            print("%s %s: %s, but CPython says %s" % (name, seed, answer, expected), file=sys.stderr)
        rows.setdefault(name, []).append("as CPython" if is_right else failure or "DIFFERENT")
    if is_table:
        print("| packages | what the test does | result |\n|---|---|---|")
        for name, results in rows.items():
            print("| %s | %s | %s |" % (requirements(name), about(name), "; ".join(sorted(set(results)))))
    print("%d answers compared, %d wrong" % (len(found), wrong), file=sys.stderr)
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
