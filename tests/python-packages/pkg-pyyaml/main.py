"""yaml: a document is written, read back with anchors, types and several documents, and written again."""

import hashlib
import random

import yaml

TEXT = """
base: &base {name: one, size: 1_000, at: 2024-02-29, pi: 3.14}
more:
  <<: *base
  text: |
    first
    second
  folded: >-
    a
    b
  list: [yes, no, ~, 0x1F, 1e3]
---
- second document
"""


def text(seed):
    dice = random.Random(int(seed))
    value = {"n": [dice.randrange(1000) for _ in range(20)], "text": "a: b\n# no comment", "none": None}
    first, second = yaml.safe_load_all(TEXT)
    again = yaml.safe_load(yaml.safe_dump(value))
    return yaml.safe_dump([again == value, again, first, second], sort_keys=True)


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
