"""sympy with mpmath: derivatives, integrals, equations, factors, matrices and many digits."""

import hashlib
import random

import sympy


def text(seed):
    dice = random.Random(int(seed))
    x, y = sympy.symbols("x y")
    a, b = dice.randrange(2, 9), dice.randrange(2, 9)
    matrix = sympy.Matrix(3, 3, lambda i, j: dice.randrange(9))
    results = [
        sympy.diff(sympy.sin(x) ** a * sympy.exp(b * x), x),
        sympy.integrate(x**a * sympy.exp(-x), x),
        sympy.solve(x**2 - a * x - b, x),
        sympy.factor(sympy.expand((x + a) * (x - b) * (x**2 + y))),
        sympy.simplify(sympy.cos(x) ** 2 + sympy.sin(x) ** 2),
        matrix.det(),
        sympy.pi.evalf(60),
        sympy.factorint(dice.randrange(10**12)),
    ]
    return "\n".join(map(str, results))


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
