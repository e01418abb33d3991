"""Tolerances of products in declared arithmetic, against products that are computed so."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.reference import DTYPES, Array
from kterm.reference.arithmetic import Arithmetic, Flushing
from kterm.reference.rounding import Estimate, batch_sum, bound, deviation, product, squared_error

from ..support.frameworks.emulated import (
    EMULATED,
    Bf16,
    Bf16x2,
    Bf16x3,
    Chopped,
    ChoppedTf32,
    Emulated,
    TensorCore,
    Tf32,
    WideTensorCore,
)

F32 = DTYPES["f32"]
CUTTING = (Tf32, ChoppedTf32, Bf16, Bf16x2, TensorCore)


def factors(inner: int, signs: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(inner)
    a, b = rng.normal(size=(40, inner)), rng.normal(size=(inner, 40))
    if signs == "one sign":
        a, b = np.abs(a), np.abs(b)
    return a.astype(np.float32), b.astype(np.float32)


def errors(adapter: type[Emulated], inner: int, signs: str) -> tuple[Array, Array, Array]:
    """The errors of the emulated product, in standard deviations, in bounds, and in undeclared standard deviations."""
    a, b = factors(inner, signs)
    error = np.abs(adapter.product(a, b).astype(np.float64) - a.astype(np.float64) @ b.astype(np.float64))
    given = Estimate(a.astype(np.float64)), Estimate(b.astype(np.float64))
    declared = adapter.arithmetic["f32"]
    readings = deviation(F32, arithmetic=declared), bound(F32, arithmetic=declared), deviation(F32)
    sigma, limit, usual = (product(*given, reading).error for reading in readings)
    assert sigma is not None
    assert limit is not None
    assert usual is not None
    return error / sigma, error / limit, error / usual


@pytest.mark.parametrize("signs", ["random signs", "one sign"])
@pytest.mark.parametrize("inner", [1, 3, 30, 300, 3000])
@pytest.mark.parametrize("adapter", [*CUTTING, Bf16x3, Chopped, WideTensorCore], ids=lambda adapter: adapter.__name__)
def test_errors_of_declared_arithmetic_are_within_tolerance(adapter: type[Emulated], inner: int, signs: str) -> None:
    sigmas, bounds, _ = errors(adapter, inner, signs)
    assert sigmas.max() <= 10
    assert bounds.max() <= 1


@pytest.mark.parametrize("adapter", CUTTING, ids=lambda adapter: adapter.__name__)
def test_the_deviation_is_of_the_size_of_the_errors(adapter: type[Emulated]) -> None:
    sigmas, _, undeclared = errors(adapter, 30, "random signs")
    assert 0.1 <= np.sqrt(np.mean(sigmas**2)) <= 1.0
    assert undeclared.max() > 10


@pytest.mark.parametrize("adapter", [Chopped, WideTensorCore], ids=lambda adapter: adapter.__name__)
def test_a_chopped_sum_leaves_the_undeclared_tolerance(adapter: type[Emulated]) -> None:
    sigmas, _, undeclared = errors(adapter, 3000, "one sign")
    assert undeclared.max() > 10
    assert 0.2 <= np.sqrt(np.mean(sigmas**2)) <= 1.5


def test_factors_that_fit_have_no_error() -> None:
    a = np.array([[1.0, 0.5, -1.75, 3.0]])
    b = np.array([[1.0], [2.0], [-0.375], [1 + 2.0**-7]])
    cut = deviation(F32, arithmetic=Arithmetic(operands="bf16"))
    plain = deviation(F32)
    assert product(Estimate(a), Estimate(b), cut).error == product(Estimate(a), Estimate(b), plain).error
    wide = b + 2.0**-20
    with_cut, without = (product(Estimate(a), Estimate(wide), one).error for one in (cut, plain))
    assert with_cut is not None
    assert without is not None
    assert with_cut[0, 0] > 1000 * without[0, 0]


def test_a_wider_accumulator_has_smaller_errors() -> None:
    a, b = (side.astype(np.float64) for side in factors(300, "random signs"))
    wide = product(Estimate(a), Estimate(b), deviation(F32, arithmetic=Arithmetic(accumulator="f64"))).error
    assert wide is not None
    # One rounding to f32 is left.
    assert np.allclose(wide, F32.u * np.abs(a @ b), rtol=1e-3, atol=0)


def test_a_narrow_accumulator_has_larger_errors() -> None:
    a, b = (side.astype(np.float64) for side in factors(300, "one sign"))
    for reading in (deviation, bound):
        narrow, usual = (
            product(Estimate(a), Estimate(b), reading(F32, arithmetic=one)).error
            for one in (Arithmetic(accumulator="bf16"), None)
        )
        assert narrow is not None
        assert usual is not None
        assert (narrow > 1000 * usual).all()
        assert np.isfinite(narrow).all()


@pytest.mark.parametrize("adapter", EMULATED, ids=lambda adapter: adapter.__name__)
def test_sums_that_are_no_products_are_as_usual(adapter: type[Emulated]) -> None:
    k = Estimate(factors(30, "random signs")[0].astype(np.float64))
    declared = replace(adapter.arithmetic["f32"], flushing=None)
    for reading in (deviation, bound):
        mine, usual = reading(F32, arithmetic=declared), reading(F32)
        for own, due in ((batch_sum(k, mine), batch_sum(k, usual)), (squared_error(k, mine), squared_error(k, usual))):
            assert own.error is not None
            assert due.error is not None
            assert own.error.tobytes() == due.error.tobytes()


@pytest.mark.parametrize("gradual", [False, True])
@pytest.mark.parametrize("flushing", ["never", "always", "may"])
def test_flushing_decides_what_is_lost_below_the_normal_range(gradual: bool, flushing: Flushing) -> None:
    reading = deviation(F32, gradual, arithmetic=Arithmetic(flushing=flushing))
    due = F32.subnormal / 2 if flushing == "never" else F32.tiny
    assert (reading.underflow, reading.underflow_acc) == (due, due)
    # Functions may flush where a regime does not require gradual underflow.
    assert reading.underflow_f == (due if gradual else F32.tiny)


def test_exact_numbers_have_no_error() -> None:
    reading = deviation(F32, arithmetic=Arithmetic(operands="bf16", rounding="toward zero")).exact
    a, b = (side.astype(np.float64) for side in factors(3, "random signs"))
    error = product(Estimate(a), Estimate(b), reading).error
    assert error is not None
    assert not error.any()
