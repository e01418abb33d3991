"""Mistakes planted in one layer: found there, in the right quantity, with the right cause or none."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.conformance.interfaces.models.judge import judge_trace

from ....support.mistakes.models.faults import FAULTS, Fault
from ....support.mistakes.models.small import Arrays, Small


@pytest.mark.parametrize("layout", ["out_in", "in_out"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_mistake_is_found_in_its_layer_with_its_cause(fault: Fault, layout: str) -> None:
    # A weight in the other layout that is reshaped is reshaped the other way.
    found = judge_trace(replace(fault, model=replace(fault.model, layout=layout)).trace()).findings
    assert {(one.layer, one.step) for one in found} == {("layers.1", fault.step)}
    first = found[0]
    assert first.verdict.quantity.startswith(fault.quantity)
    assert {one.verdict.quantity.split()[0] for one in found} == {fault.quantity}
    assert first.cause is not None
    if fault.cause:
        assert fault.cause in first.cause.text
    else:
        assert not first.cause.is_known
        assert "unknown" in first.cause.text


def test_what_no_hypothesis_explains_is_described() -> None:
    noise = next(fault for fault in FAULTS if fault.name == "noise")
    (found,) = judge_trace(noise.trace()).findings
    assert found.cause is not None
    assert "judged entries depart, by" in found.cause.text


def test_half_of_an_error_is_no_mean_over_two_examples() -> None:
    def halve(arrays: Arrays) -> None:
        arrays["gx"] = arrays["gx"] / 2

    (found,) = judge_trace(Small(axes=(2, 5)).trace({(0, 0, 1): halve})).findings
    assert found.cause is not None
    assert found.cause.text == "is 0.5 times what it should be"


def test_zeros_are_no_evidence_for_rows_that_have_no_part() -> None:
    def drop(arrays: Arrays) -> None:
        # As in a language model, whose last position predicts nothing.
        for name in ("ga", "gz", "k", "gx"):
            arrays[name] = np.concatenate([arrays[name][:-1], 0 * arrays[name][-1:]])

    def lose(step: int, layer: int, sums: Arrays, calls: list[Arrays]) -> None:
        if layer == 1:
            sums["b"] = 0 * sums["b"]

    (found,) = judge_trace(Small().trace({(0, 0, 1): drop}, lose)).findings
    assert found.cause is not None
    assert found.cause.text == "is 0"
    assert found.cause.is_known


def test_rounding_about_zero_is_no_clipping() -> None:
    """As a bias gradient is that is summed over outputs whose dL/dz add up to 0."""

    def lose(step: int, layer: int, sums: Arrays, calls: list[Arrays]) -> None:
        if layer == 1:
            sums["b"] = (np.random.default_rng(0).integers(-3, 4, sums["b"].shape) * 2.0**-32).astype(sums["b"].dtype)

    (found,) = judge_trace(Small().trace({}, lose)).findings
    assert found.cause is not None
    assert not found.cause.is_known, found.cause.text
