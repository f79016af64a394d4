"""Tests of the workloads in functions/python/: known answers, and properties that hold for any input."""

import cmath
import hashlib
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))

import expected  # noqa: E402

SEEDS = range(20)


def computed(name, given):
    """What `name` returns for this input."""
    answer = expected.load(name).handler(given, None)
    assert answer["input"] == given
    return answer["result"]


def of_float(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


class Inputs(unittest.TestCase):
    def test_generator_gives_the_published_numbers(self):
        numbers = expected.load("fib").SplitMix64(1234567)
        published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
        self.assertEqual([numbers.next() for _ in published], published)

    def test_each_function_has_the_same_generator_and_handler(self):
        for part in ("class SplitMix64", "def handler"):
            sources = set()
            for name in expected.names():
                text = Path(expected.load(name).__file__).read_text(encoding="utf-8")
                sources.add(text[text.index(part) :].split("\n\n\n")[0].strip())
            self.assertEqual(len(sources), 1, part)

    def test_there_are_all_workloads(self):
        wanted = """alloc cascading_md5 cascading_sha256 fft fib float_operations html_generation matmul matrix noop-carray-0
            noop-carray-100k noop-carray-1m noop-carray-10m pyaes read regex_match regex_search unzip zlib_decompress"""
        self.assertLessEqual(set(wanted.split()), set(expected.names()))

    def test_functions_that_are_no_workloads_are_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "other").mkdir()
            Path(folder, "other", "other.py").write_text("raise RuntimeError")
            with mock.patch.object(expected, "FUNCTIONS", Path(folder)):
                self.assertEqual(expected.names(), [])

    def test_seeds_make_inputs_that_differ(self):
        for name in expected.names():
            if name != "noop-carray-0":
                inputs = {expected.canonical(expected.load(name).make_input(seed)) for seed in SEEDS}
                self.assertGreater(len(inputs), 5, name)

    def test_results_do_not_depend_on_the_hash_seed(self):
        def lines(seed):
            command = [sys.executable, expected.__file__, "--seed=3"]
            return subprocess.check_output(command, env={**os.environ, "PYTHONHASHSEED": seed})

        self.assertEqual(lines("1"), lines("2"))

    def test_an_input_of_the_callers_own_is_taken(self):
        self.assertEqual(computed("fib", {"n": 7}), {"fib": 13})


