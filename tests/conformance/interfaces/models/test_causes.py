"""Mistakes planted in one layer: found there, in the right quantity, with the right cause or none."""

from dataclasses import replace

import pytest

from kterm.conformance.interfaces.models.judge import judge_trace

from ....support.mistakes.models.faults import FAULTS, Fault


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
