"""Repeated calls: which call a verdict is about, and what their numbers must be."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import ExpectationFor, Formulas, Verdict
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.diagnosis.explanation import explanations_of, origin_of
from kterm.conformance.expectations.flushing import widened
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Parameters, Structure
from kterm.reference.steps import Work
from kterm.reference.value import Value

from ....support.frameworks import miniatures
from ....support.frameworks.miniatures import Miniature, right

CASE = parse_case("4x3x2-tanh.silu-b5-pre-f64-normal-s0", tuple(REGIMES))
GROUP = Group(CASE.structure, CASE.regime, 0, (0, 1))


class WrongFrom(Miniature):
    """Weight gradients are 3 times what they should be, or NaN, from a call on that is counted from 0."""

    name = "wrong-from"

    def __init__(self, call: int, factor: float = 3.0, calls: int = 100) -> None:
        super().__init__()
        self._wrong, self._factor, self._calls = range(call, call + calls), factor, 0

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found, self._calls = right(structure, parameters, x, y), self._calls + 1
        if self._calls - 1 not in self._wrong:
            return found
        return replace(found, weight_gradients=tuple(g * self._factor for g in found.weight_gradients))


# Two draws, the first call again, three steps of a descent, and two parts of the batch.
AGAIN, DESCENT, HALVES = 2, 3, 6


def _first_failure(adapter: Miniature) -> tuple[Verdict, tuple]:
    examination = examine(GROUP, LocalRunner(adapter))
    verdict = next(v for v in examination.verdicts[0] if v.fails)
    return verdict, examination.failing_calls(0, verdict)


def test_a_failing_draw_is_its_own_call() -> None:
    examination = examine(GROUP, LocalRunner(WrongFrom(1)))
    verdict = next(v for v in examination.verdicts[1] if v.fails)
    (call,) = examination.failing_calls(1, verdict)
    assert (
        call.draw.x.tobytes() != examine(GROUP, LocalRunner(Miniature())).failing_calls(0, verdict)[0].draw.x.tobytes()
    )
    assert call.observation is not None


def test_a_repeated_call_has_the_numbers_of_the_first_and_its_own_observation() -> None:
    verdict, (call,) = _first_failure(WrongFrom(AGAIN))
    assert (verdict.check, verdict.quantity) == ("contract", "same call twice")
    assert call.observation is not None
    due = right(CASE.structure, call.draw.parameters, call.draw.x, call.draw.y)
    assert np.array_equal(call.observation.weight_gradients[0], due.weight_gradients[0] * 3)


def test_a_descent_step_has_its_own_weights() -> None:
    for step in (1, 2, 3):
        verdict, (call,) = _first_failure(WrongFrom(DESCENT + step - 1, calls=1))
        assert (verdict.check, verdict.step) == ("descent", step)
        assert call.observation is not None
        due = right(CASE.structure, call.draw.parameters, call.draw.x, call.draw.y)
        assert np.array_equal(call.observation.weight_gradients[0], due.weight_gradients[0] * 3)


def test_a_batch_in_parts_has_the_whole_and_both_parts() -> None:
    verdict, calls = _first_failure(WrongFrom(HALVES))
    assert verdict.check == "batch"
    assert len(calls) == 3
    whole, *parts = (call.observation.weight_gradients[0] for call in calls)
    assert not np.allclose(whole, parts[0] + parts[1])


def test_nan_in_a_part_of_the_batch_is_wrong() -> None:
    verdict, _ = _first_failure(WrongFrom(HALVES, factor=float("nan")))
    assert (verdict.check, verdict.grade) == ("batch", "wrong")
    assert verdict.worst == np.inf


def test_examine_finds_no_causes_and_diagnose_adds_them() -> None:
    examination = examine(GROUP, LocalRunner(miniatures.MeanOverBatch()))
    diagnosed = diagnose(GROUP, examination)
    for before, after in zip(examination.verdicts, diagnosed, strict=True):
        assert not any(origin_of(v) or explanations_of(v) for v in before)
        first = next(v for v in after if v.is_unexpected)
        assert origin_of(first) == "dE/dW_2"
        assert explanations_of(first)[0].name == "gradient-mean"
        assert [(v.check, v.quantity, v.grade, v.worst) for v in before] == [
            (v.check, v.quantity, v.grade, v.worst) for v in after
        ]


@pytest.mark.parametrize("factor", [1.0, 0.0])
def test_a_formula_that_knows_nothing_of_a_slope_is_no_finding_about_a_batch_in_parts(factor: float) -> None:
    # An infinite error times a slope of exactly 0 was NaN, and any difference from a tolerance of NaN a finding.
    def unknown(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return widened(right() * factor, np.full(w.z[i].shape, np.inf)) if i == 2 else right() * factor

    formulas: Formulas = {"1": ({"d": unknown}, lambda i, n: True)}
    known = ExpectationFor(lambda verdict: None, lambda cases: formulas)
    batch = [v for v in examine(GROUP, LocalRunner(Numpy()), known).verdicts[0] if v.check == "batch"]
    assert [v.grade for v in batch] == ["inconclusive"]
    assert batch[0].tolerance == np.inf
