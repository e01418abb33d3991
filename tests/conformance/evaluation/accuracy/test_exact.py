"""The 50-digit values, and errors in units of the last place of them."""

from fractions import Fraction

import numpy as np
import pytest

from kterm.conformance.evaluation.accuracy.exact import Truth, compute_truth, concatenate, precision
from kterm.reference import DTYPES, DType


def _to_fraction(exact: Truth, i: int) -> Fraction:
    whole = int(exact.sign[i]) * (int(exact.high[i]) * 2**53 + int(exact.low[i]))
    return whole * Fraction(2) ** (int(exact.exponent[i]) - 106)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_ulps_are_those_of_exact_arithmetic(dtype: DType) -> None:
    # identity: the truth is z itself, so that what is given may be any other number.
    rng = np.random.default_rng(3)
    z = rng.normal(size=300) * 2.0 ** rng.integers(-30, 15, 300)
    z = np.concatenate([z, [0.0, dtype.tiny, dtype.subnormal * 3, -1.0, dtype.max]])
    with np.errstate(over="ignore"):
        given = (z * (1 + rng.normal(size=z.size) * 8 * dtype.u)).astype(dtype.numpy).astype(np.float64)
    given[[0, 1, -1]] = 0.0, -1.0, np.inf
    true = compute_truth("identity", False, z)
    found = true.ulps(given, dtype)
    top = Fraction(2) ** int(np.frexp(dtype.max)[1])
    for i, point in enumerate(z):
        exact = Fraction(float(point))
        assert _to_fraction(true, i) == exact
        exponent = int(np.frexp(point)[1]) - 1 if point else -10_000
        # Goldberg's: 2**(e - p + 1), where 2**e <= |v| < 2**(e + 1); not below the smallest subnormal.
        unit = max(Fraction(2) ** (exponent - precision(dtype) + 1), Fraction(dtype.subnormal))
        at = top if np.isinf(given[i]) else Fraction(float(given[i]))
        assert found[i] == pytest.approx(float(abs(at - exact) / unit), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "selu", "log_sigmoid", "sin"])
def test_a_rounded_truth_is_within_half_an_ulp(name: str) -> None:
    z = np.array([-30.0, -1.0, 0.0, 1e-310, 0.7, 12.5])
    for slope in (False, True):
        exact = compute_truth(name, slope, z)
        assert (exact.ulps(exact.rounded(), DTYPES["f64"]) <= 0.5).all()
        assert (concatenate([exact[:2], exact[2:]]).low == exact.low).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_what_rounds_to_an_infinity_overflows(dtype: DType) -> None:
    edge = Fraction(2) ** int(np.frexp(dtype.max)[1]) * (1 - Fraction(1, 2 ** (precision(dtype) + 1)))
    whole, exponent = edge, 0
    while whole >= 2**106:
        whole, exponent = whole / 2, exponent + 1
    while whole < 2**105:
        whole, exponent = whole * 2, exponent - 1

    def made(bits: int) -> Truth:
        parts = (np.array([float(part)]) for part in (1, bits >> 53, bits & (2**53 - 1)))
        return Truth(*parts, np.array([exponent + 106]))  # pyright: ignore[reportCallIssue]

    # Half a unit beyond the largest number is a tie, which goes to the even one: infinity.
    assert made(int(whole)).overflows(dtype).all()
    assert not made(int(whole) - 2**40).overflows(dtype).any()
