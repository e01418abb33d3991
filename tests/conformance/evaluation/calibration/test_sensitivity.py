"""Sensitivity: the smallest mistake that is caught is found, and is a few units in the last place."""

from collections.abc import Callable

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.plan import make_options
from kterm.conformance.cases.regimes import REGIMES, Draw
from kterm.conformance.checks.comparison.compare import compare
from kterm.conformance.evaluation.calibration import sensitivity
from kterm.conformance.evaluation.calibration.sensitivity import (
    LEAST,
    MOST,
    Target,
    find_smallest,
    measure_sensitivity,
    plant_error,
)
from kterm.conformance.records.run import RunRequest, prepare
from kterm.reference import Array, Structure

from ....support.frameworks import miniatures
from . import make_case


def _caught(structure: Structure, stack: Draw, observed: Observation, target: Target, delta: float) -> bool:
    compared = compare(structure, stack, [plant_error(observed, target, delta)])
    return any(one.worst[0] > 1 for one in compared)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("shows", [True, False])
def test_the_smallest_mistake_is_caught_and_half_of_it_is_not(dtype: str, shows: bool) -> None:
    case = f"5x7x4-tanh.relu-b4-pre-{dtype}-normal-s3"
    structure, stack, observed = make_case(case)
    one = observed[0] if shows else miniatures.silent(observed[0])
    target = Target(parse_case(case, tuple(REGIMES)), 1, (2, 3))
    (found,) = find_smallest(lambda d: np.array([_caught(structure, stack, one, target, float(d[0]))]), 1)
    assert LEAST < found < 1e-3
    assert _caught(structure, stack, one, target, found)
    assert _caught(structure, stack, one, target, -found)
    assert not (
        _caught(structure, stack, one, target, found / 2) and _caught(structure, stack, one, target, -found / 2)
    )
    assert not _caught(structure, stack, one, target, 0)


@pytest.mark.parametrize(
    ("caught", "due"),
    [
        (lambda d: np.abs(d) > 1e-3, 1e-3),
        (lambda d: (d > 1e-6) | (d < -1e-2), 1e-2),
        (lambda d: d > 1e-6, np.inf),
        (lambda d: np.zeros(d.shape, bool), np.inf),
        (lambda d: np.ones(d.shape, bool), np.nan),
    ],
    ids=["both signs", "the sign that is harder to see", "one sign alone", "never", "rejects right ones"],
)
def test_bisection(caught: Callable[[Array], Array], due: float) -> None:
    assert find_smallest(caught, 2) == pytest.approx([due, due], rel=0.011, nan_ok=True)
    assert MOST > 1


def test_the_suite_catches_a_few_units_in_the_last_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "is_installed", lambda name: False)  # no other checkers
    run = prepare(RunRequest(("numpy",), make_options("thorough", 0, ["f32", "f64"])))
    for dtype, due in (("f32", 2e-5), ("f64", 1e-13)):
        shown, alone = [one for one in measure_sensitivity(run, "tanh", dtype, 2) if one.judge.startswith("numpy")]
        assert (shown.judge, alone.judge) == ("numpy", "numpy, gradients alone")
        assert shown.smallest.shape == (2,)
        assert shown.median is not None
        assert alone.median is not None
        assert shown.median < min(due, alone.median)
        assert shown.rejected == alone.rejected == 0
