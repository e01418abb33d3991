"""Intervals of right answers: rounded inward to the format, open where any answer is right."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.plan import make_options
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.interfaces.vectors.export import CATCHES, select_groups
from kterm.conformance.interfaces.vectors.make import (
    LOWER,
    MOST_BYTES,
    UPPER,
    chosen_draws,
    count_bytes,
    find_interval,
    holds_intermediates,
    make_vectors,
)
from kterm.reference import DTYPES


@pytest.mark.parametrize("name", DTYPES)
def test_an_interval_holds_the_numbers_of_the_format_within_the_tolerance(name: str) -> None:
    format_ = DTYPES[name]
    rng = np.random.default_rng(0)
    value = np.concatenate([rng.normal(size=500) * 2.0 ** rng.integers(-30, 14, size=500), [0.0, format_.tiny]])
    tolerance = np.abs(value) * 2.0 ** -rng.integers(3, 9, size=502) + format_.tiny
    lower, upper = (end.astype(float) for end in find_interval(value, tolerance, format_))
    near = 4 * 2.0**-53 * (np.abs(value) + tolerance)
    assert (np.abs(lower - value) <= tolerance + near).all()
    assert (np.abs(upper - value) <= tolerance + near).all()
    if name != "f64":
        narrow = format_.numpy
        beyond = [np.nextafter(end.astype(narrow), np.array(to, narrow)).astype(float) for end, to in
                  ((lower, -np.inf), (upper, np.inf))]  # fmt: skip
        assert all((np.abs(end - value) >= tolerance - near).all() for end in beyond)


def test_an_exact_number_has_one_right_answer() -> None:
    for format_ in DTYPES.values():
        value = np.array([0.0, 3.0, -0.75])
        least = np.maximum(format_.u * np.abs(value), format_.subnormal) / 2
        lower, upper = find_interval(value, least, format_, is_exact=True)
        assert np.array_equal(lower.astype(float), value)
        assert np.array_equal(upper.astype(float), value)


def test_an_end_is_infinite_where_an_overflow_is_right_and_nan_where_any_answer_is() -> None:
    most = DTYPES["f16"].max
    value = np.array([most, -most * 2, 1.0, np.inf, np.nan, 2.0])
    tolerance = np.array([10.0, 10.0, 0.5, 1.0, 1.0, np.nan])
    lower, upper = (end.astype(float) for end in find_interval(value, tolerance, DTYPES["f16"]))
    assert (np.isposinf(upper) == [True, False, False, False, False, False]).all()
    assert (np.isneginf(lower) == [False, True, False, False, False, False]).all()
    assert (np.isnan(lower) == [False, False, False, True, True, True]).all()
    assert (np.isnan(lower) == np.isnan(upper)).all()
    assert upper[1] == -np.inf  # beyond the format nothing else is right


def test_at_a_kink_every_slope_between_is_inside() -> None:
    case = parse_case("4x4-relu-b4-none-f32-kinks-s0", tuple(REGIMES))
    vectors = make_vectors(Group(case.structure, "kinks", 0, (0, 1)))
    assert vectors is not None
    arrays = {name: a.astype(float) for name, a in vectors.arrays.items()}
    z, side = arrays["z_1"], np.maximum(arrays["z_1"], 0) - arrays["y"]
    at = z == 0
    assert at.any()
    for slope in (0.0, 0.5, 1.0):
        k = slope * side[at]
        assert (arrays["k_1" + LOWER][at] <= k).all()
        assert (k <= arrays["k_1" + UPPER][at]).all()
    beside = ~at & (z > 0)
    assert (arrays["k_1" + LOWER][beside] > 0.9 * side[beside]).all() or (side[beside] < 0).any()


@cache
def _groups() -> tuple[Group, ...]:
    """The first structure of each regime and dtype of the quick profile, with few draws."""
    groups = select_groups(make_options("quick", 0))
    one_each = {(group.regime, group.structure.dtype): group for group in reversed(groups)}
    return tuple(replace(group, draws=group.draws[:2]) for group in one_each.values())


def test_no_interval_is_empty_and_the_right_answer_is_inside() -> None:
    for group in _groups():
        vectors = make_vectors(group)
        assert vectors is not None
        for name in vectors.quantities:
            value, lower, upper = (vectors.arrays[name + end].astype(float) for end in ("", LOWER, UPPER))
            free = np.isnan(lower)
            assert (free | (lower <= upper)).all(), (group.id, name)
            step = 2.0**-7 * np.abs(value) + group.structure.format.tiny if group.structure.format.is_narrow else 0.0
            assert (free | ((lower - step <= value) & (value <= upper + step))).all(), (group.id, name)


def test_every_regime_says_what_it_catches_or_is_about_calls() -> None:
    assert set(REGIMES) - set(CATCHES) == {"layout", "soak", "large"}


def test_the_quick_profile_stays_below_20_megabytes() -> None:
    groups = select_groups(make_options("quick", 0))
    numbers = sum(len(chosen_draws(group)) * count_bytes(group.structure) for group in groups)
    # A header has up to 100 bytes for each array: four for each quantity.
    names = sum(8 + 4 * (5 * group.structure.network.depth + 2) for group in groups)
    assert numbers + 100 * names < 20_000_000


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_the_size_of_a_draw_is_what_its_arrays_take(dtype: str) -> None:
    for text in (f"5x3x4-tanh-b6-pre-{dtype}-normal-s0", f"3x4x2-tanh-b1500-none-{dtype}-tiles-s0"):
        case = parse_case(text, tuple(REGIMES))
        group = Group(case.structure, case.regime, 0, tuple(range(40)))
        vectors = make_vectors(group)
        assert vectors is not None
        size = sum(a.nbytes for a in vectors.arrays.values() if a.dtype != bool)
        assert size == len(vectors.draws) * count_bytes(case.structure)
        assert len(vectors.draws) == 1 or size <= MOST_BYTES
        assert ("z_1" in vectors.quantities) == holds_intermediates(case.structure)
