"""PyTorch as its users run it: `torch.nn.Linear` layers, `mse_loss` and `backward()`."""

import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Parameter

from ..reference import Array, Bias, Parameters, Structure
from .base import Function, Observation, Program
from .frameworks._torch_shared import TORCH_DTYPES, TorchAdapter, to_array, to_arrays, to_tensor
from .scripts.script import Script
from .scripts.torch_script import torch_script


def make_backpropagate(activations: Sequence[Function], bias: Bias) -> Function:
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
    """The layer with its results in Fortran order. Activations after it keep that order, and so does the gradient that
    the next layer passes back.
    """
    return lambda out: layer(out).mT.contiguous().mT


class Torch(TorchAdapter):
    """Layers are made once for a structure and loaded for each draw. k_i is the retained gradient of z_i.

    Where x is in Fortran order, all z_i are, too.
    """

    name = "torch"
    zero_width = True

    def build(self, structure: Structure) -> Program:
        network, device = structure.network, self.device
        backpropagate = make_backpropagate(self.functions(structure), network.bias)
        dtype, inside = TORCH_DTYPES[structure.dtype], network.bias == "pre"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns that a layer without units is not initialised
            # On "meta" first: the initialisation of Linear would draw from the random numbers of this process.
            layers = [
                Linear(n_in, n_out, bias=inside, device="meta", dtype=dtype).to_empty(device=device)
                for n_in, n_out in pairwise(network.widths)
            ]
        outside = [Parameter(torch.empty(n, device=device, dtype=dtype)) for n in network.widths[1:]]
        weights: list[Tensor] = [layer.weight for layer in layers]
        biases: list[Tensor] = {"none": [], "pre": [layer.bias for layer in layers], "post": outside}[network.bias]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with torch.no_grad():
                for tensor, array in zip((*weights, *biases), (*parameters.weights, *parameters.biases), strict=True):
                    tensor.copy_(to_tensor(array, device))
                    tensor.grad = None
            inputs = to_tensor(x, device, keeps_order=True)
            called = layers if inputs.is_contiguous() else [*map(_into_fortran_order, layers)]
            error, zs, xs = backpropagate(called, outside, inputs, to_tensor(y, device))
            return Observation(
                outputs=to_array(xs[-1]),
                error=to_array(error),
                weight_gradients=to_arrays(weight.grad for weight in weights),
                bias_gradients=to_arrays(bias.grad for bias in biases),
                z=to_arrays(zs),
                x=to_arrays(xs),
                k=to_arrays(z.grad for z in zs),
            )

        return program

    def script(self, structure: Structure) -> Script:
        return torch_script(structure, self.spell, self.device, make_backpropagate((), structure.network.bias))