class Computing(unittest.TestCase):
    def test_float_operations(self):
        result = computed("float_operations", {"n": 5})
        # Lagrange's identities.
        self.assertEqual(result["sines"], f"{math.sin(2) * math.sin(2.5) / math.sin(0.5):.6f}")
        self.assertEqual(result["cosines"], f"{math.cos(2) * math.sin(2.5) / math.sin(0.5):.6f}")
        self.assertEqual(of_float(result["roots"]), 0.0 + 1.0 + 2.0**0.5 + 3.0**0.5 + 2.0)

    def test_fib(self):
        values = [computed("fib", {"n": n})["fib"] for n in range(11)]
        self.assertEqual(values, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55])

    def test_matmul(self):
        result = computed("matmul", {"left": [[1.0, 2.0], [3.0, 4.0]], "right": [[0.5, 0.0], [0.25, 1.0]]})
        self.assertEqual((result["size"], of_float(result["first"])), (2, 1.0))
        self.assertEqual(result["sha256"], hashlib.sha256(struct.pack(">4d", 1.0, 2.0, 2.5, 4.0)).hexdigest())

    def test_matrix(self):
        module = expected.load("matrix")
        self.assertEqual(module.square([[1, 2], [3, 4]]), [[7, 10], [15, 22]])
        self.assertEqual(module.square([[module.PRIME, 1], [0, 1]]), [[0, 1], [0, 1]])

    def test_fft_is_the_transform_by_its_definition(self):
        module = expected.load("fft")
        for length in (2, 4, 8, 64, 512):
            values = module.signal(length, length)
            result = module.transform(values, module.roots(length))
            for index in range(0, length, max(1, length // 16)):
                turn = -2j * cmath.pi * index / length
                wanted = sum(value * cmath.exp(turn * at) for at, value in enumerate(values))
                self.assertAlmostEqual(complex(*result[index]), wanted, places=9)

    def test_alloc(self):
        self.assertEqual(computed("alloc", {"pages": 3}), {"bytes": 3 * 4096, "sum": 0 + 7 + 14})

    def test_noop_carray(self):
        self.assertEqual(computed("noop-carray-0", {"index": 0}), {"bytes": 0, "value": None})
        self.assertEqual(computed("noop-carray-1m", {"index": 252}), {"bytes": 1_000_000, "value": 1})


class Hashing(unittest.TestCase):
    def test_one_round_is_the_hash_itself(self):
        for name, algorithm in (("cascading_sha256", hashlib.sha256), ("cascading_md5", hashlib.md5)):
            given = {"text": "abc", "rounds": 1}
            self.assertEqual(computed(name, given)["digest"], algorithm(b"abc").hexdigest())

    def test_known_chains(self):
        twice = hashlib.sha256(b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").hexdigest()
        self.assertEqual(computed("cascading_sha256", {"text": "abc", "rounds": 2})["digest"], twice)
        twice = hashlib.md5(b"900150983cd24fb0d6963f7d28e17f72").hexdigest()
        self.assertEqual(computed("cascading_md5", {"text": "abc", "rounds": 2})["digest"], twice)


class Aes(unittest.TestCase):
    # Key, plain text and cipher text of FIPS 197: appendix B, and C.1.
    VECTORS = [
        ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
        ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ]

    def test_vectors_of_the_standard(self):
        for key, plain, cipher in self.VECTORS:
            result = computed("pyaes", {"key": key, "message": plain, "rounds": 1})
            self.assertEqual(result, {"encrypted": cipher, "decrypts": True})

    def test_round_keys_of_the_standard(self):
        keys = expected.load("pyaes").expand(bytes.fromhex(self.VECTORS[0][0]))
        self.assertEqual(bytes(keys[10]).hex(), "d014f9a8c9ee2589e13f0cc8b6630ca6")

    def test_each_block_for_itself(self):
        key, plain, cipher = self.VECTORS[1]
        result = computed("pyaes", {"key": key, "message": plain * 3, "rounds": 1})
        self.assertEqual(result["encrypted"], cipher * 3)


class Texts(unittest.TestCase):
    def test_compressed_texts_are_those_that_were_written(self):
        module = expected.load("zlib_decompress")
        stream = module.Deflate()
        stream.literal("capability, worker; ")
        for word in ("worker", "capability", "capability", "ker"):
            stream.reference(word)
        text = b"capability, worker; workercapabilitycapabilityker"
        self.assertEqual(zlib.decompress(stream.finish()), text)
        self.assertEqual(stream.text.encode(), text)

    def test_inputs_of_zlib_decompress_are_compressed(self):
        for seed in SEEDS:
            answer = expected.expected("zlib_decompress", seed)
            self.assertEqual(len(answer["result"]["lengths"]), 5)
            for text, length in zip(answer["input"]["texts"], answer["result"]["lengths"]):
                self.assertLess(len(text) // 2, length)

    def test_regular_expressions(self):
        text = "ab1c2d3"
        self.assertEqual(computed("regex_search", {"text": text}), {"start": 2, "text": "1c2"})
        self.assertEqual(computed("regex_search", {"text": "12 ab"}), {"start": None, "text": None})
        self.assertEqual(computed("regex_match", {"text": text}), {"matches": False, "at": [2, 4]})
        self.assertEqual(computed("regex_match", {"text": "1-2"}), {"matches": True, "at": [0]})

    def test_pages_escape_texts(self):
        page = expected.load("html_generation").page("A & B", 3)
        self.assertEqual(page.count("<tr "), 3)
        self.assertIn("<title>A &amp; B</title>", page)
        self.assertIn('<tr class="odd"><td>1</td><td>salt &amp; pepper</td><td>0.37</td></tr>', page)
        self.assertNotIn("<unknown>", page)


class Files(unittest.TestCase):
    def test_unzip_finds_what_was_packed(self):
        result = computed("unzip", {"files": 4, "words": 50, "contents": 1})
        self.assertEqual(list(result["sizes"]), [f"folder/{index}.txt" for index in range(4)])
        packed = expected.load("unzip").pack(4, 50, 1).getvalue()
        self.assertLess(len(packed), sum(result["sizes"].values()))

    def test_read_reads_all_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, TMPDIR=folder):
            result = computed("read", {"bytes": 40_000, "contents": 1})
            self.assertEqual(os.listdir(folder), [])
        self.assertEqual((result["bytes"], result["pieces"]), (40_000, 3))
        contents = expected.load("read").contents(40_000, 1)
        self.assertEqual(result["sha256"], hashlib.sha256(contents).hexdigest())


class Checking(unittest.TestCase):
    def line(self, **changes):
        line = {**expected.expected("fib", 5), **changes}
        return f"workload|WORKLOAD {expected.canonical(line)}\n"

    def test_right_lines_are_right(self):
        native = {**expected.expected("fib-native", 5)}
        self.assertEqual(native["name"], "fib-native")
        text = "boot\n" + self.line() + f"WORKLOAD {expected.canonical(native)}\n"
        self.assertEqual(expected.differences(text), (2, []))

    def test_wrong_lines_are_found(self):
        for changes in ({"input": {"n": 9}}, {"result": {"fib": 1}}, {"digest": "0" * 16}, {"name": "nobody"}, {"seed": 8}):
            right, wrong = expected.differences(self.line() + self.line(**changes))
            self.assertEqual((right, len(wrong)), (1, 1), changes)

    def test_what_is_no_json_is_wrong(self):
        self.assertEqual(len(expected.differences('WORKLOAD {"name":"fib"\n')[1]), 1)
        self.assertEqual(len(expected.differences('WORKLOAD {"name":"fib"}\n')[1]), 1)

    def test_totals(self):
        total = {"name": "fib", "seed": 2, "calls": 3, "digest": expected.total_digest("fib", 2, 3)}
        self.assertEqual(expected.differences("BALANCED " + expected.canonical(total)), (3, []))
        total["calls"] = 2
        self.assertEqual(len(expected.differences("BALANCED " + expected.canonical(total))[1]), 1)

    def judge(self, text):
        """The exit code and the last line of `--check` for a log."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            log.write_text(text)
            command = [sys.executable, expected.__file__, "--check", str(log)]
            done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
            return done.returncode, done.stdout.splitlines()[-1].split(" (")[0]

    def test_all_calls_must_be_right(self):
        totals = "2 calls succeeded, 0 failed\r\n"
        self.assertEqual(self.judge(self.line() * 2 + totals), (0, "workloads_right 2 of 2"))
        self.assertEqual(self.judge(self.line() + totals), (1, "workloads_right 1 of 2"))
        self.assertEqual(self.judge(self.line() + self.line(seed=8) + totals), (1, "workloads_right 1 of 2"))
        self.assertEqual(self.judge(self.line() + "1 calls succeeded, 1 failed\n"), (1, "workloads_right 1 of 2"))
        self.assertEqual(self.judge(self.line() * 2 + totals + "3 calls were not made\n"), (1, "workloads_right 2 of 5"))

    def test_a_log_without_an_end_or_without_lines_is_a_failure(self):
        self.assertEqual(self.judge("nothing")[0], 1)
        self.assertEqual(self.judge(self.line())[0], 1)
        self.assertEqual(self.judge("0 calls succeeded, 0 failed\n")[0], 1)

    def test_digests_are_short_and_of_the_canonical_form(self):
        self.assertEqual(expected.canonical({"b": [1, None], "a": True}), '{"a":true,"b":[1,null]}')
        self.assertTrue(re.fullmatch("[0-9a-f]{16}", expected.digest({"fib": 1})))


if __name__ == "__main__":
    unittest.main()
