"""The activation table against 50-digit mpmath: f, f', the points where f' jumps, and those where it turns."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray

from kterm.conformance.evaluation.accuracy.exact import DIGITS, EXACT, selu_constants, to_mpf, to_mpfs
from kterm.reference import ACTIVATIONS, Activation
from kterm.reference import activations as table

Array = NDArray[Any]
WIDE = {"f32": np.float32, "f64": np.float64, "longdouble": np.longdouble}
NARROW = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}
ROWS = [pytest.param(row, id=row.name) for row in ACTIVATIONS.values()]
FORMATS = [pytest.param(dtype, id=name) for name, dtype in WIDE.items()]

# The largest error allowed here, relative to that of the row. A row describes a typical sound implementation; the
# largest of many points is above that. NumPy's float32 exp uses SIMD and alone has an error of up to 3.4 u.
MARGIN = {np.float32: 2.0, np.float64: 1.5, np.longdouble: 1.5}


@pytest.fixture(autouse=True)
def working_precision() -> Iterator[None]:
    with mp.workdps(DIGITS):
        yield


def every_value(dtype: type) -> Array:
    """All finite values of a 16-bit format."""
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    return values[np.isfinite(values.astype(np.float32))]


def sample(row: Activation, dtype: type, size: int) -> Array:
    """Numbers of both signs and all exponents, more of them near 0, and the neighbours of all special points."""
    info, rng = np.finfo(dtype), np.random.default_rng(20)
    lowest, highest = int(info.minexp) - int(info.nmant), int(info.maxexp) - 1
    exponents = np.unique(np.concatenate([np.linspace(lowest, highest, size).astype(int), np.arange(-10, 12)]))
    fractions = (1 + rng.random(exponents.size)).astype(dtype) / 2
    magnitudes = np.concatenate(
        [
            np.ldexp(fractions, exponents + 1),
            rng.random(2 * size).astype(dtype) * 30,
            np.linspace(30, 800, size).astype(dtype),
            np.linspace(800, 11600, size if info.maxexp > 1024 else 0).astype(dtype),
            np.array([0, info.smallest_subnormal, info.smallest_normal, info.max], dtype),
        ]
    )
    special = [kink.point for kink in row.kinks] + [*row.turning, 0.0, 10.0, 40.0, 50.0, 1.25 * 2**0.5]
    points = np.array([*special, *(-point for point in special)], dtype)
    up, down = (np.nextafter(points, dtype(side)) for side in (np.inf, -np.inf))
    return np.concatenate([magnitudes, -magnitudes, points, up, down])


def readings(row: Activation) -> tuple[tuple[Any, Any, Any, float], ...]:
    """(function, exact function, terms, units) for f and for f'."""
    f, slope = EXACT[row.name]
    return (row.f, f, row.f_terms, row.f_ulps), (row.derivative, slope, row.slope_terms, row.slope_ulps)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("row", ROWS)
def test_f_and_slope_are_as_accurate_as_their_row_says(row: Activation, dtype: type) -> None:
    z = sample(row, dtype, 40)
    exact_z, info = to_mpfs(z), np.finfo(dtype)
    u, half, largest = to_mpf(info.eps) / 2, to_mpf(info.smallest_subnormal) / 2, to_mpf(info.max)
    for function, exact, terms, units in readings(row):
        values = function(z)
        assert values.dtype == dtype
        for at, point, value, term in zip(
            z, exact_z, values, terms(z.astype(np.promote_types(dtype, float))), strict=True
        ):
            truth = exact(point)
            if abs(truth) > largest:
                assert np.isinf(value), f"at {at!r}"
                continue
            assert np.isfinite(value), f"at {at!r}: {value!r}"
            # A gate that has underflowed has an absolute error, and the product with z enlarges it.
            floor = half * (max(1, abs(point)) if row.name in ("silu", "mish") else 1)
            error = abs(to_mpf(value) - truth)
            allowed = MARGIN[dtype] * units * u * to_mpf(term) + max(units, 1) * floor
            assert error <= (allowed if units else 0), (
                f"at {at!r}: {value!r}, {mp.nstr(error / (u * abs(truth) + half), 5)} u"
            )


@pytest.mark.parametrize("dtype", [pytest.param(dtype, id=name) for name, dtype in (WIDE | NARROW).items()])
@pytest.mark.parametrize("row", ROWS)
def test_any_finite_input_gives_a_number_and_no_warning(row: Activation, dtype: type) -> None:
    # pytest turns a warning into an error. The 16-bit formats are tested on all of their values.
    z = every_value(dtype) if dtype in NARROW.values() else sample(row, dtype, 2000)
    wide = z.astype(np.float64) if dtype is not np.longdouble else z
    for function in (row.f, row.derivative):
        values = function(z)
        assert values.dtype == dtype
        assert values.shape == z.shape
        assert not np.isnan(values.astype(np.float32) if dtype in NARROW.values() else values).any()
    for terms in (row.f_terms, row.slope_terms):
        assert (terms(wide) >= 0).all()  # and not NaN


@pytest.mark.parametrize("dtype", NARROW.values(), ids=NARROW)
@pytest.mark.parametrize("row", ROWS)
def test_16_bit_formats_are_rounded_from_float32(row: Activation, dtype: type) -> None:
    z = every_value(dtype)
    for function in (row.f, row.derivative):
        value, truth = function(z).astype(np.float64), function(z.astype(np.float64))
        info = ml_dtypes.finfo(dtype)
        inside = np.abs(truth) < float(info.max)
        assert np.isfinite(value[inside]).all()
        # Half a unit in the last place, plus the error of float32.
        allowed = float(info.eps) / 2 * 1.01 * np.abs(truth) + float(info.smallest_subnormal)
        # Where the terms of f' cancel, float32 has an error relative to the size of the terms.
        allowed += 2.0**-20 * (1 + np.abs(truth)) * (function == row.derivative)
        assert (np.abs(value - truth) <= allowed)[inside].all()


