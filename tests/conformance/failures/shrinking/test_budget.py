"""The runner that keeps to a budget."""

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.shrinking.budget import Budget, BudgetedRunner, BudgetSpent
from kterm.conformance.runners.runner import LocalRunner

CASE = parse_case("2x2-tanh-b3-pre-f64-normal-s0", tuple(REGIMES))
ONE = make_draws([CASE])[0]


def _call(runner: BudgetedRunner) -> None:
    runner.call("normal", ONE.parameters, ONE.x, ONE.y)


def test_builds_and_calls_end_at_their_limits() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(builds=2, calls=3))
    for _ in range(2):
        runner.build(CASE.structure)
    with pytest.raises(BudgetSpent, match=r"^2 builds$"):
        runner.build(CASE.structure)
    for _ in range(3):
        _call(runner)
    with pytest.raises(BudgetSpent, match=r"^3 calls$"):
        _call(runner)
    assert (runner.builds, runner.calls) == (2, 3)


def test_a_reserve_is_kept_back() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(builds=3, calls=3))
    runner.reserve = Budget(builds=2, calls=3)
    runner.build(CASE.structure)
    with pytest.raises(BudgetSpent, match="3 builds"):
        runner.build(CASE.structure)
    with pytest.raises(BudgetSpent, match="3 calls"):
        _call(runner)
    runner.reserve = Budget(0, 0)
    runner.build(CASE.structure)
    _call(runner)


def test_a_program_that_is_used_again_costs_no_build() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(builds=2))
    runner.reuses_program = True
    for _ in range(3):
        runner.build(CASE.structure)
    assert runner.builds == 1
    # A program beside it is another.
    runner.build(CASE.structure, None, True)
    assert runner.builds == 2


def test_the_seconds_end_it_too() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(seconds=0))
    with pytest.raises(BudgetSpent, match=r"^0 seconds$"):
        runner.build(CASE.structure)


def test_starts_of_a_process_end_at_their_limit() -> None:
    started: list[int] = []
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(starts=2), lambda: started.append(1))
    for _ in range(2):
        runner.start()
    with pytest.raises(BudgetSpent, match=r"^2 starts$"):
        runner.start()
    assert (runner.starts, len(started), runner.can_start) == (2, 2, True)


def test_a_runner_that_cannot_start_a_process_goes_on_in_the_one_that_it_has() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(starts=0))
    runner.start()
    assert (runner.starts, runner.can_start) == (0, False)


def test_calls_in_turn_count_one_by_one_or_are_skipped() -> None:
    runner = BudgetedRunner(LocalRunner(Numpy()), Budget(calls=5))
    runner.build(CASE.structure)
    answer = runner.call("normal", ONE.parameters, ONE.x, ONE.y)
    assert answer.observation is not None
    turn = [(ONE.parameters, ONE.x, ONE.y, answer.observation)]
    assert runner.call_in_turn("normal", turn, 4) is None
    assert runner.calls == 5
    with pytest.raises(BudgetSpent, match="5 calls"):
        runner.call_in_turn("normal", turn, 1)
    runner.skips_soak = True
    assert runner.call_in_turn("normal", turn, 400) is None
