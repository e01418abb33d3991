"""Matrices that no captured call has are named."""

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import kterm


class Mixture(nn.Module):
    """Experts whose matrices are one parameter, beside a layer, a convolution, and a position for each row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.conv = nn.Linear(6, 5), nn.Conv1d(4, 4, 3, padding=1)
        self.experts = nn.ParameterList(nn.Parameter(torch.randn(3, 5, 5)) for _ in range(2))
        self.positions = nn.Parameter(torch.randn(1, 4, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.up(x)[None]) + self.positions
        for one in self.experts:
            x = torch.einsum("bni,eio->bno", x, one)
        return x


def test_matrices_in_one_parameter_are_said() -> None:
    model = Mixture()
    with kterm.capture(model) as trace:
        model(torch.linspace(-1, 1, 24).reshape(4, 6)).square().sum().backward()
    (step,) = trace.manifest.steps
    assert [layer.name for layer in step.layers] == ["up"]
    note = "has a gradient, and no call of a dense layer with it was captured"
    assert step.notes == (f"experts.*: {note} (2 times)",)
    judgement = kterm.judge(trace)
    assert judgement.notes == step.notes
    assert str(judgement).endswith("; 1 note on what was not captured")
