"""Products of factors that are split into several numbers of a narrow format, such as bf16x3."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ...reference import Array
from ...reference.arithmetic import OPERAND_FORMATS
from .probes import Multiply, multiply_single, random_factors
from .products import INNER

_SPLITS = (("bf16", 2), ("bf16", 3), ("tf32", 2))
"""The usual splits, from the coarsest."""


def round_operand(a: Array, name: str, chops: bool = False) -> Array:
    """Numbers rounded to the significand of a format of OPERAND_FORMATS, to nearest or toward zero, as float64."""
    bits = OPERAND_FORMATS[name].bits
    significand, exponent = np.frexp(a.astype(np.float64))
    scaled = np.ldexp(significand, bits)
    return np.ldexp(np.trunc(scaled) if chops else np.rint(scaled), exponent - bits)


def split(a: Array, name: str, terms: int) -> list[Array]:
    """Numbers as a sum of `terms` numbers of a format, the largest first; what is left over is lost."""
    parts, rest = [], a.astype(np.float64)
    for _ in range(terms):
        parts.append(round_operand(rest, name))
        rest = rest - parts[-1]
    return parts


def find_terms(multiply: Multiply) -> tuple[str, int] | None:
    """The format and the number of terms that f32 factors are split into, found by computing single products in every
    such way; None if none gives what the program gives.
    """
    left, right = random_factors(24, 8 * INNER)
    seen = np.array(multiply_single(multiply, left, right))
    pairs = np.resize(left, len(right)), right
    for name, terms in _SPLITS:
        if any((seen == computed).all() for computed in _products(*pairs, name, terms)):
            return name, terms
    return None


def _products(a: Array, b: Array, name: str, terms: int) -> Iterator[Array]:
    """The products of single factors in each usual order: of high order first or last, all or the large ones."""
    parts_a, parts_b = split(a, name, terms), split(b, name, terms)
    pairs = list(product(range(terms), repeat=2))
    orders = [sorted(pairs, key=lambda pair: (sum(pair), sign * pair[0])) for sign in (1, -1)]
    for order in (*orders, *(one[::-1] for one in orders)):
        for kept in ([pair for pair in order if sum(pair) < terms], order):
            total = np.zeros(len(a), np.float32)
            for i, j in kept:
                total = total + (parts_a[i] * parts_b[j]).astype(np.float32)
            yield total.astype(np.float64)
