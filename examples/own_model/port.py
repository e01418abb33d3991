"""A port with a dense kernel of its own, whose backward pass transposes a square weight: no shape is wrong."""

import torch
from torch import nn

import kterm


class FastDense(torch.autograd.Function):
    """The ported kernel."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, *gradients):
        (k,) = gradients
        x, weight = ctx.saved_tensors
        rows = k.reshape(-1, k.shape[-1])
        return k @ weight.T, rows.T @ x.reshape(-1, x.shape[-1]), rows.sum(0)  # k @ weight is right


class FastLinear(nn.Linear):
    """A layer that calls it."""

    def forward(self, input):
        return FastDense.apply(input, self.weight, self.bias)


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(48, 96), nn.Tanh(), FastLinear(96, 96), nn.GELU(), nn.Linear(96, 10))
x, y = torch.randn(8, 16, 48), torch.randint(0, 10, (8, 16))
with kterm.capture(model, "port-trace", dense=["2"]):
    nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
