"""Capture of PyTorch: hooks that edit a gradient on its way to a layer, and other models in the same block."""

from collections.abc import Callable
from typing import Any

import pytest

import kterm

torch = pytest.importorskip("torch")


def _model() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 5))


@pytest.mark.parametrize("change", [lambda g: 3 * g, lambda g: -g])
def test_a_hook_between_activation_and_layer_is_found_at_dl_dz(change: Callable[[Any], Any]) -> None:
    model = _model()

    def add(module: object, args: object, z: Any) -> None:
        z.register_hook(change)

    model[2].register_forward_hook(add)
    with kterm.capture(model) as capture:
        model(torch.randn(9, 6)).square().sum().backward()
    judgement = kterm.judge(capture)
    assert [(one.layer, one.verdict.quantity) for one in judgement.findings] == [("2", "dL/dz behind")]
    cause = judgement.findings[0].cause
    assert cause is not None and cause.is_known and "between the activation and the layer" in cause.text


def test_backward_passes_of_another_model_are_not_counted() -> None:
    model, other = _model(), _model()
    with kterm.capture(model) as capture:
        for number in range(3):
            other(torch.randn(9, 6)).square().sum().backward()
            model(torch.randn(9, 6)).square().sum().backward()
            if number == 0:
                model[2].weight.grad = None
    (finding,) = kterm.judge(capture).findings
    assert finding.cause is not None and finding.cause.text == "leaves out backward pass 1 of 3"
