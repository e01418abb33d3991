"""Sums in narrow accumulators: the tolerance holds in any order, also where later terms are lost one and all."""

from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np
import pytest

from kterm.reference import DTYPES, Array
from kterm.reference import rounding as r
from kterm.reference.arithmetic import Arithmetic
from kterm.reference.error_model import Estimate, bound, deviation

RNG = np.random.default_rng(0)
TERMS: Mapping[str, Callable[[int], Array]] = {
    "equal": lambda n: np.ones((n, 24)) * RNG.uniform(1, 2, 24),
    "of one sign": lambda n: RNG.uniform(0, 1, (n, 24)),
    "with a mean": lambda n: RNG.normal(0.3, 1, (n, 24)),
    "of mean zero": lambda n: RNG.normal(size=(n, 24)),
    "of two sizes": lambda n: RNG.choice([1e-3, 1.0], (n, 24)),
}


def add(terms: Array) -> Array:
    total = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        total = total + term
    return total


ORDERS: Mapping[str, Callable[[Array], Array]] = {
    "forward": add,
    "backward": lambda terms: add(terms[::-1]),
    "blocks": lambda terms: add(np.stack([add(block) for block in np.array_split(terms, -(-len(terms) // 32))])),
    "pairs": lambda terms: add(np.stack([terms[::2].sum(0, dtype=terms.dtype), add(terms[1::2])])),
}


def ratio(terms: Array, total: Array, name: str, one_sided: bool = True) -> float:
    reading = deviation(DTYPES[name], arithmetic=Arithmetic(accumulator=name))
    ones = Estimate(np.ones((1, len(terms))))
    due = r.product(ones, Estimate(terms.astype(np.float64)), reading)
    limit = due.tolerance(reading)[0] if one_sided else reading.kappa * np.asarray(due.error)[0]
    return float((np.abs(total.astype(np.float64) - due.value[0]) / limit).max())


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("name", ["bf16", "f16"])
def test_every_order_is_within_the_tolerance(kind: str, name: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bf16" else np.float16)
    for n in (2, 5, 16, 64, 200, 600, 1100, 3000):
        terms = TERMS[kind](n).astype(dtype)
        for order, total in ORDERS.items():
            assert ratio(terms, total(terms), name) < 1, (n, order)


def test_without_the_part_of_one_sign_equal_terms_are_beyond_it() -> None:
    terms = np.ones((640, 3), ml_dtypes.bfloat16)
    assert add(terms)[0] == 256
    assert ratio(terms, add(terms), "bf16", one_sided=False) > 1
    assert ratio(terms, add(terms), "bf16") < 1


def test_wide_accumulators_and_bounds_have_no_such_part() -> None:
    value = np.ones(3)
    assert deviation(DTYPES["bf16"]).one_sided(value, 100) is None
    assert deviation(DTYPES["f32"]).one_sided(value, 100) is None
    narrow = Arithmetic(accumulator="bf16")
    assert bound(DTYPES["bf16"], arithmetic=narrow).one_sided(value, 100) is None
    found = deviation(DTYPES["bf16"], arithmetic=narrow).one_sided(value, 100)
    assert found is not None
    assert found[0] == pytest.approx(100 * 2.0**-8 / 2)
