"""Mistakes of training loops and of hand-written layers, planted in steps that are captured: the judge finds each."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional

import kterm


class Kernel(torch.autograd.Function):
    """A dense layer by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, narrow: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.narrow = narrow
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        (k,) = given
        if ctx.narrow:
            return (k.bfloat16() @ weight.bfloat16()).float(), k.T @ x, None
        return k @ weight, k.T @ x, None


class ByHand(nn.Linear):
    """A subclass with its own forward."""

    narrow = False

    def forward(self, input: Tensor) -> Tensor:
        made = Kernel.apply(input, self.weight, self.narrow)
        assert isinstance(made, Tensor)
        return made


class Net(nn.Module):
    """Three layers; that in the middle is by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle, self.last = nn.Linear(9, 8), ByHand(8, 8, bias=False), nn.Linear(8, 3)
        self.edit: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        z = self.middle(h)
        if self.edit is not None:
            z.register_hook(self.edit)
        return self.last(torch.tanh(z))


def make_input(seed: int = 0) -> Tensor:
    """(16, 9) numbers."""
    return torch.randn(16, 9, generator=torch.Generator().manual_seed(seed))


def run(model: Net, seed: int = 0) -> None:
    """A pass."""
    model(make_input(seed)).square().sum().backward()


def lose_a_pass(model: Net) -> None:
    """The gradients of the first micro-batch are gone."""
    run(model)
    model.zero_grad()
    run(model, 1)


def change_the_input(model: Net) -> None:
    """A buffer is filled with the next batch before the backward pass."""
    x = make_input()
    loss = model(x).square().sum()
    x.data.copy_(make_input(1))
    loss.backward()


def edit_a_weights_gradient(model: Net) -> None:
    """A hook of the user."""
    model.last.weight.register_hook(lambda gradient: gradient * 1.01)
    run(model)


def edit_a_layers_gradient(model: Net) -> None:
    """A hook between a layer and what follows it."""
    model.edit = lambda gradient: gradient * 1.01
    run(model)


def clip(model: Net) -> None:
    """Clipped before the step ends."""
    run(model)
    nn.utils.clip_grad_norm_([model.last.weight], 1e-3)


def update_too_early(model: Net) -> None:
    """The optimizer steps before the backward pass."""
    loss = model(make_input()).square().sum()
    model.middle.weight.data.mul_(1.1)
    loss.backward()


def cast_too_much(model: Net) -> None:
    """A kernel whose backward pass is in bfloat16."""
    model.middle.narrow = True
    run(model)


FAULTS: dict[Callable[[Net], None], set[tuple[str, str]]] = {
    lose_a_pass: {("first", "dL/dW"), ("middle", "dL/dW"), ("last", "dL/dW"), ("first", "dL/db"), ("last", "dL/db")},
    change_the_input: {("first", "dL/dW")},
    edit_a_weights_gradient: {("last", "dL/dW")},
    edit_a_layers_gradient: {("middle", "dL/dx"), ("middle", "dL/dW")},
    clip: {("last", "dL/dW")},
    update_too_early: {("middle", "dL/dx")},
    cast_too_much: {("middle", "dL/dx")},
}
"""The layers and quantities at fault."""


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_fault_is_found_where_it_is(plant: Callable[[Net], None]) -> None:
    model = Net()
    with kterm.capture(model, dense=["middle"]) as trace:
        plant(model)
    found = {(one.layer, one.verdict.quantity.partition(" (")[0]) for one in kterm.judge(trace).findings}
    assert found == FAULTS[plant]


def test_a_sound_layer_by_hand_passes() -> None:
    model = Net()
    with kterm.capture(model, dense=["middle"]) as trace:
        for seed in range(3):
            run(model, seed)
            trace.end_step()
            model.zero_grad()
    judgement = kterm.judge(trace)
    assert {one.layer for one in judgement.verdicts} == {"first", "middle", "last"}
    assert judgement.findings == []
    assert not judgement.unjudged


def test_a_layer_by_hand_that_is_not_declared_is_noted() -> None:
    model = Net()
    with kterm.capture(model) as trace:
        run(model)
    (step,) = trace.manifest.steps
    assert step.notes == ("middle.weight: has a gradient, and no call of a dense layer with it was captured",)


def test_a_layer_by_hand_under_autocast_is_not_guessed_at() -> None:
    model = Net()
    with kterm.capture(model, dense=["middle"]) as trace, torch.autocast("cpu", torch.bfloat16):
        z = model.middle(torch.ones(3, 8))
        (z if z.dtype == torch.float32 else z.float()).sum().backward()
        run(model)
    (step,) = trace.manifest.steps
    assert {layer.name: len(layer.calls) for layer in step.layers} == {"first": 1, "middle": 2, "last": 1}

    class Wide(ByHand):
        """Its result is in float32, whatever its products are in."""

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).float()

    model.middle = Wide(8, 8, bias=False)
    with kterm.capture(model, dense=["middle"]) as trace, torch.autocast("cpu", torch.bfloat16):
        run(model)
    (step,) = trace.manifest.steps
    assert {layer.name for layer in step.layers} == {"first", "last"}
    assert "middle: a call under autocast that gave torch.float32, so it is not known what it rounds" in step.notes[0]


class Scaled(nn.Embedding):
    """A subclass with its own forward, as Gemma and BART have it."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2.5


class Tied(nn.Module):
    """A table that is the weight of the output layer by a function, and not by a module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = Scaled(7, 4, padding_idx=-1)

    def forward(self, indices: Tensor) -> Tensor:
        return functional.linear(self.table(indices), self.table.weight)


def test_a_table_in_a_function_is_a_lookup_from_the_second_step_on() -> None:
    model = Tied()
    with kterm.capture(model) as trace:
        for _ in range(2):
            model(torch.arange(7)).square().sum().backward()
            trace.end_step()
            model.zero_grad()
    assert not model.table._forward_hooks
    first, second = trace.manifest.steps
    assert [layer.name for layer in first.layers] == ["table.weight"]
    assert first.parameters[0].not_captured == "something that was not captured uses it too (EmbeddingBackward0)"
    assert {layer.name: layer.kind for layer in second.layers} == {"table": "lookup", "table.weight": "dense"}
    assert not second.parameters[0].not_captured
    judgement = kterm.judge(trace, steps=[1])
    assert judgement.findings == []
    assert "dL/dW" in {one.verdict.quantity for one in judgement.verdicts}


class Attention(nn.Module):
    """Softmax attention: the rows of dL/dz of `key` add up to 0, apart from rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(-1, -2)
        return scores.softmax(-1) @ self.value(x)


def test_a_bias_gradient_of_zeros_is_no_sum_of_rows_that_cancel() -> None:
    model = Attention()
    model.value.bias.register_hook(torch.zeros_like)
    with kterm.capture(model) as trace:
        model(torch.randn(3, 7, 8)).square().sum().backward()
    (found,) = kterm.judge(trace).findings
    assert (found.layer, found.verdict.quantity) == ("value", "dL/db")
    assert found.cause is not None
    assert (found.cause.text, found.cause.is_known) == ("is 0", True)


def test_entries_that_are_dropped_alone_have_no_factor() -> None:
    model = Attention()
    model.value.weight.register_hook(lambda gradient: gradient * (torch.arange(8) != 2)[:, None])
    with kterm.capture(model) as trace:
        model(torch.randn(3, 7, 8)).square().sum().backward()
    (found,) = kterm.judge(trace).findings
    assert found.cause is not None
    assert found.cause.text == "sets entries to 0 (12% of those looked at)"
