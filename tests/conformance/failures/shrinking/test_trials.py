"""Trials: which candidates fail in the same way, and in which call."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Case, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.shrinking.budget import Budget, BudgetedRunner
from kterm.conformance.failures.shrinking.same_failure import FailureKind
from kterm.conformance.failures.shrinking.trials import DRAWS, Trials
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner, NoAnswer
from kterm.reference import Array, Parameters, Structure

CASE = parse_case("3x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))


def _trials(adapter: Adapter, case: Case = CASE, progress: Callable[[str], object] | None = None) -> Trials:
    return Trials(case, BudgetedRunner(LocalRunner(adapter), Budget()), NOTHING_EXPECTED, progress)


class _WrongOnce(Numpy):
    """The bias gradients of one call, chosen by its first input, are doubled."""

    name = "wrong-once"

    def __init__(self, x: float) -> None:
        super().__init__()
        self._x = x

    def build(self, structure: Structure) -> Callable[[Parameters, Array, Array], Observation]:
        program = super().build(structure)

        def answer(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed = program(parameters, x, y)
            factor = 2.0 if x.flat[0] == self._x else 1.0
            return replace(observed, bias_gradients=tuple(b * factor for b in observed.bias_gradients))

        return answer


def test_the_first_draw_that_fails_is_found() -> None:
    draws = make_draws([Case(CASE.structure, CASE.regime, CASE.seed, i) for i in range(DRAWS)])
    found = _trials(_WrongOnce(float(draws.x[5].flat[0]))).try_structure(CASE.structure)
    assert found is not None
    assert (found.at, found.draws[found.at], found.has_drawn_numbers) == (5, 5, True)
    assert found.verdict.quantity == "dE/db_1"
    assert np.array_equal(found.draw.x, draws.x[5])


def test_the_cut_numbers_come_after_the_draws() -> None:
    cut = make_draws([Case(CASE.structure, CASE.regime, CASE.seed, 100)])[0]
    found = _trials(_WrongOnce(float(cut.x.flat[0]))).try_structure(CASE.structure, cut)
    assert found is not None
    assert (found.at, found.has_drawn_numbers) == (DRAWS, False)
    assert np.array_equal(found.draw.x, cut.x)


def test_another_failure_does_not_count() -> None:
    trials = _trials(plant_mutant(Numpy(), MUTANTS["bias-mean"]))
    found = trials.try_numbers(CASE.structure, (0,))
    assert found is not None
    trials.kind = FailureKind.of(found.verdict)
    assert trials.try_numbers(CASE.structure, (1,)) is not None
    other = _trials(plant_mutant(Numpy(), MUTANTS["no-slope"]))
    other.kind = trials.kind
    assert other.try_numbers(CASE.structure, (1,)) is None


def test_each_trial_is_counted_and_reported() -> None:
    lines: list[str] = []
    trials = _trials(Numpy(), progress=lines.append)
    assert trials.try_structure(CASE.structure) is None
    assert trials.count == 1
    assert lines == ["3x2-tanh-b3-pre-f64-normal: does not fail in the same way"]


def test_an_unsupported_structure_is_reported_while_any_failure_counts() -> None:
    case = parse_case("2x2-tanh-b3-pre-bf16-normal-s0", tuple(REGIMES))
    trials = _trials(Numpy(), case)
    with pytest.raises(NoAnswer, match="numpy has no dtype bf16"):
        trials.try_numbers(case.structure, (0,))
