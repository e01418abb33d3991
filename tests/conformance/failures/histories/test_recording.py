"""Recorded calls: which histories explain a failure."""

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.histories.history import History
from kterm.conformance.failures.histories.playing import play
from kterm.conformance.failures.histories.recording import RecordingRunner
from kterm.conformance.runners.runner import Answer, LocalRunner, NoAnswer, Runner
from kterm.reference import Array, Parameters

from ....support.frameworks import caches, flawed, stateful
from ....support.frameworks.stateful import NewAdapterRunner

CASE = parse_case("3x2x2-tanh.silu-b4-pre-f64-normal-s0", tuple(REGIMES))


def _record(runner: Runner, regime: str = "normal", draws: int = 2) -> RecordingRunner:
    recording = RecordingRunner(runner)
    examine(Group(CASE.structure, regime, 0, tuple(range(draws))), recording)
    return recording


def _histories(adapter: Adapter, regime: str = "normal") -> list[History]:
    return list(_record(LocalRunner(adapter), regime).find_histories(NOTHING_EXPECTED, None))


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    recording = _record(LocalRunner(Numpy()))
    assert list(recording.find_histories(NOTHING_EXPECTED, None)) == []
    # Two draws, one of them again, three steps of a descent, and two parts of the batch.
    assert len(recording.calls) == 8


def test_calls_in_turn_are_recorded_one_by_one() -> None:
    assert len(_record(LocalRunner(Numpy()), "soak", draws=3).calls) == REGIMES["soak"].soak


@pytest.mark.parametrize(
    ("adapter", "aim", "calls"),
    [
        (stateful.StaleInputs(), "answer", 2),
        (stateful.BiasesAccumulated(), "answer", 2),
        (stateful.FirstWeights(), "answer", 2),
        (flawed.Unsteady(), "repeat", 3),
        (flawed.Overwrites(), "overwritten", 2),
    ],
)
def test_the_first_call_that_fails_is_the_last_of_the_history(adapter: Adapter, aim: str, calls: int) -> None:
    history = _histories(adapter)[0]
    assert (history.aim, sum(step.draw is not None for step in history.steps)) == (aim, calls)
    if aim != "answer":
        assert history.reference is not None
        assert history.steps[history.reference].draw is not None


def test_programs_of_twins_are_in_the_history() -> None:
    history = _histories(caches.LastWins(), "twins")[0]
    assert len(history.programs) > 1


def test_a_lost_process_begins_a_new_history() -> None:
    recording = RecordingRunner(_Lost())
    with pytest.raises(NoAnswer):
        recording.call("normal", *_numbers())
    recording.build(CASE.structure)
    assert len(recording.events) == 1


def _numbers() -> tuple:
    one = make_draws([CASE])[0]
    return one.parameters, one.x, one.y


class _Lost(LocalRunner):
    """Its process dies in the first call."""

    def __init__(self) -> None:
        super().__init__(Numpy())

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        raise NoAnswer("died", "the process is gone")


def test_a_history_fails_again_in_a_new_process_and_its_last_call_alone_does_not() -> None:
    runner = NewAdapterRunner(stateful.Every37th)
    (history,) = list(_record(runner, "soak", draws=3).find_histories(NOTHING_EXPECTED, None))[:1]
    assert len(history.steps) == 38
    runner.start()
    played = play(history, runner, NOTHING_EXPECTED)
    assert played is not None
    assert (played.verdict.quantity, played.verdict.grade) == ("E", "wrong")
    assert played.observation is not None
    assert np.isfinite(played.observation.error)
    runner.start()
    assert play(history.alone(), runner, NOTHING_EXPECTED) is None
    # Without a new process the counter goes on.
    assert play(history, runner, NOTHING_EXPECTED) is None
