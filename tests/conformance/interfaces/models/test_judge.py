"""A trace judged: sound ones conform, in every dtype and layout, whole and in part, by workers and without."""

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from kterm.adapters.traces.manifest import Products
from kterm.adapters.traces.trace import Trace
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.interfaces.models.causes.hypotheses import round_to
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
        (one,) = (one for one in found.findings if one.verdict.quantity == "z")
        assert one.verdict.at == (row, column)
        assert one.verdict.observed is not None
        assert one.verdict.expected is not None
        assert one.verdict.observed - one.verdict.expected == pytest.approx(1e-2, rel=1e-3)
        assert one.cause is not None
        assert not one.cause.is_known

    # One entry, wherever it is, is seen in the sum of its row, and then found in it.
    for row, column in ((0, 0), (17, 31), (89, 49)):
        spoil(row, column)


def chopped_trace() -> Trace:
    """Thirty steps in which z of layers.1 is rounded toward zero."""

    def chop(arrays: Arrays) -> None:
        exact = arrays["x"].astype(float) @ arrays["W"].astype(float) + arrays["b"].astype(float)
        z = exact.astype(np.float32)
        arrays["z"] = np.where(np.abs(z) > np.abs(exact), np.nextafter(z, np.float32(0)), z)
        arrays["a"] = np.tanh(arrays["z"].astype(float)).astype(np.float32)

    model = Small(steps=30, widths=(12, 20, 16), axes=(8, 5))
    return model.trace({(step, 0, 1): chop for step in range(30)})


def test_a_bias_over_steps_is_a_finding_of_its_layer() -> None:
    # No entry departs, and the mean of the errors does.
    judgement = judge_trace(chopped_trace())
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


def test_two_calls_that_are_equal_are_two_calls() -> None:
    trace = Small(widths=(4, 3)).trace()
    step = trace.manifest.steps[0]
    (layer,) = step.layers
    twice = structs.replace(step, layers=(structs.replace(layer, calls=layer.calls * 2),))
    arrays = dict(trace.steps[0])
    arrays["0.gW"], arrays["0.gb"] = 2 * arrays["0.gW"], 2 * arrays["0.gb"]
    arrays["0.0.z"] = arrays["0.0.z"] + np.float32(1)
    judgement = judge_trace(Trace(structs.replace(trace.manifest, steps=(twice,)), (arrays,)))
    found = {(one.verdict.quantity, one.call) for one in judgement.findings}
    assert found >= {("z", 0), ("z", 1)}
    assert not {quantity for quantity, _ in found} & {"dL/dW", "dL/db", "dL/dx"}


def test_a_layer_that_was_not_called_shares_its_weight() -> None:
    trace = Small(widths=(4, 3)).trace()
    step = trace.manifest.steps[0]
    silent = structs.replace(step.layers[0], name="silent", calls=())
    both = structs.replace(step, layers=(silent, *step.layers))
    arrays = dict(trace.steps[0])
    arrays["0.gW"] = arrays["0.gW"] + np.float32(1)
    judgement = judge_trace(Trace(structs.replace(trace.manifest, steps=(both,)), (arrays,)))
    (found,) = judgement.findings
    assert (found.layer, found.verdict.quantity) == ("layers.0", "dL/dW")
    alone = structs.replace(step, layers=(silent,))
    judgement = judge_trace(Trace(structs.replace(trace.manifest, steps=(alone,)), (arrays,)))
    assert {one.why for _, one in judgement.unjudged} == {"no call was captured of what has it"}


def _in_framework(trace: Trace, name: str, version: str) -> Trace:
    return Trace(structs.replace(trace.manifest, framework=name, framework_version=version), trace.steps)


def test_a_known_divergence_of_the_framework_is_expected_there_and_nowhere_else() -> None:
    # PyTorch's softplus is z from 20 on, and its slope 1.
    def straighten(arrays: Arrays) -> None:
        linear = arrays["z"] > 20
        arrays["a"] = np.where(linear, arrays["z"], arrays["a"])
        arrays["k"] = arrays["gz"] = np.where(linear, arrays["ga"], arrays["gz"])
        arrays["gx"] = arrays["k"] @ arrays["W"].T

    model = Small(widths=(40, 30, 20), activation="softplus", dtype="float64", scale=12.0)
    trace = model.trace({(0, 0, i): straighten for i in range(2)})
    torch = judge(_in_framework(trace, "torch", "2.13.0"))
    assert torch.conforms
    assert {v.verdict.quantity for v in torch.verdicts if v.verdict.expectation is not None} >= {"a"}
    assert "known divergence" in str(torch)
    other = judge(_in_framework(trace, "jax", "0.10.2"))
    assert {one.verdict.quantity for one in other.findings} >= {"a"}


def test_products_of_rounded_factors_are_due_where_they_are_declared() -> None:
    model = Small(widths=(24, 32, 16), axes=(4, 8))

    def round_all(arrays: Arrays) -> None:
        x, w, b = (round_to(arrays[name], "bf16") for name in ("x", "W", "b"))
        arrays["z"] = round_to(x @ w + b, "bf16")
        arrays["a"] = np.tanh(arrays["z"].astype(float)).astype(np.float32)
        arrays["k"] = arrays["gz"] = round_to(arrays["ga"] * (1 - arrays["a"] ** 2), "bf16")
        arrays["gx"] = round_to(arrays["k"] @ w.T, "bf16")

    def round_sums(step: int, layer: int, sums: Arrays, calls: list[Arrays]) -> None:
        (call,) = calls
        sums["W"] = round_to(round_to(call["x"], "bf16").T @ call["k"], "bf16")
        sums["b"] = round_to(call["k"].sum(0), "bf16")

    trace = model.trace({(0, 0, i): round_all for i in range(2)}, round_sums)
    assert {one.verdict.quantity for one in judge(trace).findings} >= {"z", "dL/dx", "dL/dW", "dL/db"}
    step = trace.manifest.steps[0]
    layers = []
    for layer in step.layers:
        calls = [structs.replace(call, products=Products(dtype="bf16"), activation=None) for call in layer.calls]
        layers.append(structs.replace(layer, calls=tuple(calls)))
    declared = structs.replace(step, layers=tuple(layers))
    judgement = judge(Trace(structs.replace(trace.manifest, steps=(declared,)), trace.steps))
    assert judgement.conforms
    assert {one.verdict.quantity for one in judgement.verdicts} == {"z", "dL/dx", "dL/dW", "dL/db"}
