"""The functional side of PyTorch: `torch.func.grad` of a pure function of the parameters."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...reference import Bias, Structure
from ..base import Function
from ..scripts.script import Script
from ..scripts.torch_script import torch_func_script
from .shared.torch_shared import TorchAdapter

Tensors = Sequence[Tensor]


def make_squared_error(activations: Sequence[Function], bias: Bias) -> Function:
    """Make the function to differentiate for one structure. Programs call it, and scripts show its source."""

    def squared_error(weights: Tensors, biases: Tensors, shifts: Tensors, x: Tensor, y: Tensor) -> tuple:
        # The shifts are zeros. The gradient with respect to them is k_i = dE/dz_i.
        zs, xs, out = [], [], x
        for i, activation in enumerate(activations):
            if bias == "pre":
                z = F.linear(out, weights[i], biases[i]) + shifts[i]
            else:
                z = F.linear(out, weights[i]) + shifts[i]
            out = activation(z)
            if bias == "post":
                out = out + biases[i]
            zs.append(z)
            xs.append(out)
        E = F.mse_loss(out, y, reduction="sum") / 2
        return E, (E, zs, xs)

    return squared_error


def take_gradients(squared_error: Function) -> Function:
    return torch.func.grad(squared_error, argnums=(0, 1, 2), has_aux=True)


class TorchFunc(TorchAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name = "torch-func"
    zero_width = True

    def make_backpropagate(self, structure: Structure) -> Function:
        return take_gradients(make_squared_error(self.functions(structure), structure.network.bias))

    def script(self, structure: Structure) -> Script:
        squared_error = make_squared_error((), structure.network.bias)
        return torch_func_script(structure, self.spell, self.device, squared_error, take_gradients)
