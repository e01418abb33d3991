"""The tolerances of the steps of the rule against measured errors."""

from collections.abc import Callable

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, DTYPES, Array, DType, rounding
from kterm.reference.rounding import Estimate, Reading, bound, deviation

from ..support.rounding import BLIND, F32, F64, FORMATS, READINGS, excess, held, inherited, rounded

# A step draws its inputs and returns their estimate after the step, with what a framework computes. Here the framework
# is NumPy, which rounds the inputs to the format and computes in it.
Step = Callable[[np.random.Generator, DType, Reading], tuple[Estimate, Array]]


def _drawn(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape) * 2.0 ** rng.integers(-6, 7)


def _product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = _drawn(rng, 6, n), _drawn(rng, n, 5)
    due = rounding.product(inherited(a, reading), inherited(b, reading), reading)
    return due, held(a, f, rng) @ held(b, f, rng)


def _exact_product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = rounded(_drawn(rng, 6, n), f), rounded(_drawn(rng, n, 5), f)
    order = rng.permutation(n)  # a framework does not sum in the oracle's order
    due = rounding.product(Estimate(a), Estimate(b), reading)
    return due, a[:, order].astype(f.numpy) @ b[order].astype(f.numpy)


def _shown_product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = _drawn(rng, 6, n), rounded(_drawn(rng, n, 5), f)
    shown = held(a, f, rng).astype(np.float64)
    estimate = Estimate(shown, reading.u * np.abs(shown), once=True)
    # The framework continues with a, but shows a rounded.
    wide = (a.astype(np.longdouble) @ b.astype(np.longdouble)).astype(f.numpy)
    return rounding.product(estimate, Estimate(b), reading), wide


