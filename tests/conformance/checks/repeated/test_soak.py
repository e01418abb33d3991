"""Soaking: a rare fault is found, with the number of its call."""

from dataclasses import replace

import pytest

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.diagnosis.explanation import explanations_of
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Parameters, Structure

from ....support.frameworks.stateful import OneIn300

CASE = parse_case("3x2x2-tanh.silu-b4-pre-f64-soak-s0", tuple(REGIMES))
GROUP = Group(CASE.structure, "soak", 0, (0, 1, 2))


class WrongOnce(Numpy):
    """One call, counted from 1, has a first weight gradient that is off by 1/64."""

    name = "wrong-once"

    def __init__(self, call: int) -> None:
        super().__init__()
        self.calls, self._wrong = 0, call

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def called(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed, self.calls = program(parameters, x, y), self.calls + 1
            if self.calls != self._wrong:
                return observed
            first, *rest = observed.weight_gradients
            return replace(observed, weight_gradients=(first * 65 / 64, *rest))

        return called


def _findings(adapter: Numpy) -> list[Verdict]:
    return [v for some in examine(GROUP, LocalRunner(adapter)).verdicts for v in some if v.fails]


def test_a_program_is_called_as_often_as_the_regime_says() -> None:
    adapter = WrongOnce(0)
    assert _findings(adapter) == []
    assert adapter.calls == REGIMES["soak"].soak >= 400


@pytest.mark.parametrize(("call", "first"), [(5, 2), (6, 3), (7, 1), (54, 3), (55, 1), (400, 1)])
def test_the_call_that_differs_is_named(call: int, first: int) -> None:
    (finding,) = _findings(WrongOnce(call))
    assert (finding.check, finding.quantity) == ("contract", "repeated calls")
    said = f"call {call} of 400 gave other bits in dE/dW_1 than call {first} with the same numbers"
    assert finding.message == f"{said}; dE/dW_1 departs from the rule"


def test_a_mistake_of_one_call_in_300_is_found_and_explained() -> None:
    group, runner = GROUP, LocalRunner(OneIn300())
    examination = examine(group, runner)
    failing = next(v for some in diagnose(group, examination) for v in some if v.fails)
    assert failing.message.startswith("call 300 of 400 gave other bits in dE/dW_1")
    assert any("65/64" in explanation.mistake for explanation in explanations_of(failing))
    (call,) = examination.failing_calls(0, failing)
    assert call.observation is not None


def test_what_the_second_call_shows_ends_it() -> None:
    adapter = WrongOnce(4)
    assert [finding.quantity for finding in _findings(adapter)] == ["same call twice"]
    assert adapter.calls == 4