@pytest.mark.parametrize("row", ROWS)
def test_the_exact_slope_is_the_derivative_of_the_exact_function(row: Activation) -> None:
    # The slopes in exact.py are written by hand too, so this compares them with difference quotients.
    f, slope = EXACT[row.name]
    step = mp.mpf(10) ** -20
    for point in map(mp.mpf, np.linspace(-11.3, 12.1, 40)):
        assert abs((f(point + step) - f(point - step)) / (2 * step) - slope(point)) < mp.mpf(10) ** -25


def test_selu_constants_are_those_of_the_fixed_point() -> None:
    for quoted, solved in zip((table.SELU_ALPHA, table.SELU_SCALE), selu_constants(), strict=True):
        assert abs(to_mpf(quoted) / solved - 1) <= to_mpf(np.finfo(np.longdouble).eps) / 2


@pytest.mark.parametrize("row", ROWS)
def test_kinks_are_all_the_jumps_and_have_their_one_sided_derivatives(row: Activation) -> None:
    f, slope = EXACT[row.name]
    tiny = mp.mpf(10) ** -25
    for kink in row.kinks:
        below, above = mp.mpf(kink.point) - tiny, mp.mpf(kink.point) + tiny
        assert float(slope(below)) == pytest.approx(kink.left, rel=1e-15, abs=1e-20)
        assert float(slope(above)) == pytest.approx(kink.right, rel=1e-15, abs=1e-20)
        assert float(f(above) - f(below)) == pytest.approx(kink.jump, rel=1e-15, abs=1e-20)
        assert kink.left != kink.right or kink.jump
    # No kink is missing: |f''| < 3, so f' changes by less than 1/16 over any step of 1/64 without a kink.
    grid = np.arange(-30, 30, 1 / 64) + 1 / 256
    change = np.abs(np.diff(row.derivative(grid)))
    found = [float(grid[i]) for i in np.flatnonzero(change > 1 / 16)]
    assert len(found) == len(row.kinks)
    for left, kink in zip(found, row.kinks, strict=True):
        assert left < kink.point < left + 1 / 64


@pytest.mark.parametrize("row", ROWS)
def test_turning_points_are_all_the_places_where_the_second_derivative_changes_sign(row: Activation) -> None:
    _, slope = EXACT[row.name]
    step = mp.mpf(10) ** -20
    grid = [mp.mpf(i) / 4 + mp.mpf(1) / 17 for i in range(-120, 120)]
    rises = [slope(point + step) - slope(point - step) for point in grid]
    crossings = [
        (a, b) for (a, b), (p, q) in zip(itertools.pairwise(grid), itertools.pairwise(rises), strict=True) if p * q < 0
    ]
    turning = sorted(row.turning)
    if row.turning_period is not None:
        (first,) = row.turning
        turning = [first + n * row.turning_period for n in range(-9, 10)]
    kinks = {kink.point for kink in row.kinks}
    assert len(crossings) == len(turning)
    for (a, b), point in zip(crossings, turning, strict=True):
        assert a < point < b
        assert not any(a < kink < b for kink in kinks)
        # The turning point lies between the neighbouring doubles.
        reach = 2 * abs(float(np.spacing(point))) if point else 1e-15
        low, high = mp.mpf(point) - reach, mp.mpf(point) + reach
        assert (slope(low + step) - slope(low - step)) * (slope(high + step) - slope(high - step)) < 0


@pytest.mark.parametrize("row", ROWS)
def test_lattice_rows_and_only_those_are_exact_on_small_integers(row: Activation) -> None:
    z = np.arange(-64.0, 65)
    values, slopes = row.f(z), row.derivative(z)
    exact = all((array * 8 == np.round(array * 8)).all() for array in (values, slopes))
    assert exact or not row.piecewise_linear
    if row.piecewise_linear:
        assert all(to_mpf(v) == EXACT[row.name][0](to_mpf(p)) for p, v in zip(z, values, strict=True))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", ROWS)
def test_large_and_strided_arrays_give_what_small_ones_do(row: Activation, dtype: type) -> None:
    z = np.random.default_rng(21).normal(0, 4, (300, 257)).astype(dtype)
    z.flags.writeable = False
    for function in (row.f, row.derivative):
        whole = function(z)
        assert whole.shape == z.shape
        assert not np.shares_memory(whole, z)
        rows = np.stack([function(line) for line in z])
        np.testing.assert_array_equal(whole, rows)
        np.testing.assert_array_equal(function(z[::-1].T).T[::-1], whole)
        assert function(z[:0]).shape == (0, 257)


PLANTED = {
    "relu": lambda z: (z >= 0).astype(z.dtype),
    "sigmoid": lambda z: (1 - 1 / (1 + np.exp(-z))) / (1 + np.exp(-z)),
    "gelu": ACTIVATIONS["gelu_tanh"].slope,
    "selu": lambda z: np.where(z > 0, 1.0507009873554805, 1.7580993408473766 * np.exp(np.minimum(z, 0)) * (1 + 1e-14)),
    "mish": lambda z: ACTIVATIONS["mish"].slope(z) + 1e-15,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_slope_is_caught(name: str) -> None:
    row = dataclasses.replace(ACTIVATIONS[name], slope=PLANTED[name])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"), pytest.raises(AssertionError):
        test_f_and_slope_are_as_accurate_as_their_row_says(row, np.float64)