def _biased(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    a, b = _drawn(rng, 6, 5), rounded(_drawn(rng, 5), f)
    due = rounding.add_bias(inherited(a, reading), b, reading)
    return due, held(a, f, rng) + b.astype(f.numpy)


def _residual(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    x, y = _drawn(rng, 6, 5), rounded(_drawn(rng, 6, 5), f)
    # Scaled to a mean and back, by a factor that is not a power of two.
    scale = f.numpy.type(30)
    answer = (held(x, f, rng) - y.astype(f.numpy)) / scale * scale
    return rounding.residual(inherited(x, reading), y, reading), answer


def _squared_error(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    r = _drawn(rng, 4, int(rng.integers(1, 17)), int(rng.integers(1, 17)))
    due = rounding.squared_error(inherited(r, reading), reading)
    return due, np.array([np.dot(e.ravel(), e.ravel()) for e in held(r, f, rng)]) / f.numpy.type(2)


def _hadamard(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    s, d = _drawn(rng, 6, 5), _drawn(rng, 6, 5)
    due = rounding.hadamard(inherited(s, reading), inherited(d, reading), reading)
    return due, held(s, f, rng) * held(d, f, rng)


def _batch_sum(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    a = _drawn(rng, int(rng.integers(1, 65)), 7)
    due = rounding.batch_sum(inherited(a, reading), reading)
    order = rng.permutation(a.shape[0])
    return due, np.add.reduce(held(a, f, rng)[order], 0)


STEPS = {
    step.__name__.strip("_"): step
    for step in (
        _product,
        _exact_product,
        _shown_product,
        _biased,
        _residual,
        _squared_error,
        _hadamard,
        _batch_sum,
    )
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("format_", FORMATS)
def test_the_bound_of_a_step_is_never_exceeded(name: str, format_: DType) -> None:
    rng, reading = np.random.default_rng(1), bound(format_)
    for _ in range(300):
        estimate, computed = STEPS[name](rng, format_, reading)
        assert excess(estimate, computed, reading).max() <= 1


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("format_", FORMATS)
def test_the_deviation_of_a_step_is_one(name: str, format_: DType) -> None:
    rng, reading = np.random.default_rng(2), deviation(format_)
    largest = [excess(*STEPS[name](rng, format_, reading), reading).max() * reading.kappa for _ in range(300)]
    assert max(largest) < 7
    assert np.median(largest) > 2 * BLIND


@pytest.mark.parametrize("reading", READINGS)
def test_a_jump_is_passed_on_in_full(reading: Reading) -> None:
    rng = np.random.default_rng(8)
    a, b, jump = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), np.abs(rng.normal(size=(3, 4)))
    due = rounding.product(Estimate(a, None, jump), Estimate(b), reading)
    signs = rng.choice([-1, 1], size=(200, 3, 4))
    assert (np.abs((a + signs * jump) @ b - a @ b) <= due.tolerance(reading)).all()
    assert due.jump is not None
    # It is no larger than needed: the worst combination of signs reaches it.
    worst = np.einsum("ij,jk->ik", jump, np.abs(b))
    assert np.allclose(due.jump, worst, rtol=1e-14)
    r = rounding.residual(Estimate(a, None, jump), np.zeros_like(a), reading)
    error = rounding.squared_error(r, reading)
    moved = a + np.sign(a) * jump
    assert np.square(moved).sum() / 2 - error.value <= error.tolerance(reading) * (1 + 1e-12)
    k = rounding.hadamard(Estimate(a, None, jump), Estimate(a, None, jump), reading)
    assert (np.abs(moved * moved - a * a) <= k.tolerance(reading) * (1 + 1e-12)).all()


@pytest.mark.parametrize("size", [1e-60, 1e-100, 1e-150, 1e-200, 1e-280])
def test_very_small_numbers_keep_their_deviation(size: float) -> None:
    rng, reading = np.random.default_rng(9), deviation(F64)
    a, b = rng.normal(size=(5, 16)), rng.normal(size=(16, 3))
    usual = rounding.product(inherited(a, reading), inherited(b, reading), reading)
    small = rounding.product(inherited(a * size, reading), inherited(b, reading), reading)
    other = rounding.product(inherited(a, reading), inherited(b * size, reading), reading)
    split = rounding.product(inherited(a * size**0.5, reading), inherited(b * size**0.5, reading), reading)
    assert usual.error is not None
    for estimate in (small, other, split):
        assert estimate.error is not None
        ratio = estimate.error / size / usual.error
        # Except for the underflow error, the relative deviation does not depend on the size, up to a factor sqrt(n).
        assert ratio.min() > 0.2
        assert ratio.max() < 1.1 + 16 * reading.underflow / (size * usual.error.min())


@pytest.mark.parametrize("scale", [1.0, 1e-40, 1e-70, 1e-100])
def test_the_error_of_a_small_residual_reaches_E(scale: float) -> None:
    rng, reading = np.random.default_rng(10), deviation(F64)
    r = rng.normal(size=(4, 4))
    error = 1e-8 * np.abs(r)  # far above the error that the sum adds
    usual = rounding.squared_error(Estimate(r, error), reading)
    small = rounding.squared_error(Estimate(r * scale, error * scale), reading)
    assert usual.error is not None
    assert small.error is not None
    assert float(small.error) / scale**2 == pytest.approx(float(usual.error), rel=1e-6)


def test_a_subnormal_result_may_be_flushed() -> None:
    for f in (F32, F64):
        for reading in (bound(f), deviation(f)):
            small = np.full((2, 2), f.tiny / 4)
            ones = np.ones((2, 2))
            steps = (
                rounding.product(Estimate(small), Estimate(ones), reading),
                rounding.hadamard(Estimate(small), Estimate(ones), reading),
                rounding.activation(ACTIVATIONS["silu"], Estimate(small), reading),
                rounding.residual(Estimate(small), np.zeros((2, 2)), reading),
            )
            for estimate in steps:
                assert (np.abs(estimate.value) <= estimate.tolerance(reading)).all()


def test_what_a_mean_loses_below_the_normal_range_is_scaled_back_with_it() -> None:
    for f in (F32, F64):
        for reading in (deviation(f), deviation(f, gradual=True), bound(f, gradual=True)):
            backward = reading.of_mean(30)
            assert backward.underflow == 15 * reading.underflow
            assert backward.underflow_acc == 15 * reading.underflow_acc
            assert (backward.u, backward.kappa) == (reading.u, reading.kappa)
            assert reading.of_mean(1) == reading.of_mean(2) == reading
    narrow = DTYPES["f16"]
    assert deviation(narrow).of_mean(2048).underflow == narrow.tiny  # a gradient of this size is no zero
    assert deviation(narrow, gradual=True).of_mean(30).underflow == 15 * narrow.subnormal / 2


@np.errstate(all="ignore")
@pytest.mark.parametrize("of", READINGS)
@pytest.mark.parametrize("part", ["error", "jump"])
def test_what_is_unknown_stays_unknown(of: Reading, part: str) -> None:
    # An infinite error meets factors that are 0, and sums with others that are infinite.
    value = np.array([[0.0, 1.0, -2.0]])
    infinite = np.array([[np.inf, 0.0, np.inf]])
    unknown = Estimate(value, infinite) if part == "error" else Estimate(value, jump=infinite)
    other = Estimate(np.array([[0.0, 3.0, 0.0]]), np.zeros((1, 3)))
    square = Estimate(np.zeros((3, 2)), np.zeros((3, 2)))
    for due in (rounding.hadamard(unknown, other, of), rounding.hadamard(other, unknown, of)):
        assert np.isinf(due.tolerance(of)).tolist() == [[True, False, True]]
        assert np.isinf(rounding.product(due, square, of).tolerance(of)).all()
    assert np.isinf(rounding.batch_sum(unknown, of).tolerance(of)).tolist() == [True, False, True]
    for name, row in ACTIVATIONS.items():
        for z in (unknown, rounding.hadamard(unknown, other, of)):
            slope, f = rounding.derivative(row, z, of), rounding.activation(row, z, of)
            assert np.isfinite(slope.value).all(), name
            assert not np.isnan([slope.tolerance(of), f.tolerance(of)]).any(), name
            # A slope is bounded, however uncertain z is. It reaches every slope that there is.
            reached = np.abs(row.derivative(np.linspace(-30, 30, 60001)) - slope.value[0, 0]).max()
            assert slope.tolerance(of)[0, 0] >= reached * (1 - 1e-12), name
