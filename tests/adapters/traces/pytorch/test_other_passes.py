"""Capture of PyTorch: backward passes of other models in the same block."""

from typing import Any

import pytest

import kterm

torch = pytest.importorskip("torch")


def _model() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 5))


def test_backward_passes_of_another_model_are_not_counted() -> None:
    model, other = _model(), _model()
    with kterm.capture(model) as capture:
        for number in range(3):
            other(torch.randn(9, 6)).square().sum().backward()
            model(torch.randn(9, 6)).square().sum().backward()
            if number == 0:
                model[2].weight.grad = None
    (finding,) = kterm.judge(capture).findings
    assert finding.cause is not None
    assert finding.cause.text == "leaves out backward pass 1 of 3"
