"""Which call of a failing case is kept: its numbers, its results, and the further calls that show the failure."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.conformance.cases.case import Case, Group, parse_case
from kterm.conformance.cases.draw import REGIMES, Draw, make_draws
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import failure_of
from kterm.conformance.failures.find import find_failure
from kterm.conformance.failures.scripts.failure import Failure
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner, NoAnswer
from kterm.reference import Array, Parameters

from ...support.frameworks import caches, flawed, miniatures


def draw_calls(case: Case) -> Draw:
    """The numbers of a case and those of the next draw: only other numbers show whether results are overwritten."""
    return make_draws([case, replace(case, draw=case.draw + 1)])


def _find(case_id: str, adapter: Adapter) -> tuple[Case, Failure]:
    case = parse_case(case_id, tuple(REGIMES))
    found = find_failure(case, draw_calls(case), LocalRunner(adapter))
    assert found is not None
    return case, found[0]


def _again(case: Case, adapter: Adapter, failure: Failure) -> Observation:
    one = failure.draw
    return adapter.program(case.structure)(one.parameters, one.x, one.y)


def test_a_wrong_number_is_kept_with_the_case_s_own_call() -> None:
    case, failure = _find("2x2-tanh-b3-pre-f64-normal-s4", flawed.MeanOverBatch())
    assert (failure.kind, failure.quantity, failure.case) == ("numbers", "dE/dW_1", case.id)
    assert np.array_equal(failure.draw.x, make_draws([case])[0].x)
    assert failure.observation is not None
    again = _again(case, flawed.MeanOverBatch(), failure)
    assert np.array_equal(failure.observation.weight_gradients[0], again.weight_gradients[0])


class _LateFrom(flawed.Late):
    """The mistake starts in the second or third step of the descent."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step, self.weights = step, list[bytes]()

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        own = parameters.weights[0].tobytes()
        if own not in self.weights:
            self.weights.append(own)
        return super().spoilt(observed, parameters, x, y) if self.weights.index(own) + 1 >= self._step else observed


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_descent_step_is_kept_with_its_own_weights(step: int) -> None:
    adapter = _LateFrom(step)
    case, failure = _find("2x2-tanh-b3-pre-f64-normal-s0", adapter)
    assert (failure.kind, failure.quantity) == ("numbers", "dE/dW_1")
    # The weights that are given to the wrong program: first those of the first step of the descent, and so on.
    assert failure.draw.parameters.weights[0].tobytes() == adapter.weights[step - 1]
    assert np.array_equal(failure.draw.x, make_draws([case])[0].x)
    assert failure.observation is not None


def test_a_batch_is_kept_with_its_two_parts() -> None:
    case, failure = _find("2x3-tanh-b4-pre-f64-normal-s0", flawed.RowsMeet())
    assert (failure.kind, len(failure.parts)) == ("sum", 2)
    one = make_draws([case])[0]
    assert np.array_equal(failure.draw.y, one.y)
    even, odd = (part.y == one.y for part in failure.parts)
    assert (~even[::2]).all()
    assert even[1::2].all()
    assert (~odd[1::2]).all()
    assert odd[::2].all()
    assert all(np.array_equal(part.x, one.x) for part in failure.parts)


def test_a_repeated_call_is_kept_with_what_it_returned_the_second_time() -> None:
    case, failure = _find("2x3-mish-b3-pre-f64-normal-s0", flawed.Unsteady())
    assert failure.kind == "repeat"
    assert np.array_equal(failure.draw.x, make_draws([case])[0].x)
    assert failure.observation is not None
    assert failure.observation.error == _again(case, flawed.Unsteady(), failure).error * (1 + 2.0**-50)


class _RaisesLater(flawed.Late):
    """The first step of the descent raises."""

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        raise RuntimeError("no kernel for these weights")


def test_a_call_that_raises_is_kept_with_its_numbers() -> None:
    case, failure = _find("2x3-gelu-b3-none-f32-normal-s0", flawed.Raises())
    one = make_draws([case])[0]
    assert (failure.kind, failure.observation) == ("raised", None)
    assert np.array_equal(failure.draw.parameters.weights[0], one.parameters.weights[0])
    case, failure = _find("2x3-gelu-b3-none-f64-normal-s0", _RaisesLater())
    one = make_draws([case])[0]
    assert (failure.kind, failure.observation) == ("raised", None)
    assert "no kernel for these weights" in failure.message
    assert not np.array_equal(failure.draw.parameters.weights[0], one.parameters.weights[0])


@pytest.mark.parametrize(
    ("bad", "case_id", "kind"),
    [
        (flawed.Misshapen, "2x3-relu-b3-pre-f32-normal-s0", "form"),
        (flawed.Modifies, "2x3-sin-b3-post-f64-normal-s0", "inputs"),
        (flawed.Overwrites, "2x3-gelu_tanh-b2-pre-f64-normal-s0", "overwritten"),
        (flawed.NotANumber, "2x2-tanh-b3-pre-f32-normal-s0", "numbers"),
        (miniatures.LiesAboutLayout, "3x3x3-relu.leaky_relu-b5-pre-f32-layout-s0", "layout"),
        (caches.LastWins, "3x2x4-tanh.silu-b3-pre-f64-twins-s0", "programs"),
    ],
)
def test_each_kind_is_named(bad: type[Adapter], case_id: str, kind: str) -> None:
    assert _find(case_id, bad())[1].kind == kind


def test_the_failing_call_among_several_is_kept() -> None:
    def new_runner() -> LocalRunner:
        return LocalRunner(plant_mutant(flawed.Numpy(), MUTANTS["one-in-fifty"]))

    case = parse_case("3x2x5-silu.tanh-b7-pre-f64-normal-s0", tuple(REGIMES))
    group = Group(case.structure, "normal", 0, tuple(range(64)))
    calls = make_draws(group.cases)
    verdicts = examine(group, new_runner(), draws=calls).verdicts
    at = next(i for i, some in enumerate(verdicts) if failure_of(some))
    found = find_failure(case, calls, new_runner(), at)
    assert found is not None
    assert at > 1
    assert np.array_equal(found[0].draw.x, calls.x[at])
    assert find_failure(case, calls, new_runner(), at - 1) is None


def test_what_does_not_fail_and_what_is_not_supported() -> None:
    case = parse_case("2x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
    assert find_failure(case, draw_calls(case), LocalRunner(flawed.Numpy())) is None
    case = parse_case("2x2-tanh-b3-pre-bf16-normal-s0", tuple(REGIMES))
    with pytest.raises(NoAnswer, match="numpy has no dtype bf16"):
        find_failure(case, draw_calls(case), LocalRunner(flawed.Numpy()))
