"""Steps of PyTorch models as traces: no number of the step changes, and what is captured obeys the rule."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

pytest.importorskip("torch")

import torch
from torch import nn

import kterm
from kterm.reference import Array

from .models import Attended, Gated, Language, Packed, capture_step, count_checked, make_tokens, run_step

DENSE = {Gated: 7, Packed: 4, Attended: 4}
"""The dense layers of each block."""


@pytest.mark.parametrize("block", DENSE, ids=lambda block: block.__name__)
@pytest.mark.parametrize("kept", ["all", "plain", "reentrant"])
@pytest.mark.parametrize(
    "options", [{}, {"passes": 3}, {"autocast": torch.bfloat16}, {"passes": 2, "autocast": torch.bfloat16}], ids=str
)
def test_every_layer_of_a_step_is_captured(block: type[nn.Module], kept: str, options: dict[str, Any]) -> None:
    trace = capture_step(partial(Language, block, kept=kept), **options)
    (step,) = trace.manifest.steps
    passes = options.get("passes", 1)
    layers, calls = 2 * DENSE[block] + 1, (2 * DENSE[block] + 1) * passes
    assert [len(layer.calls) for layer in step.layers] == [passes] * layers
    assert step.layers[0].name.startswith("blocks.0")
    assert step.layers[-1].name == "head"
    assert step.notes == ()
    assert all(not parameter.not_captured for parameter in step.parameters)
    assert all(not call.not_captured for layer in step.layers for call in layer.calls)
    counts = count_checked(trace)
    assert (counts["z"], counts["dL/dx"], counts["dL/dW"]) == (calls, calls, layers)
    behind = [call.activation for layer in step.layers for call in layer.calls if call.activation]
    assert len(behind) == 2 * passes
    assert all(one.is_alone and one.output and one.output_gradient and one.input_gradient for one in behind)
    autocast = options.get("autocast")
    products = {None if call.products is None else call.products.dtype for one in step.layers for call in one.calls}
    assert products == {None if autocast is None else "bf16"}


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("kept", ["all", "reentrant"])
def test_a_shared_table_is_a_lookup_too(kept: str, passes: int) -> None:
    trace = capture_step(partial(Language, Gated, tied=True, kept=kept), passes=passes)
    (step,) = trace.manifest.steps
    kinds = {layer.name: (layer.kind, layer.weight) for layer in step.layers}
    assert kinds["embed"] == ("lookup", "embed.weight")
    assert kinds["head"] == ("dense", "embed.weight")
    (lookup,) = (layer for layer in step.layers if layer.kind == "lookup")
    for call in lookup.calls:
        assert call.input is not None
        indices = trace.steps[0][call.input]
        assert indices.shape == call.axes == (14,)  # one of 15 is the padding, which gets no gradient
        assert indices.all()
    assert count_checked(trace)["dL/dW"] == 15


def test_a_layer_that_is_called_twice_has_two_calls() -> None:
    trace = capture_step(partial(Language, Packed, shared=True))
    (step,) = trace.manifest.steps
    assert {layer.name: len(layer.calls) for layer in step.layers}["blocks.0.up"] == 2
    assert count_checked(trace) == {"z": 9, "dL/dx": 9, "dL/dW": 5, "dL/db": 4}


def test_a_float64_step_is_captured() -> None:
    trace = capture_step(lambda: Language(Gated).double())
    assert {array.dtype.name for array in trace.steps[0].values()} == {"float64"}
    assert count_checked(trace)["dL/dW"] == 15


def test_the_input_of_q_k_and_v_is_kept_once_and_their_gradients_apart() -> None:
    torch.manual_seed(0)
    block = Gated()
    x = torch.randn(2, 3, 12, requires_grad=True)
    with kterm.capture(block) as trace:
        block(x).square().sum().backward()
    calls = {layer.name: layer.calls[0] for layer in trace.manifest.steps[0].layers}
    assert calls["q"].input == calls["k"].input == calls["v"].input
    assert len({calls[name].input_gradient for name in "qkv"}) == 3


@pytest.mark.parametrize("rows", [(), (4,), (2, 3, 4)])
def test_values_are_those_of_the_tensors(rows: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    x = torch.randn(*rows, 3, requires_grad=True)
    inside = x * 1
    with kterm.capture(layer) as trace:
        z = layer(inside)
        z.retain_grad()
        (z.square().sum() + other(inside).sum()).backward()
    (call,), arrays = trace.manifest.steps[0].layers[0].calls, trace.steps[0]
    assert call.axes == rows
    assert z.grad is not None
    values = {"input": x, "output": z, "output_gradient": z.grad, "input_gradient": z.grad @ layer.weight}
    for field, tensor in values.items():
        seen = torch.from_numpy(arrays[getattr(call, field)])
        torch.testing.assert_close(seen, tensor.detach().reshape(-1, tensor.shape[-1]), rtol=1e-6, atol=0)
    assert (arrays[call.weight] == layer.weight.detach().numpy()).all()


def test_steps_follow_each_other() -> None:
    torch.manual_seed(0)
    model = Language(Gated)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with kterm.capture(model) as trace:
        for _ in range(3):
            run_step(model, passes=2)
            trace.end_step()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        model(make_tokens())  # no backward pass: it is no step
    assert len(trace.steps) == 3
    assert count_checked(trace.trace())["dL/dW"] == 45
    before, after = (arrays["head.weight"] for arrays in trace.steps[:2])
    assert (before != after).any()
    assert all(one.gradient_before is None for step in trace.manifest.steps for one in step.parameters)


def test_a_gradient_that_was_there_before_is_kept() -> None:
    torch.manual_seed(0)
    model = Language(Gated)
    run_step(model)
    with kterm.capture(model) as trace:
        run_step(model)
    assert all(one.gradient_before for one in trace.manifest.steps[0].parameters)
    assert count_checked(trace.trace())["dL/dW"] == 15


def test_a_folder_holds_the_same_trace(tmp_path: Path) -> None:
    traces, most = [], []
    for to in (None, tmp_path / "trace"):
        torch.manual_seed(0)
        model = Language(Gated, tied=True, kept="plain")
        with kterm.capture(model, to) as trace:
            run_step(model, passes=2)
            most.append(trace.memory)
            trace.end_step()
        traces.append(trace.trace())
    whole, streamed = traces
    pairs = zip(list_arrays(whole), list_arrays(streamed), strict=True)
    assert all(one[0] == other[0] and one[1].tobytes() == other[1].tobytes() for one, other in pairs)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert most[0] > whole.bytes / 2 > 3 * weights > most[1] > 0
    assert streamed.bytes == sum(array.nbytes for array in streamed.steps[0].values())


def test_with_a_folder_memory_holds_no_activations_between_the_passes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    x = torch.randn(1000, 4)
    for to, held in ((None, 4 * 1000 * (4 + 3)), (tmp_path / "trace", 0)):
        with kterm.capture(layer, to) as trace:
            loss = layer(x).square().sum()
            assert trace.memory == held + 4 * (3 * 4 + 3)
            loss.backward()
        assert count_checked(trace.trace())["dL/dW"] == 1


def list_arrays(trace: kterm.Trace) -> list[tuple[str, Array]]:
    """Each array of the calls and the parameters, by what it is. Its name depends on what was put first."""
    (step,), (arrays,) = trace.manifest.steps, trace.steps
    named = [(f"{layer.name} {i}", asdict(call)) for layer in step.layers for i, call in enumerate(layer.calls)]
    named += [(parameter.name, asdict(parameter)) for parameter in step.parameters]
    fields = ("input", "output", "output_gradient", "input_gradient", "weight", "bias", "gradient")
    return [(f"{of}: {field}", arrays[row[field]]) for of, row in named for field in fields if row.get(field)]


def test_the_judge_takes_a_capture() -> None:
    torch.manual_seed(0)
    model = Language(Attended)
    with kterm.capture(model) as trace:
        run_step(model)
    judgement = kterm.judge(trace)
    assert judgement.findings == []
    assert not judgement.unjudged
    assert {one.layer for one in judgement.verdicts} >= {"blocks.0.attention.in_proj", "blocks.0.attention.out_proj"}
