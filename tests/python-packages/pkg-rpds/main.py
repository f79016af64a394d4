"""rpds, which jsonschema from 4.18 on needs, is compiled: it cannot be imported."""

import rpds


def main(arg):
    return str(rpds.HashTrieMap())
