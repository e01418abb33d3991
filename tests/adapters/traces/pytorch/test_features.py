"""Layers with several axes of features, and layers that say which dtype they compute in."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import kterm
from kterm.adapters.traces.manifest import Products
from kterm.adapters.traces.pytorch.layers import Place, describe_products, fit_layout
from kterm.adapters.traces.pytorch.recorder import Recorder
from kterm.adapters.traces.trace import TraceBuilder

PLACE = Place("heads", ("heads.weight", "heads.bias"), "Heads", "in_out", inputs=2, outputs=2)


def run_step(place: Place, scale: float = 1.0) -> Any:
    """A step of z = x W + b with features (2, 3) and (4, 5), whose weight's gradient is scaled."""
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(*shape) for shape in ((6, 7, 2, 3), (2, 3, 4, 5), (4, 5)))
    weight, bias = weight.requires_grad_(), bias.requires_grad_()
    x = x.requires_grad_()
    builder = TraceBuilder()
    recorder = Recorder(builder, [weight, bias], streams=False)
    recorder.is_open = True
    alias = x.view_as(x)
    z = torch.einsum("abcd,cdef->abef", alias, weight) + bias
    recorder.add_call(place, x, alias, z, weight, bias)
    a = torch.tanh(z)
    seen = recorder.find_call(z)
    assert seen is not None
    recorder.run_pass(lambda: recorder.start_pass(a.square().sum(), is_limited=False))
    recorder.run_pass(lambda: a.square().sum().backward())
    assert weight.grad is not None
    weight.grad *= scale
    recorder.end_step(())
    return builder.trace()


def test_features_are_flattened_and_every_quantity_is_judged() -> None:
    trace = run_step(PLACE)
    (layer,), arrays = trace.manifest.steps[0].layers, trace.steps[0]
    (call,) = layer.calls
    shapes = {name: arrays[getattr(call, name)].shape for name in ("input", "output", "weight", "bias")}
    assert shapes == {"input": (42, 6), "output": (42, 20), "weight": (6, 20), "bias": (20,)}
    assert call.axes == (6, 7)
    assert arrays[call.input_gradient].shape == (42, 6)
    judgement = kterm.judge(trace)
    judgement.raise_if_failed()
    assert {one.verdict.quantity for one in judgement.verdicts} == {"z", "dL/dx", "dL/dW", "dL/db"}
    (finding,) = kterm.judge(run_step(PLACE, 1.001)).findings
    assert finding.verdict.quantity == "dL/dW"


def test_a_layer_whose_axes_do_not_fit_is_not_captured() -> None:
    x, z, weight = torch.ones(6, 7, 2, 3), torch.ones(6, 7, 4, 5), torch.ones(2, 3, 4, 5)
    assert fit_layout(PLACE, weight, x, z) == PLACE
    assert fit_layout(PLACE, torch.ones(3, 2, 4, 5), x, z) is None
    assert fit_layout(PLACE, weight, x, torch.ones(7, 6, 4, 5)) is None


def test_a_layer_may_say_which_dtype_it_computes_in() -> None:
    narrow = Place("up", ("up.weight", None), "Dense", computes_in="bf16")
    x, weight = torch.ones(2, 3).bfloat16(), torch.ones(4, 3)
    assert describe_products(narrow, x, weight, torch.ones(2, 4).bfloat16()) == Products(dtype="bf16")
    assert describe_products(narrow, x, weight.bfloat16(), torch.ones(2, 4).bfloat16()) is None
    assert describe_products(replace(narrow, computes_in=None), x.float(), weight, torch.ones(2, 4)) is None
