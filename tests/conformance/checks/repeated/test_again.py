"""Repeated calls with other bits: within the tolerance, or wrong; what expectations let pass; one cause for chance."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import NOTHING_EXPECTED, SOAK, ExpectationFor, Verdict
from kterm.conformance.checks.verdict import SAME_CALL as SAME
from kterm.conformance.diagnosis.causes import group_unexplained
from kterm.conformance.expectations.expectation import Expectation, matcher
from kterm.conformance.failures.reproduce import explain_pass, find_failure_to_show
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Parameters, Structure

from ....support.frameworks.stateful import Momentum, NewAdapterRunner

Change = Callable[[int, Array], Array]
"""Takes the number of a call of its program, from 1, and its first weight gradient; gives what is returned for it."""


class Changed(Numpy):
    """The first weight gradient of each call is changed."""

    name = "changed"

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change, self.calls = change, 0

    def build(self, structure: Structure) -> Program:
        program, number = super().build(structure), 0

        def called(parameters: Parameters, x: Array, y: Array) -> Observation:
            nonlocal number
            observed, number = program(parameters, x, y), number + 1
            self.calls += 1
            first, *rest = observed.weight_gradients
            return replace(observed, weight_gradients=(self._change(number, first), *rest))

        return called


def _up(number: int, array: Array) -> Array:
    """Each call gives other bits, all of them right: as many last places more as its number modulo 7."""
    return array * array.dtype.type(1 + (number % 7) * np.finfo(array.dtype).eps)


def _wrong_from(call: int) -> Change:
    """Other bits in each call, and from one call on, counted from 1, off by 1/64."""
    return lambda number, array: _up(number, array) * (65 / 64 if number >= call else 1)


def _wrong_once(call: int) -> Change:
    return lambda number, array: _up(number, array) * (65 / 64 if number == call else 1)


def _findings(
    regime: str, change: Change, expected: ExpectationFor = NOTHING_EXPECTED, draws: int = 3
) -> list[Verdict]:
    case = parse_case(f"3x2x4-tanh.silu-b3-pre-f64-{regime}-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, tuple(range(draws)))
    verdicts = examine(group, LocalRunner(Changed(change)), expected).verdicts
    return [v for some in verdicts for v in some if v.is_finding]


def _entry(quantity: str, grade: str = "*") -> ExpectationFor:
    return matcher([Expectation("1", "*", "sums in any order", check="contract", quantity=quantity, grade=grade)])


def test_other_bits_within_the_tolerance_are_inaccurate() -> None:
    (finding,) = _findings("normal", _up)
    assert (finding.quantity, finding.grade) == (SAME, "inaccurate")
    assert finding.message == (
        "the same call, made again, gave other bits in dE/dW_1, all within the tolerance of the rule"
    )


def test_a_repeated_answer_that_is_wrong_is_wrong() -> None:
    (finding,) = _findings("normal", _wrong_from(4))
    assert (finding.quantity, finding.grade) == (SAME, "wrong")
    assert "other bits in dE/dW_1; dE/dW_1 departs from the rule" in finding.message


@pytest.mark.parametrize("entry", [_entry(SAME), _entry("*"), _entry(SAME, "inaccurate")], ids=["*", "any", "grade"])
def test_an_expectation_of_other_bits_matches_no_wrong_answer(entry: ExpectationFor) -> None:
    (finding,) = _findings("normal", _up, entry)
    assert finding.expectation == "1"
    (finding,) = _findings("normal", _wrong_from(4), entry)
    assert finding.fails


def test_an_entry_that_names_the_grade_matches_a_wrong_answer() -> None:
    (finding,) = _findings("normal", _wrong_from(4), _entry(SAME, "wrong"))
    assert finding.expectation == "1"


@pytest.mark.parametrize("call", [5, 8])
def test_behind_expected_bits_the_later_calls_are_judged(call: int) -> None:
    """Calls 5 to 7 are the descent, 8 and 9 the parts of the batch."""
    found = [v for v in _findings("normal", _wrong_from(call), _entry(SAME)) if v.fails]
    assert {v.check for v in found} == ({"descent", "batch"} if call == 5 else {"batch"})


@pytest.mark.parametrize("call", [300])
def test_one_wrong_call_of_hundreds_does_not_hide_behind_other_bits(call: int) -> None:
    found = _findings("soak", _wrong_once(call), matcher([]))
    assert [(v.quantity, v.grade) for v in found if v.quantity == SOAK] == [(SOAK, "wrong")]
    assert f"call {call} of 400" in next(v for v in found if v.quantity == SOAK).message
    expected = _findings("soak", _wrong_once(call), _entry("*"))
    assert [v.quantity for v in expected if v.fails] == [SOAK]


def test_bits_that_differ_in_soaking_alone_are_inaccurate_and_expected() -> None:
    def late(number: int, array: Array) -> Array:
        return _up(1, array) if number == 77 else array

    (finding,) = _findings("soak", late)
    assert (finding.quantity, finding.grade) == (SOAK, "inaccurate")
    assert finding.message.startswith("call 77 of 400 gave other bits in dE/dW_1 than call ")
    assert finding.message.endswith("with the same numbers, all within the tolerance of the rule")
    assert not [v for v in _findings("soak", late, _entry(SOAK)) if v.fails]


def test_soaking_that_finds_only_what_the_second_call_shows_is_no_second_finding() -> None:
    assert [v.quantity for v in _findings("soak", _up)] == [SAME]


def test_a_call_that_differs_in_every_repetition_is_the_same_call_whatever_its_number() -> None:
    """The first four calls agree, so that the second call of a draw shows nothing."""
    (finding,) = _findings("soak", lambda number, array: _up(number, array) if number > 20 else array)
    assert (finding.quantity, finding.grade) == (SAME, "inaccurate")


def test_a_twin_that_gives_other_bits_in_every_call_is_not_replaced_by_another_program() -> None:
    for change, grade in ((_up, "inaccurate"), (_wrong_from(2), "wrong")):
        found = _findings("twins", change, draws=1)
        assert {(v.quantity, v.grade) for v in found if v.check == "contract"} == {(SAME, grade)}


def test_a_wrong_twin_does_not_hide_behind_other_bits_of_the_program_itself() -> None:
    """A twin has made two calls when it is wrong, and the structure's own program more."""
    found = _findings("twins", _wrong_once(2), _entry("*"))
    assert any(v.fails for v in found)


