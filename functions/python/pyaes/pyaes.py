"""AES-128 (FIPS 197) in Python, block by block (ECB): a message is encrypted some rounds, and decrypted again."""


class SplitMix64:
    """Random numbers that a seed reproduces in every Python (Steele, Lea and Flood 2014)."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed & self.MASK

    def next(self):
        """The next number of 64 bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        mixed = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & self.MASK
        return mixed ^ (mixed >> 31)

    def between(self, least, most):
        """A number from `least` to `most`, both included."""
        return least + self.next() % (most - least + 1)


def make_input(seed):
    numbers = SplitMix64(seed)

    def octets(count):
        return bytes(numbers.between(0, 255) for _ in range(count)).hex()

    return {"key": octets(16), "message": octets(16 * numbers.between(1, 10)), "rounds": numbers.between(1, 5)}


def times_x(octet):
    """The product with x in the field of 256 elements (FIPS 197, 4.2.1)."""
    octet <<= 1
    return octet ^ 0x11B if octet & 0x100 else octet


def times(left, right):
    """The product of two elements of the field."""
    result = 0
    while right:
        if right & 1:
            result ^= left
        left = times_x(left)
        right >>= 1
    return result


def substitution():
    """The S-box: the inverse in the field, then an affine map (FIPS 197, 5.1.1)."""
    exponentials = [1]
    while len(exponentials) < 255:
        last = exponentials[-1]
        exponentials.append(last ^ times_x(last))  # times 3, which generates the field
    logarithms = {value: index for index, value in enumerate(exponentials)}
    box = []
    for octet in range(256):
        inverse = exponentials[-logarithms[octet] % 255] if octet else 0
        doubled = inverse | inverse << 8
        mapped = 0x63
        for shift in range(5):
            mapped ^= doubled >> (8 - shift) & 0xFF
        box.append(mapped)
    return box


BOX = substitution()
INVERSE_BOX = [BOX.index(octet) for octet in range(256)]
TIMES = {factor: [times(octet, factor) for octet in range(256)] for factor in (2, 3, 9, 11, 13, 14)}
# Where each octet of a state comes from when its rows are shifted to the left, and back (FIPS 197, 5.1.2 and 5.3.1).
SHIFTED = [(index + 4 * (index % 4)) % 16 for index in range(16)]
UNSHIFTED = [(index - 4 * (index % 4)) % 16 for index in range(16)]
ROUNDS = 10


def expand(key):
    """The round keys (FIPS 197, 5.2), 16 octets each."""
    words = [list(key[index : index + 4]) for index in range(0, 16, 4)]
    constant = 1
    while len(words) < 4 * (ROUNDS + 1):
        word = words[-1]
        if len(words) % 4 == 0:
            word = [BOX[octet] for octet in word[1:] + word[:1]]
            word[0] ^= constant
            constant = times_x(constant)
        words.append([old ^ new for old, new in zip(words[-4], word)])
    return [sum(words[index : index + 4], []) for index in range(0, len(words), 4)]


def add(state, key):
    return [left ^ right for left, right in zip(state, key)]


def mix(state, a, b, c, d):
    """Multiplies each column with the circulant matrix whose first row is given as tables; `None` is times 1."""
    mixed = []
    for at in range(0, 16, 4):
        column = state[at : at + 4]
        for row in range(4):
            total = 0
            for index, table in enumerate((a, b, c, d)):
                octet = column[(row + index) % 4]
                total ^= octet if table is None else table[octet]
            mixed.append(total)
    return mixed


def encrypt_block(keys, block):
    state = add(block, keys[0])
    for number in range(1, ROUNDS):
        state = [BOX[state[index]] for index in SHIFTED]
        state = add(mix(state, TIMES[2], TIMES[3], None, None), keys[number])
    return bytes(add([BOX[state[index]] for index in SHIFTED], keys[ROUNDS]))


def decrypt_block(keys, block):
    state = add(block, keys[ROUNDS])
    for number in range(ROUNDS - 1, 0, -1):
        state = add([INVERSE_BOX[state[index]] for index in UNSHIFTED], keys[number])
        state = mix(state, TIMES[14], TIMES[11], TIMES[13], TIMES[9])
    return bytes(add([INVERSE_BOX[state[index]] for index in UNSHIFTED], keys[0]))


def each_block(step, keys, message):
    return b"".join(step(keys, message[at : at + 16]) for at in range(0, len(message), 16))


def compute(given):
    keys = expand(bytes.fromhex(given["key"]))
    message = text = bytes.fromhex(given["message"])
    for _ in range(given["rounds"]):
        text = each_block(encrypt_block, keys, text)
    encrypted = text
    for _ in range(given["rounds"]):
        text = each_block(decrypt_block, keys, text)
    return {"encrypted": encrypted.hex(), "decrypts": text == message}


def handler(event, context):
    """Computes what `event` says: `{"seed": N}`, or the input itself. Returns input and result."""
    given = make_input(event["seed"]) if "seed" in event else event
    return {"input": given, "result": compute(given)}
