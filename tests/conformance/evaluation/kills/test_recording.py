"""A framework is asked once for each answer, and recorded answers can be judged again."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.checks.examine import examine
from kterm.conformance.evaluation.kills.recording import AnswerCache, RecordedRunner
from kterm.conformance.evaluation.kills.trial import Trial
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Network, Parameters, Structure

from . import SMOKE, make_group


class _Counting(Numpy):
    """The reference, which records the arguments of its calls."""

    calls: list[tuple]

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.calls = []

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def counted(parameters: Parameters, x: Array, y: Array) -> Observation:
            given = (*parameters.weights, *parameters.biases, x, y)
            self.calls.append((structure, *(array.tobytes() for array in given)))
            return program(parameters, x, y)

        return counted


def test_a_framework_is_asked_once_for_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = _Counting()
    monkeypatch.setattr("kterm.conformance.evaluation.kills.trial.load", lambda spec, device: counting)
    names = ["factor-2", "gradient-transposed", "residual-of-z", "one-in-fifty", "first-call"]
    group = make_group("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 6)
    results = list(Trial(SMOKE, names).run(group, names))
    assert len(set(counting.calls)) == len(counting.calls)
    # The calls of six draws, their descents and halves, and those that only a mutant makes.
    assert len(counting.calls) < 2 * sum(one.calls for one in results if not one.name)


def test_the_cache_distinguishes_strides_and_layouts() -> None:
    cache, counting = AnswerCache(), _Counting()
    adapter, structure = cache.wrap_adapter(counting), Structure(Network((3, 3), ("tanh",), "none"), 2, "f64")
    rng = np.random.default_rng(0)
    weight, x, y = rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    program = adapter.program(structure)
    first = program(Parameters((weight,), ()), x, y)
    assert program(Parameters((weight,), ()), x, y) is first
    program(Parameters((np.asfortranarray(weight),), ()), x, y)
    assert len(counting.calls) == 2
    cache.clear()
    adapter.program(structure)(Parameters((weight,), ()), x, y)
    assert len(counting.calls) == 3


def test_a_recording_replays_and_goes_on() -> None:
    group = make_group("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 3)
    counting = _Counting()
    recorded = RecordedRunner(LocalRunner(counting))
    verdicts, calls = examine(group, recorded).verdicts, len(counting.calls)
    again = recorded.replay()
    assert examine(group, again).verdicts == verdicts
    assert len(counting.calls) == calls
    assert again.equals(recorded)
    examine(replace(group, draws=(0, 1)), recorded.replay())
    assert len(counting.calls) > calls
