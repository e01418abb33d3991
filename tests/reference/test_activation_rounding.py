"""The tolerances of f and f' against measured errors, and the slopes that are right at kinks."""

from typing import Any

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, DTYPES, Activation, Array, DType, rounding
from kterm.reference.rounding import Estimate, Reading, bound, deviation

from ..support.rounding import BLIND, F32, F64, FORMATS, READINGS, ROWS, excess, rounded


def points(row: Activation, rng: np.random.Generator, f: DType, count: int = 4000) -> Array:
    """Pre-activations of every size, near kinks and turning points too, as numbers of the format."""
    special = [kink.point for kink in row.kinks] + list(row.turning) or [0.0]
    z = np.concatenate(
        [
            rng.normal(size=count) * 2,
            rng.uniform(-100, 100, size=count // 4),
            rng.choice([-1, 1], size=count // 4) * np.exp(rng.uniform(-60, 4, size=count // 4)),
            rng.choice(special, size=count // 4) + rng.normal(size=count // 4) * 1e-2,
        ]
    )
    return rounded(z, f)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("which", ["activation", "derivative"])
def test_the_bound_of_an_activation_is_never_exceeded(row: Activation, format_: DType, which: str) -> None:
    rng, reading = np.random.default_rng(3), bound(format_)
    z = points(row, rng, format_)
    method = row.f if which == "activation" else row.derivative
    step = getattr(rounding, which)
    with np.errstate(all="ignore"):
        computed = method(z.astype(format_.numpy))
    assert excess(step(row, Estimate(z), reading), computed, reading).max() <= 1
    # The same for an uncertain z: `moved` is one value within its error.
    for size in (1e-7, 1e-4, 1e-2):
        error = size * np.abs(z)
        moved = rounded(z + rng.uniform(-1, 1, z.size) * error * (1 - 1e-5), format_)
        with np.errstate(all="ignore"):
            computed = method(moved.astype(format_.numpy))
        estimate = step(row, Estimate(z, error + reading.u * np.abs(z)), reading)
        assert excess(estimate, computed, reading).max() <= 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("format_", DTYPES.values(), ids=lambda one: one.name)
@pytest.mark.parametrize("gradual", [True, False])
def test_no_error_is_negative(row: Activation, format_: DType, gradual: bool) -> None:
    """A term of the wrong sign takes from the others: it tightens a tolerance, and below zero nothing would fail."""
    z = points(row, np.random.default_rng(6), format_)
    for read in (bound, deviation):
        reading = read(format_, gradual)
        assert (reading.underflow_f * row.underflow_gain(z) >= 0).all()
        for step in (rounding.activation, rounding.derivative):
            error = step(row, Estimate(z), reading).error
            assert error is None or (error >= 0).all()


def in_deviations(estimate: Estimate, computed: Array, reading: Reading) -> float:
    """The largest departure in standard deviations, where there is no jump."""
    found = excess(estimate, computed, reading) * reading.kappa
    return float((found if estimate.jump is None else found[estimate.jump == 0]).max(initial=0))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("which", ["activation", "derivative"])
def test_the_deviation_of_an_activation_is_one(row: Activation, which: str) -> None:
    rng, reading = np.random.default_rng(4), deviation(F32)
    method = row.f if which == "activation" else row.derivative
    step = getattr(rounding, which)
    own: list[float] = []
    through: list[float] = []
    for _ in range(60):
        z = rng.normal(size=100) * 2
        near = rounded(z, F32)
        own.append(in_deviations(step(row, Estimate(near), reading), method(near.astype(F32.numpy)), reading))
        # Pre-activations with a normally distributed error of 1000 u.
        error = 1000 * F32.u * np.abs(z)
        moved = method((z + rng.normal(size=100) * error).astype(F32.numpy))
        through.append(in_deviations(step(row, Estimate(z, error), reading), moved, reading))
    assert max(*own, *through) < 7
    # There is no error if nothing is rounded (a slope of 1 or 1/8) or f' does not change with z.
    assert np.median(own) > BLIND or max(own) == 0
    assert np.median(through) > 0.5 or which == "derivative"


KINKS = [pytest.param(row, kink, id=f"{row.name}@{kink.point:g}") for row in ROWS for kink in row.kinks]


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
def test_at_a_kink_the_slopes_between_the_one_sided_ones_are_right_and_no_others(
    row: Activation, kink: Any, reading: Reading
) -> None:
    low, high = sorted((kink.left, kink.right))
    estimate = rounding.derivative(row, Estimate(np.array([float(kink.point)])), reading)
    assert excess(estimate, np.array([[low], [(low + high) / 2], [high]]), reading).max() <= 1 + 4 * F64.u
    formula = 0.0 if estimate.error is None else float(estimate.error[0])
    just = 2 * reading.kappa * formula + 1e-12 * (high - low)
    assert just < 1e-4 * (high - low)
    assert (excess(estimate, np.array([[low - just], [high + just]]), reading) > 1).all()


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_slope_is_free_where_rounding_may_cross_the_kink_and_nowhere_else(
    row: Activation, kink: Any, reading: Reading, side: int
) -> None:
    error = 1e-3
    assert kink.blur * reading.u < error / 10
    for distance, free in ((0.2, True), (0.9, True), (1.2, False), (50.0, False)):
        z = Estimate(np.array([kink.point + side * distance * reading.kappa * error]), np.array([error]))
        estimate = rounding.derivative(row, z, reading)
        assert (estimate.jump is not None and estimate.jump[0] > 0) == free, distance
        sides = np.array([[kink.left], [kink.right]])
        within = excess(estimate, sides, reading) <= 1 + 4 * F64.u
        assert within.all() == free or abs(kink.left - kink.right) < 1e-2


@pytest.mark.parametrize(("row", "kink"), KINKS)
def test_an_exact_pre_activation_next_to_a_kink_has_no_freedom(row: Activation, kink: Any) -> None:
    reading = deviation(F64)
    away = (1 + 2 * kink.blur) * 1e-15 * max(1, abs(kink.point))
    for side, slope in ((-1, kink.left), (1, kink.right)):
        estimate = rounding.derivative(row, Estimate(np.array([kink.point + side * away])), reading)
        assert estimate.jump is None
        assert estimate.value[0] == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.kinks], ids=lambda row: row.name)
def test_a_continuous_slope_is_never_free(row: Activation) -> None:
    reading = deviation(F32)
    z = np.concatenate([np.linspace(-8, 8, 161), [0.0]])
    for error in (None, np.full_like(z, 1e-3)):
        estimate = rounding.derivative(row, Estimate(z, error), reading)
        assert estimate.jump is None
        assert np.array_equal(estimate.value, row.derivative(z))


@pytest.mark.parametrize("name", ["elu", "celu"])
def test_at_0_elu_and_celu_have_one_slope(name: str) -> None:
    reading = bound(F32)
    estimate = rounding.derivative(ACTIVATIONS[name], Estimate(np.zeros(1)), reading)
    assert excess(estimate, np.array([1.0]), reading)[0] <= 1
    assert (excess(estimate, np.array([[0.0], [0.5], [0.999]]), reading) > 1).all()


def test_a_value_jumps_where_the_function_does_and_the_pre_activation_is_uncertain() -> None:
    row, reading = ACTIVATIONS["hardshrink"], deviation(F32)
    z = np.array([0.75, 0.7500001, -0.75, 0.2])
    exact, uncertain = (rounding.activation(row, Estimate(z, e), reading) for e in (None, np.full(4, 1e-6)))
    assert exact.jump is None or not exact.jump.any()
    assert uncertain.jump is not None
    assert uncertain.jump.tolist() == [0.75, 0.75, 0.75, 0.0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_range_of_slopes_is_exact(row: Activation) -> None:
    rng, reading = np.random.default_rng(13), bound(F64)
    special = [kink.point for kink in row.kinks] + list(row.turning) or [0.0]
    z = np.concatenate([rng.normal(size=150) * 3, rng.choice(special, 50) + rng.normal(size=50) / 4, special])
    reach = np.concatenate([np.exp(rng.uniform(-9, 2.2, size=z.size - 4)), [0.0, 1e-9, 3.2, 7.0]])
    reach = rng.permutation(reach)
    low, high, jumps = rounding._slope_range(row, z, reach, reading)
    steps = np.linspace(-1, 1, 4001)
    sampled = row.derivative(z[:, None] + reach[:, None] * steps)
    crossed = np.zeros(z.shape, bool)
    for kink in row.kinks:
        inside = np.abs(z - kink.point) <= reach
        crossed |= inside
        # Both one-sided slopes are in the range, even if no sample lies on that side.
        ends = np.where(inside[:, None], [kink.left, kink.right], sampled[:, :1])
        sampled = np.concatenate([sampled, ends], 1)
    for point in row.turning:  # a cusp such as softsign's may lie between two samples
        inside = np.abs(z - point) <= reach
        ends = np.where(inside, row.derivative(np.full(z.shape, point)), sampled[:, 0])
        sampled = np.concatenate([sampled, ends[:, None]], 1)
    assert np.array_equal(jumps, crossed)
    least, most = sampled.min(1), sampled.max(1)
    assert (low <= least + 1e-14).all()
    assert (high >= most - 1e-14).all()
    # Sampling misses an extreme between two samples by at most |f'''| step**2 / 8, and |f'''| < 4.
    slack = 1e-9 + np.square(reach / 2000)
    assert (low >= least - slack).all()
    assert (high <= most + slack).all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_turning_points_are_where_the_slope_turns(row: Activation) -> None:
    z = np.linspace(-12, 12, 240001)
    slope = row.derivative(z)
    rise = np.diff(slope)
    rise[np.abs(rise) < 1e-12] = 0  # rounding in a flat tail
    signs = np.sign(rise)
    moving = np.flatnonzero(signs)
    turns = moving[:-1][signs[moving][:-1] != signs[moving][1:]]
    period = row.turning_period
    known = [kink.point for kink in row.kinks] + (
        list(row.turning) if period is None else [n * period for n in range(-5, 6)]
    )
    for i in turns:
        assert any(abs(z[i] - point) < 1e-2 for point in known), z[i]