def test_twins_that_change_once_are_judged_by_the_rule() -> None:
    def later(number: int, array: Array) -> Array:
        return _up(1, array) if number == 1 else array

    found = [v for v in _findings("twins", later, draws=1) if v.quantity == "twins"]
    assert found
    assert {v.grade for v in found} == {"inaccurate"}
    assert all(v.message.endswith("dE/dW_1, all within the tolerance of the rule") for v in found)
    wrong = [v for v in _findings("twins", lambda n, a: a if n == 1 else a * 3, draws=1) if v.quantity == "twins"]
    assert {v.grade for v in wrong} == {"wrong"}


def test_a_rare_difference_is_of_one_cause_with_a_frequent_one() -> None:
    case = "3x2x4-tanh.silu-b3-pre-f64-{}-s0"
    again = "the same call, made again, gave other bits in E, all within the tolerance of the rule"
    rare = "call 9 of 400 gave other bits in E than call 3 with the same numbers, all within the tolerance of the rule"
    same = Verdict(case.format("normal"), "contract", SAME, "inaccurate", message=again)
    soaked = Verdict(case.format("soak"), "contract", SOAK, "inaccurate", message=rare)
    assert group_unexplained([soaked, same]) == [[soaked, same]]
    assert group_unexplained([soaked, replace(same, grade="wrong")]) == [[soaked], [replace(same, grade="wrong")]]


class _Random(Changed):
    """Random last places: other ones in each process."""

    name = "random"

    def __init__(self) -> None:
        rng = np.random.default_rng()
        # A few last places are within the tolerance, and six entries are hardly ever the same twice.
        super().__init__(lambda _, array: array * (1 + rng.integers(4, size=array.shape) * np.finfo(array.dtype).eps))


@pytest.mark.parametrize(("bad", "words"), [(_Random, "is nondeterministic"), (Momentum, "what the adapter keeps")])
def test_a_script_that_passes_says_chance_where_new_processes_differ(bad: type[Numpy], words: str) -> None:
    runner = NewAdapterRunner(bad)
    case = parse_case("3x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
    found = find_failure_to_show(case, runner, NOTHING_EXPECTED, shrinks=False, start=runner.start)
    assert found is not None
    assert words in explain_pass(found.failure)
