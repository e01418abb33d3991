"""The points at which activations are measured, and what counts as an error there."""

import ml_dtypes
import numpy as np
import pytest

from kterm.conformance.evaluation.accuracy.exact import compute_truth
from kterm.conformance.evaluation.accuracy.measure import choose_points, measure_errors
from kterm.reference import ACTIVATIONS, DTYPES, Activation, Array, DType

from ....support import formulas

ROWS = [pytest.param(row, id=row.name) for row in ACTIVATIONS.values()]
NARROW = [pytest.param(DTYPES[name], id=name) for name in ("bf16", "f16")]


@pytest.mark.parametrize("dtype", NARROW)
def test_every_finite_number_of_a_16_bit_format_is_a_point(dtype: DType) -> None:
    z = choose_points(ACTIVATIONS["tanh"], dtype, 0, 0)
    with np.errstate(invalid="ignore"):
        every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy).astype(np.float64)
    # Of the 65,536 those that are finite; the two zeros are one point.
    assert z.size == np.isfinite(every).sum() - 1 == {"bf16": 65_279, "f16": 63_487}[dtype.name]
    assert set(z) == set(every[np.isfinite(every)])


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_every_binade_of_a_wide_format_is_sampled_on_both_sides_with_its_ends(name: str) -> None:
    dtype, row = DTYPES[name], ACTIVATIONS["hard_swish"]
    z = choose_points(row, dtype, 1, 0)
    assert (np.diff(z) > 0).all()
    assert (z == z.astype(dtype.numpy)).all()
    assert (z == choose_points(row, dtype, 1, 0)).all()
    assert not np.isin(choose_points(row, dtype, 1, 1), z).all()
    exponents = np.frexp(z[z != 0])[1]
    lowest, highest = (int(np.frexp(end)[1]) for end in (dtype.subnormal, dtype.max))
    assert set(np.unique(exponents)) == set(range(lowest, highest + 1))
    for exponent in (lowest, -40, 0, 3, highest):
        first, last = 2.0 ** (exponent - 1), dtype.max
        if exponent < highest:
            last = float(np.nextafter(dtype.numpy.type(2.0**exponent), dtype.numpy.type(0)))
        for sign in (-1, 1):
            assert np.isin([sign * first, sign * last], z).all()
        inside = (np.abs(z) >= first) & (np.abs(z) <= last)
        assert inside.sum() >= (2 if exponent == lowest else 6)
    assert ((np.abs(z) >= 1 / 8) & (np.abs(z) < 1024)).mean() > (0.5 if name == "f32" else 0.2)
    for kink in row.kinks:
        around = [np.nextafter(dtype.numpy.type(kink.point), dtype.numpy.type(side)) for side in (-np.inf, np.inf)]
        assert np.isin([kink.point, *around], z).all()


# The reference, where every number can be tried.


def find_unfinished(row: Activation, dtype: DType) -> Array:
    """The finite numbers of a 16-bit format at which f or f' is not a number, though the true value is one."""
    z = choose_points(row, dtype, 0, 0).astype(dtype.numpy)
    bad = np.zeros(z.shape, bool)
    for function in (row.f, row.derivative):
        true = function(z.astype(np.float64))
        # No true value is beyond twice the format's range: float64 must have them all.
        assert np.isfinite(true).all()
        with np.errstate(over="ignore"):
            representable = np.isfinite(true.astype(dtype.numpy).astype(np.float64))
        bad |= representable & ~np.isfinite(function(z).astype(np.float64))
    return z[bad]


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("row", ROWS)
def test_the_reference_gives_a_number_at_every_16_bit_number_whose_true_value_is_one(
    row: Activation, dtype: DType
) -> None:
    assert find_unfinished(row, dtype).size == 0


@pytest.mark.parametrize("row", ROWS)
def test_float64_knows_which_true_values_are_numbers(row: Activation) -> None:
    # The test above takes float64 for true; here it is compared with 50 digits at a part of the points.
    for dtype in (DTYPES["bf16"], DTYPES["f16"]):
        z = choose_points(row, dtype, 0, 0)[::401]
        for slope, function in ((False, row.f), (True, row.derivative)):
            exact = compute_truth(row.name, slope, z)
            with np.errstate(over="ignore"):
                rounded = function(z).astype(dtype.numpy).astype(np.float64)
            assert (np.isinf(rounded) == exact.overflows(dtype)).all()


def test_an_overflowing_formula_is_not_a_number_somewhere() -> None:
    row = formulas.Overflowing().row("squareplus")
    with np.errstate(all="ignore"):
        assert np.abs(find_unfinished(row, DTYPES["bf16"])).min() == ml_dtypes.bfloat16(2.0**64)


def test_an_infinity_within_the_error_of_a_sound_formula_is_one() -> None:
    # The scale of selu takes numbers from 0.95 of the range on out of it.
    row, dtype = ACTIVATIONS["selu"], DTYPES["f32"]
    edge = dtype.max / 1.0507009873554805
    z = np.array([0.0, edge * 0.9, edge * (1 - dtype.u), edge * 1.01])
    true = compute_truth("selu", False, z)
    assert list(true.overflows(dtype)) == [False, False, False, True]
    for given, infinities in (
        ((0, edge * 0.9 * 1.0507009873554805, np.inf, np.inf), 0),
        ((0, np.inf, np.inf, np.inf), 1),
    ):
        found = measure_errors(row, dtype, False, z, np.array(given), true)
        assert found.infinities == infinities
        assert found.is_sound == (infinities == 0)
    assert not measure_errors(row, dtype, False, z, np.array([0, edge * 0.9, edge, -np.inf]), true).is_sound


def test_what_is_flushed_above_the_normal_range_is_an_error() -> None:
    row, dtype = ACTIVATIONS["identity"], DTYPES["f32"]
    z = np.array([-1.0, 0.0, dtype.tiny / 2, 4 * dtype.tiny])
    true = compute_truth("identity", False, z)
    assert measure_errors(row, dtype, False, z, np.array([-1.0, 0, 0, 4 * dtype.tiny]), true).is_sound
    assert not measure_errors(row, dtype, False, z, np.array([-1.0, 0, 0, 0]), true).is_sound
