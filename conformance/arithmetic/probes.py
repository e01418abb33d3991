"""Probes: products of chosen numbers whose results say how a product is computed.

Each function takes the products of one program (`Multiplier.multiply`) and gives one fact, or None or "unknown" where
the results do not determine it. The numbers are after Fasi, Higham, Mikaitis and Pranesh, *Numerical behavior of NVIDIA
tensor cores* (PeerJ Computer Science, 2021), and Xie et al., arXiv 2411.00442.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from ...reference import DTYPES, Array
from .directions import DIRECTIONS, UNKNOWN, Sums, find_direction, round_to
from .order import Tree, make_tree, nodes_of, terms_of
from .products import COLUMNS, INNER

Multiply = Callable[[Array, Array], Array]

BITS = {"f64": 53, "f32": 24, "f16": 11, "bf16": 8}
"""The bits of the significand of each format."""


@dataclass(frozen=True)
class Scale:
    """Powers of two for sums of small and huge terms. Each left factor is `left`, the right factor of a term of size 1
    is `one`, and `most` is the exponent of the largest term that the format takes.
    """

    left: float
    one: float
    most: int


SCALES = {
    "f64": Scale(1.0, 1.0, 120),
    "f32": Scale(1.0, 1.0, 60),
    "bf16": Scale(1.0, 1.0, 60),
    "f16": Scale(2.0**13, 2.0**-13, 28),
}
"""What a probe of each format may use. In f16 the terms are 1 to 2**28, from factors between 2**-13 and 2**15."""

_OF_ONES = {**SCALES, "f16": Scale(2.0**14, 2.0**-14, 28)}
"""The same for sums of ones and huge terms. INNER / 2 ones must be lost beside a huge term of 24 bits. Factors stay
below 2**15, since some frameworks double the residual before they halve it.
"""


def columns_of(terms: Sequence[dict[int, float]], scale: Scale) -> Array:
    """Right factors (INNER, c): a column for each dict of terms by position; all other terms are 0."""
    made = np.zeros((INNER, len(terms)))
    for column, some in enumerate(terms):
        for position, value in some.items():
            made[position, column] = value * scale.one
    return made


def sum_terms(multiply: Multiply, dtype: str, terms: Sequence[dict[int, float]]) -> list[Fraction | None]:
    """The sums of terms, by position, as exact numbers; None for a sum that is no finite number."""
    scale, found = SCALES[dtype], []
    for start in range(0, len(terms), COLUMNS):
        part = terms[start : start + COLUMNS]
        found += multiply(np.full(INNER, scale.left), columns_of(part, scale)).tolist()
    return [Fraction(value) if np.isfinite(value) else None for value in found]


def find_order(multiply: Multiply, dtype: str) -> Tree | None:
    """The tree of the sum of INNER terms; None where what is left of the ones belongs to no tree."""
    scale = _OF_ONES[dtype]
    pairs = [(i, j) for i in range(INNER) for j in range(i)]
    # Between two powers of two: just below one the last place is half as large.
    huge = 1.5 * 2.0**scale.most
    sizes = np.full((INNER, INNER), INNER)
    # Half of the ones at a time: together they might not be lost where the range is short.
    for half in (np.arange(INNER) % 2 == 0, np.arange(INNER) % 2 == 1):
        ones = np.repeat(half[:, None].astype(float), len(pairs), 1)
        for column, (i, j) in enumerate(pairs):
            ones[i, column], ones[j, column] = huge, -huge
        left = multiply(np.full(INNER, scale.left), ones * scale.one)
        for (i, j), rest in zip(pairs, left.tolist(), strict=True):
            if not np.isfinite(rest) or rest != round(rest) or not 0 <= rest <= INNER // 2:
                return None
            sizes[i, j] -= round(rest)
            sizes[j, i] = sizes[i, j]
    return make_tree(sizes)


def dense(bits: int) -> float:
    """A number of `bits` bits that fewer bits, or the sum of few shorter numbers, do not represent: 1.0101...01."""
    return sum(2.0**-i for i in range(0, bits - 1, 2)) + 2.0 ** -(bits - 1)


def gapped(bits: int) -> float:
    """A number of `bits` bits that is the sum of two numbers of one bit: 1 + 2**-(bits - 1)."""
    return 1 + 2.0 ** -(bits - 1) if bits > 1 else 1.0


def find_operand_bits(multiply: Multiply, dtype: str, number: Callable[[int], float] = dense) -> tuple[int, int] | None:
    """How many bits of the left and of the right factor a product keeps, of numbers that `number` makes; None if the
    results are no products.
    """
    most = BITS[dtype]
    numbers = [number(bits) for bits in range(1, most + 1)]
    left: list[float] = []
    for start in range(0, most, INNER):
        some = np.array(numbers[start : start + INNER])
        a = np.concatenate([some, np.zeros(INNER - len(some))])
        left += multiply(a, np.eye(INNER)[:, : len(some)]).tolist()
    a, b = np.zeros(INNER), np.zeros((INNER, most))
    a[0], b[0] = 1.0, numbers
    right = multiply(a, b).tolist()
    if not np.isfinite([*left, *right]).all():
        return None
    counts = [next((i for i, v in enumerate(seen) if v != numbers[i]), most) for seen in (left, right)]
    # What does not even multiply 1 by 1 is no product, as in an adapter that is wrong.
    return (counts[0], counts[1]) if min(counts) and _multiplies_powers_of_two(multiply) else None


def _multiplies_powers_of_two(multiply: Multiply) -> bool:
    """Whether factors of one bit, of either sign and from 1/8 to 8, are multiplied exactly, as factors of any format
    are: a framework that clips or rescales is wrong, and has no shorter operands.
    """
    powers = [sign * 2.0**e for e in range(-3, 4) for sign in (1, -1)]
    a = np.concatenate([powers, np.zeros(INNER - len(powers))])
    b = np.zeros((INNER, len(powers)))
    b[0] = powers
    left = multiply(a, np.eye(INNER)[:, : len(powers)])
    right = multiply(np.eye(INNER)[0], b)
    return left.tolist() == powers and right.tolist() == powers


def find_operand_direction(multiply: Multiply, bits: int) -> str:
    """The direction in which a factor is rounded to `bits` bits."""
    step = Fraction(1, 2 ** (bits - 1))
    values = [sign * (1 + step * Fraction(eighths, 8)) for eighths in (2, 4, 6, 10, 12, 14) for sign in (1, -1)]
    a, b = np.zeros(INNER), np.zeros((INNER, len(values)))
    a[0], b[0] = 1.0, [float(value) for value in values]
    seen = multiply(a, b).tolist()
    return find_direction([(_exact(v),) for v in seen], lambda way: [(round_to(v, bits, way),) for v in values])


def find_product_direction(multiply: Multiply, dtype: str, bits: int) -> str:
    """The direction in which the product of two factors of `bits` bits is rounded; "exact" if it always fits, and
    "several terms" if it is rounded more than once.
    """
    own, count = BITS[dtype], 4 * INNER
    if 2 * bits <= own:
        return "exact"
    left, right = random_factors(min(bits, 30), count)
    seen = multiply_single(multiply, left, right)
    exact = [Fraction(a) * Fraction(b) for a, b in zip(np.resize(left, count).tolist(), right.tolist(), strict=True)]
    if not all(np.isfinite(seen)):
        return UNKNOWN
    # Random products are no ties, so the two directions to nearest are one here.
    rounded = (way for way in DIRECTIONS if [float(round_to(v, own, way)) for v in exact] == seen)
    return next(rounded, "several terms")


def random_factors(bits: int, count: int) -> tuple[Array, Array]:
    """INNER left factors and `count` right factors between 1 and 2, of `bits` bits that end in a 1."""
    rng = np.random.default_rng(bits)
    least = 2 ** (bits - 1)
    left, right = (rng.integers(least, 2 * least, size=size) | 1 for size in (INNER, count))
    return left / least, right / least * np.where(np.arange(count) % 2, -1, 1)


def multiply_single(multiply: Multiply, left: Array, right: Array) -> list[float]:
    """The products of left[c % INNER] and right[c], each the only term of its sum."""
    b = np.zeros((INNER, len(right)))
    b[np.arange(len(right)) % INNER, np.arange(len(right))] = right
    return multiply(left, b).tolist()


def find_store_direction(multiply: Multiply, dtype: str) -> str:
    """The direction in which the sum of two terms is rounded to the format of the results."""
    bits = BITS[dtype]
    values = _quarters(bits)
    seen = sum_terms(multiply, dtype, [{0: big, 1: small} for big, small in values])
    return find_direction(
        [(v,) for v in seen],
        lambda way: [(round_to(Fraction(big) + Fraction(small), bits, way),) for big, small in values],
    )


def _quarters(bits: int) -> list[tuple[float, float]]:
    """Pairs of a big term, whose unit in the last place of `bits` bits is 2, and a few quarters of that unit."""
    big = 1.5 * 2.0**bits
    return [(sign * big, small) for sign in (1, -1) for size in (0.5, 1.0, 1.5, 3.0) for small in (size, -size)]


SPREAD, NEXT = (0, INNER // 2, INNER - 1), (0, 1, 2)
"""Positions of three terms: far from each other, and next to each other."""


def find_accumulator_bits(multiply: Multiply, dtype: str, positions: tuple[int, int, int]) -> int | None:
    """The bits of partial sums: the least p for which 1 is lost beside 2**p. None if none is lost.

    One of three terms is added to the sum of the two others, whatever the order. So in two of the three placements of
    the 1 it meets a huge term before the other huge term is there.
    """
    powers = range(1, min(SCALES[dtype].most, 70) + 1)
    placed = [
        {small: 1.0, **dict(zip((p for p in positions if p != small), (2.0**power, -(2.0**power)), strict=True))}
        for power in powers
        for small in positions
    ]
    seen = sum_terms(multiply, dtype, placed)
    return next((power for i, power in enumerate(powers) if any(v != 1 for v in seen[3 * i : 3 * i + 3])), None)


TERMS_CHOPPED = "terms toward zero"
"""Each term is cut to the last place of the largest before it is added."""


def find_accumulation_direction(multiply: Multiply, dtype: str, bits: int) -> str:
    """The direction in which partial sums of `bits` bits are rounded."""
    if bits + 1 > SCALES[dtype].most:
        return UNKNOWN
    values = [pair for pair in _quarters(bits) if pair[0] > 0]
    placed = [
        dict(zip(places, (big, small, -big), strict=True)) for big, small in values for places in permutations(SPREAD)
    ]
    seen = sum_terms(multiply, dtype, placed)
    each = len(placed) // len(values)
    sets = [tuple(_sorted(seen[each * i : each * (i + 1)])) for i in range(len(values))]

    def due(way: str) -> Iterable[Sums]:
        for big, small in values:
            exact, huge = Fraction(small), Fraction(big)
            sums = [huge + exact, -huge + exact]
            if way == TERMS_CHOPPED:
                after = [Fraction(int(exact / 2) * 2)]
            else:
                after = [round_to(sums[0], bits, way) - huge, round_to(sums[1], bits, way) + huge]
            yield tuple(_sorted([exact, *after]))

    return find_direction(sets, due, (TERMS_CHOPPED,))


def _sorted(values: Sequence[Fraction | None]) -> list[Fraction | None]:
    return sorted(set(values), key=lambda v: (v is None, v))


def _exact(value: float) -> Fraction | None:
    return Fraction(value) if np.isfinite(value) else None


def find_fusion(multiply: Multiply, dtype: str, bits: int, accumulator: int | None, order: Tree | None) -> str:
    """Whether products are rounded before they are added: "separate", or "fused" where they are not; "exact" where
    every product of two factors of `bits` bits fits the accumulator.

    A product (1 + h)**2, whose last term h**2 is lost if it is rounded, meets the rest -(1 + 2h) in every order. In a
    sum that adds single terms to a running sum, a fused multiply-add leaves h**2.
    """
    if accumulator is None:
        return UNKNOWN
    if 2 * bits <= accumulator:
        return "exact"
    power = accumulator // 2 + 3
    if power > bits - 1:
        return UNKNOWN
    h, place = 2.0**-power, np.arange(INNER)
    seen: set[float] = set()
    for apart in _DISTANCES:
        for later in (0, apart):
            # One product for each pair of positions that are so far apart; `later` says which of the two it is at.
            is_product = (place & apart) == later
            a = np.where(is_product, 1 + h, 1.0)
            b = np.zeros((INNER, INNER // 2))
            for column, i in enumerate(place[is_product].tolist()):
                b[i, column], b[i ^ apart, column] = 1 + h, -(1 + 2 * h)
            seen |= set(multiply(a, b).tolist())
            if seen == {0.0, h * h} or seen == {h * h}:
                return "fused"
    return "separate" if seen == {0.0} and order is not None and _adds_single_terms(order) else UNKNOWN


_DISTANCES = (16, 1, 2, 4, 8)
"""Differences of two positions that are multiplied and added."""


def _adds_single_terms(order: Tree) -> bool:
    """Whether a single term is added to a sum with a term at one of the distances: a fused multiply-add would show."""
    return any(
        isinstance(part, int) and part ^ apart in terms_of(other)
        for node in nodes_of(order)
        if not isinstance(node, int)
        for part in node
        for other in node
        if other != part
        for apart in _DISTANCES
    )


def find_flushing(multiply: Multiply, dtype: str) -> str:
    """Which numbers below the normal range become 0: none, outputs, inputs, or all."""
    tiny = float(DTYPES[dtype].tiny)
    exponent = int(np.log2(tiny))
    low = 2.0 ** (exponent // 2 - 1)
    other = tiny / 4 / low
    # A normal number times a normal number, and a number below the normal range times 8 on either side.
    a, b = np.zeros(INNER), np.zeros((INNER, 3))
    a[:3] = low, tiny / 4, 8.0
    b[0, 0], b[1, 1], b[2, 2] = other, 8.0, tiny / 4
    out, left, right = multiply(a, b).tolist()
    results = (out == 0, left == 0, right == 0)
    if not {out} <= {0.0, tiny / 4} or not {left, right} <= {0.0, 2 * tiny}:
        return UNKNOWN
    known = {(False,) * 3: "none", (True,) * 3: "all", (True, False, False): "outputs", (False, True, True): "inputs"}
    return known.get(results, UNKNOWN)
