"""Histories: which steps are left, and how they are described."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.conformance.cases.case import Case, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.histories.history import (
    History,
    Step,
    describe_steps,
    distinct_draws,
    index_of,
    same_numbers,
)

CASE = parse_case("3x2-tanh-b2-pre-f64-normal-s0", tuple(REGIMES))
OTHER = replace(CASE.structure, batch=3)
A, B = (make_draws([Case(CASE.structure, "normal", 0, i)])[0] for i in (0, 1))
C = make_draws([Case(OTHER, "normal", 0, 0)])[0]
HISTORY = History((CASE.structure, OTHER), (Step(0), Step(0, A), Step(1), Step(1, C), Step(0, B), Step(0, A)), "normal")


def test_kept_steps_keep_their_order_and_programs_without_a_step_are_left_out() -> None:
    kept = HISTORY.keep({1})
    assert (kept.programs, len(kept.steps)) == ((CASE.structure,), 2)
    other_first = HISTORY.keep({3})
    assert other_first.programs == (OTHER, CASE.structure)
    assert [step.program for step in other_first.steps] == [0, 1]
    assert HISTORY.keep(set()).is_single_call


def test_the_call_that_is_compared_with_stays() -> None:
    repeat = replace(HISTORY, aim="repeat", reference=1)
    assert repeat.removable == (0, 2, 3, 4)
    kept = repeat.keep({3})
    assert kept.reference == 0
    assert same_numbers(kept.steps[0].draw or C, A)


def test_a_build_that_the_next_step_implies_is_left_out() -> None:
    assert [(s.program, s.draw is not None) for s in HISTORY.without_implied_builds().steps] == [
        (0, True), (1, True), (0, True), (0, True)
    ]  # fmt: skip
    built_first = replace(HISTORY, steps=(Step(1), *HISTORY.steps[1:]))
    assert len(built_first.without_implied_builds().steps) == 5


def test_equal_numbers_are_one_set() -> None:
    copy = replace(A, x=np.array(A.x))
    history = replace(HISTORY, steps=(*HISTORY.steps[:-1], Step(0, copy)))
    drawn = distinct_draws(history)
    assert [program for program, _ in drawn] == [0, 1, 0]
    assert index_of(drawn, history.steps[-1]) == 0
    assert not same_numbers(A, B)
    assert not same_numbers(A, C)


def test_the_structure_of_overwritten_results_is_that_of_the_earlier_call() -> None:
    steps = (Step(1, C), Step(0, A))
    assert History((CASE.structure, OTHER), steps, "normal", "overwritten", 0).structure == OTHER
    assert History((CASE.structure, OTHER), steps, "normal").structure == CASE.structure


@pytest.mark.parametrize(("count", "words"), [(1, "call 1:"), (2, "calls 1 and 2:"), (40, "calls 1 to 40:")])
def test_steps_are_described_in_few_lines(count: int, words: str) -> None:
    history = History((CASE.structure,), (*[Step(0, A)] * count, Step(0, B)), "normal")
    first, last = describe_steps(history)
    assert first == f"{words} 3x2-tanh-b2-pre-f64 with numbers 1"
    assert last == f"call {count + 1}: 3x2-tanh-b2-pre-f64 with numbers 2"
    assert describe_steps(HISTORY)[0] == "build 3x2-tanh-b2-pre-f64"
