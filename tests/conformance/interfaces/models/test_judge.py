"""A trace judged: sound ones conform, in every dtype and layout, whole and in part, by workers and without."""

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from kterm.adapters.traces.trace import Trace
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.conformance.interfaces.models.judgement import Departure, Judgement, Options
from kterm.conformance.interfaces.models.run import judge

from ....support.mistakes.models.faults import FAULTS
from ....support.mistakes.models.small import Arrays, Small

SOUND = [
    Small(passes=3, steps=3),
    Small(layout="in_out", activation="gelu"),
    Small(dtype="float64", passes=2),
    Small(dtype="float64", activation="softplus"),
    Small(dtype="float16", activation="relu", axes=(3, 4)),
    Small(widths=(1, 1, 1), axes=(1,)),
    Small(axes=()),
    Small(widths=(300, 200), axes=(40, 10), seed=3),
]


def _numbers(judgement: Judgement) -> list[tuple[str, int, str, float, float | None]]:
    return [(v.layer, v.step, v.verdict.quantity, v.verdict.worst, v.verdict.power) for v in judgement.verdicts]


@pytest.mark.parametrize("model", SOUND, ids=str)
def test_a_sound_step_conforms(model: Small) -> None:
    judgement = judge_trace(model.trace())
    assert judgement.findings == []
    assert judgement.conforms
    # z, a, both dL/dz and dL/dx of each call, and two gradients of each layer.
    layers, calls = len(model.widths) - 1, (len(model.widths) - 1) * model.passes
    assert len(judgement.verdicts) == model.steps * (5 * calls + 2 * layers)
    assert str(judgement).startswith("PASS small 1: ")


@pytest.mark.parametrize("model", [Small(widths=(5, 0, 3), axes=(2, 2)), Small(axes=(0, 4))], ids=str)
def test_layers_without_units_and_batches_without_rows_conform(model: Small) -> None:
    assert judge_trace(model.trace()).conforms


def test_a_product_that_is_judged_in_part_shows_what_departs_anywhere() -> None:
    model = Small(widths=(60, 80, 50), axes=(10, 9))
    budget = Options(budget=40_000)
    judgement = judge_trace(model.trace(), budget)
    assert judgement.conforms
    partial = [one.compared for one in judgement.verdicts if one.compared is not None and one.compared.coverage < 1]
    assert partial
    assert all(0 < one.coverage < 0.5 and one.projected < 1 and 0 < one.line < one.single < 1e-3 for one in partial)

    def spoil(row: int, column: int) -> None:
        def change(arrays: Arrays) -> None:
            z = arrays["z"].copy()
            z[row, column] += 1e-2
            arrays["z"] = z
            arrays["a"] = np.tanh(z.astype(float)).astype(np.float32)

        found = judge_trace(model.trace({(0, 0, 1): change}), budget)
        assert any(one.verdict.quantity == "z" for one in found.findings)

    # One entry, wherever it is, is seen in the sum of its row.
    for row, column in ((0, 0), (17, 31), (89, 49)):
        spoil(row, column)


def test_a_bias_over_steps_is_a_finding_of_its_layer() -> None:
    # Rounded toward zero: no entry departs, and the mean of the errors does.
    def chop(arrays: Arrays) -> None:
        exact = arrays["x"].astype(float) @ arrays["W"].astype(float) + arrays["b"].astype(float)
        z = exact.astype(np.float32)
        arrays["z"] = np.where(np.abs(z) > np.abs(exact), np.nextafter(z, np.float32(0)), z)
        arrays["a"] = np.tanh(arrays["z"].astype(float)).astype(np.float32)

    model = Small(steps=30, widths=(12, 20, 16), axes=(8, 5))
    judgement = judge_trace(model.trace({(step, 0, 1): chop for step in range(30)}))
    assert judgement.findings == []
    assert not judgement.conforms
    failing = {name for name, judged in judgement.by_layer.items() for one in judged for v in one.verdicts if v.fails}
    assert failing == {"layers.1"}
    assert "their errors together are not" in str(judgement)


def test_steps_and_layers_can_be_chosen(tmp_path: Path) -> None:
    trace = Small(steps=3).trace()
    some = judge(trace, steps=[2], layers=["*.0", "layers.2"])
    assert {(one.layer, one.step) for one in some.verdicts} == {("layers.0", 2), ("layers.2", 2)}
    with pytest.raises(OptionError, match="the trace has the steps 0 to 2"):
        judge(trace, steps=[3])
    with pytest.raises(OptionError, match="matches no layer"):
        judge(trace, layers=["nothing"])


def test_workers_and_a_folder_give_the_same_numbers(tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "lost-micro-batch")
    trace = fault.trace()
    trace.save(tmp_path / "trace")
    here, there = judge(trace), judge(tmp_path / "trace", workers=2)
    assert _numbers(here) == _numbers(there)
    assert [one.cause for one in here.findings] == [one.cause for one in there.findings]
    with pytest.raises(Departure, match=r"dL/dW of layers\.1 is wrong: leaves out backward pass 3 of 4"):
        there.raise_if_failed()


def test_a_trace_without_anything_to_judge_does_not_conform() -> None:
    trace = Small().trace()
    step = structs.replace(trace.manifest.steps[0], layers=(), parameters=())
    empty = Trace(structs.replace(trace.manifest, steps=(step,)), trace.steps)
    judgement = judge(empty)
    assert not judgement.conforms
    assert str(judgement) == "FAIL small 1: nothing was judged"


def test_infinities_on_the_way_are_counted_and_not_judged() -> None:
    def overflow(arrays: Arrays) -> None:
        x = arrays["x"].copy()
        x[0, 0] = np.inf
        arrays["x"] = x
        with np.errstate(invalid="ignore"):
            arrays["z"] = x @ arrays["W"] + arrays["b"]
            arrays["a"] = np.tanh(arrays["z"])
            arrays["k"] = arrays["gz"] = arrays["ga"] * (1 - arrays["a"] ** 2)
            arrays["gx"] = arrays["k"] @ arrays["W"].T

    with np.errstate(invalid="ignore"):
        trace = Small(widths=(6, 5, 4)).trace({(0, 0, 0): overflow})
    judgement = judge_trace(trace)
    assert [one.verdict.quantity for one in judgement.findings] == []
    assert sum(one.compared.free for one in judgement.verdicts if one.compared is not None) > 0
