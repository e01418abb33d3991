"""Steps that repeat the errors of others say nothing new: they neither raise an alarm nor hide a bias."""

import numpy as np
import pytest
from msgspec import structs

from kterm.adapters.traces.trace import Trace
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.conformance.interfaces.models.products.likeness import find_repeated, show_errors

from ....support.mistakes.models.small import Small
from .test_judge import chopped_trace

MODEL = Small(widths=(24, 40, 16), axes=(8, 5))


def _repeated(trace: Trace, times: int) -> Trace:
    """The steps of a trace, again and again."""
    steps = [structs.replace(step, file=f"{i}-{step.file}") for i in range(times) for step in trace.manifest.steps]
    return Trace(structs.replace(trace.manifest, steps=tuple(steps)), trace.steps * times)


@pytest.mark.parametrize("seed", range(8))
def test_the_same_step_many_times_is_no_bias(seed: int) -> None:
    one = Small(widths=MODEL.widths, axes=MODEL.axes, seed=seed).trace()
    many = judge_trace(_repeated(one, 5))
    assert many.conforms
    # What counts is what one step has.
    alone = judge_trace(one)
    assert {layer: dict(some) for layer, some in many.moments.items()} == {
        layer: dict(some) for layer, some in alone.moments.items()
    }


def test_steps_of_their_own_all_count() -> None:
    trace = Small(widths=MODEL.widths, axes=MODEL.axes, steps=12).trace()
    judgement = judge_trace(trace)
    for layer, (inputs, outputs) in {"layers.0": (24, 40), "layers.1": (40, 16)}.items():
        sums = judgement.moments[layer]
        counted = {key[1]: sum(s.entries for k, s in sums.items() if k[1] == key[1]) for key in sums}
        assert counted == {"z": 480 * outputs, "k": 480 * inputs, "dE/dW": 12 * inputs * outputs, "dE/db": 12 * outputs}


def test_a_bias_of_repeated_steps_is_not_hidden() -> None:
    # Thirty steps with a bias, each of them twice.
    judgement = judge_trace(_repeated(chopped_trace(), 2))
    assert not judgement.conforms


@pytest.mark.parametrize("count", [3, 8, 30, 256])
def test_independent_errors_are_rarely_taken_as_repeated(count: int) -> None:
    rng = np.random.default_rng(count)
    signs = np.sign(rng.normal(size=(300, count)))
    shown = [show_errors(0.3 * rng.normal(size=count) + 0.24 * one, one) for one in signs]
    assert sum(find_repeated(shown)) <= 3
    assert find_repeated([shown[0], shown[0]]) == [False, True]


def test_errors_that_differ_in_a_few_entries_are_repeated() -> None:
    rng = np.random.default_rng(0)
    errors, signs = rng.normal(size=200), np.sign(rng.normal(size=200))
    other = errors.copy()
    other[:20] = rng.normal(size=20)
    assert find_repeated([show_errors(errors, signs), show_errors(other, signs)]) == [False, True]
    assert find_repeated([np.zeros(0), np.zeros(0), show_errors(np.zeros(9), signs[:9])]) == [False, False, False]
