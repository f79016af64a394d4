"""jsonschema: good and bad documents are checked, and each error is told with its path."""

import hashlib
import random

import jsonschema

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["name", "items"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
    },
    "$defs": {"item": {"type": "integer", "minimum": 0, "not": {"multipleOf": 7}}},
}


def text(seed):
    dice = random.Random(int(seed))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    lines = []
    for name in ["good", "Bad", 5]:
        document = {"name": name, "items": [dice.randrange(-5, 50) for _ in range(dice.randrange(12))]}
        errors = sorted(validator.iter_errors(document), key=lambda error: list(map(str, error.path)))
        lines += ["%s: %s" % (error.json_path, error.message) for error in errors] or ["fine"]
    return "\n".join(lines)


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
