"""Patterns match exactly what failed, in as few words as possible."""

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest

from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.expectations.patterns import Point, find_patterns
from kterm.reference import ACTIVATIONS, BIASES, DTYPES

_CASES = [
    f"4x3-{activation}-b2-{bias}-{dtype}-{regime}-s{draw}"
    for activation in ("elu", "tanh")
    for bias in ("none", "pre")
    for dtype in ("f32", "f64")
    for regime in ("normal", "square")
    for draw in range(12)
]
_POINTS: list[Point] = [(case.split("-")[1], case) for case in _CASES]


def _patterns(failed: Sequence[Point]) -> list[tuple[str, str]]:
    return [(activation, case) for activation, case, _ in find_patterns(failed, set(_POINTS) - set(failed))]


def _where(*words: str) -> list[Point]:
    return [point for point in _POINTS if all(word in point[1].split("-") for word in words)]


def test_no_name_belongs_to_two_fields_of_an_id() -> None:
    """A pattern such as *-f64-* matches in one field only."""
    names = [*ACTIVATIONS, *BIASES, *DTYPES, *REGIMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("failed", "due"),
    [
        (_where("elu"), [("elu", "*")]),
        (_where("f64"), [("*", "*-f64-*")]),
        (_POINTS, [("*", "*")]),
        (_where("elu", "f64"), [("elu", "*-f64-*")]),
        (_where("tanh", "pre", "square"), [("tanh", "*-pre-*-square-*")]),
        (_where("tanh", "none", "f32", "normal"), [("tanh", "*-none-f32-normal-*")]),
        (_where("elu", "f64") + _where("elu", "f32", "square"), [("elu", "*-f64-*"), ("elu", "*-f32-square-*")]),
        (_where("elu", "s3"), [("elu", case) for _, case in _where("elu", "s3")]),
        (_where("elu", "pre", "f32", "normal")[1:11],
         [("elu", "4x3-elu-b2-pre-f32-normal-s10"), ("elu", "4x3-elu-b2-pre-f32-normal-s[123456789]")]),
        ([], []),
    ],
)  # fmt: skip
def test_the_fewest_and_then_the_narrowest_patterns_are_taken(failed: list[Point], due: list[tuple[str, str]]) -> None:
    assert sorted(_patterns(failed)) == sorted(due)


def test_a_structure_that_fails_whole_beside_one_that_does_not_is_named() -> None:
    other = [("elu", case.replace("4x3", "5x3")) for _, case in _where("elu")]
    failed = _where("elu", "pre", "f32", "normal")
    passed = {*_POINTS, *other} - set(failed)
    assert [c[:2] for c in find_patterns(failed, passed)] == [("elu", "4x3-elu-b2-pre-f32-normal-s*")]
    seeded = [("elu", f"4x3-elu-b2-pre-f32-normal-s7.{draw}") for draw in range(3)]
    passed = {("elu", "5x3-elu-b2-pre-f32-normal-s7.1")}
    assert [c[:2] for c in find_patterns(seeded, passed)] == [("elu", "4x3-elu-b2-pre-f32-normal-s7.*")]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_failed_is_covered_exactly_and_nothing_twice_over(seed: int) -> None:
    rng = random.Random(seed)
    failed = {point for point in _POINTS if rng.random() < (0.1, 0.5, 0.9)[seed % 3]}
    failed |= set(rng.choice([_where("f64"), _where("elu", "square"), _where("tanh", "pre")]))
    left_open = {point for point in _POINTS if point not in failed and rng.random() < 0.1}
    passed = set(_POINTS) - failed - left_open
    chosen = find_patterns(failed, passed)

    def matched(points: set[Point], pattern: Sequence[Any]) -> set[Point]:
        return {(a, c) for a, c in points if fnmatchcase(a, pattern[0]) and fnmatchcase(c, pattern[1])}

    assert not any(matched(passed, one) for one in chosen)
    assert all(matched(failed, one) == set(one[2]) for one in chosen)
    assert set().union(*(one[2] for one in chosen)) == failed
    for one in chosen:
        assert failed - set().union(*(other[2] for other in chosen if other != one))
    shuffled = rng.sample(sorted(failed), len(failed))
    assert find_patterns(shuffled, passed) == chosen
