"""PyTorch as its users run it: `torch.nn.Linear` layers, `mse_loss` and `backward()`."""

import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Parameter
from torch.nn.utils import skip_init

from ..reference import Bias, Structure
from .base import Function
from .frameworks.shared.torch_shared import TORCH_DTYPES, TorchAdapter
from .scripts.script import Script
from .scripts.torch_script import torch_script

Tensors = Sequence[Tensor]


def make_pass(activations: Sequence[Function], bias: Bias) -> Function:
    """Make the function that runs one structure. Programs call it, and scripts show its source."""

    def backpropagate(layers: Sequence[Linear], outside: Sequence[Tensor], x: Tensor, y: Tensor) -> tuple:
        zs, xs, out = [], [], x
        for i, activation in enumerate(activations):
            z = layers[i](out)
            z.retain_grad()
            out = activation(z)
            if bias == "post":
                out = out + outside[i]
            zs.append(z)
            xs.append(out)
        E = F.mse_loss(out, y, reduction="sum") / 2
        E.backward()
        return E, zs, xs

    return backpropagate


def _into_fortran_order(layer: Linear) -> Function:
    """The layer with its results in Fortran order, which activations and the gradients of later layers keep."""
    return lambda out: layer(out).mT.contiguous().mT


class Torch(TorchAdapter):
    """Layers are made once for a structure. k_i is the retained gradient of z_i, which is in Fortran order if x is."""

    name = "torch"
    zero_width, x_order = True, "K"

    def make_backpropagate(self, structure: Structure) -> Function:
        network, dtype = structure.network, TORCH_DTYPES[structure.dtype]
        run_pass, inside = make_pass(self.functions(structure), network.bias), network.bias == "pre"
        # The initialisation of Linear would draw from the random numbers of this process. It warns of empty layers.
        with warnings.catch_warnings(action="ignore"):
            layer: Any = partial(skip_init, Linear, bias=inside, device=self.device, dtype=dtype)
            layers = [layer(n_in, n_out) for n_in, n_out in pairwise(network.widths)]
        outside = [Parameter(torch.empty(n, device=self.device, dtype=dtype)) for n in network.widths[1:]]
        weights: list[Tensor] = [layer.weight for layer in layers]
        biases: list[Tensor] = {"none": [], "pre": [layer.bias for layer in layers], "post": outside}[network.bias]

        def backpropagate(new_weights: Tensors, new_biases: Tensors, _: Tensors, x: Tensor, y: Tensor) -> tuple:
            with torch.no_grad():
                for tensor, given in zip((*weights, *biases), (*new_weights, *new_biases), strict=True):
                    tensor.copy_(given)
                    tensor.grad = None
            called = layers if x.is_contiguous() else [*map(_into_fortran_order, layers)]
            E, zs, xs = run_pass(called, outside, x, y)
            return [[tensor.grad for tensor in some] for some in (weights, biases, zs)], (E, zs, xs)

        return backpropagate

    def script(self, structure: Structure) -> Script:
        return torch_script(structure, self.spell, self.device, make_pass((), structure.network.bias))
