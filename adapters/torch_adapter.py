"""PyTorch as its users run it: `torch.nn.Linear` layers, `mse_loss` and `backward()`."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import Linear, Parameter
from torch.nn.functional import mse_loss

from ..reference import Array, Parameters, Structure
from ._torch_shared import TORCH_DTYPES, TorchAdapter, to_array, to_arrays, to_tensor
from .base import Observation, Program
from .scripts.script import Script
from .scripts.torch_script import torch_script


class Torch(TorchAdapter):
    """Modules are made once a structure and given each draw's parameters; k_i is the retained gradient of z_i."""

    name = "torch"

    def build(self, structure: Structure) -> Program:
        network, functions, device = structure.network, self.functions(structure), self.device
        dtype, inside = TORCH_DTYPES[structure.dtype], network.bias == "pre"
        # Through "meta", since Linear's own initialisation would draw from the process's random numbers.
        layers = [
            Linear(n_in, n_out, bias=inside, device="meta", dtype=dtype).to_empty(device=device)
            for n_in, n_out in pairwise(network.widths)
        ]
        after = [Parameter(torch.empty(n, device=device, dtype=dtype)) for n in network.widths[1:]]
        weights: list[Tensor] = [layer.weight for layer in layers]
        biases: list[Tensor] = {"none": [], "pre": [layer.bias for layer in layers], "post": after}[network.bias]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with torch.no_grad():
                for tensor, array in zip((*weights, *biases), (*parameters.weights, *parameters.biases), strict=True):
                    tensor.copy_(to_tensor(array, device))
                    tensor.grad = None
            zs, xs = [], []
            out = to_tensor(x, device)
            for i, (layer, function) in enumerate(zip(layers, functions, strict=True)):
                z = layer(out)
                z.retain_grad()
                out = function(z)
                if network.bias == "post":
                    out = out + after[i]
                zs.append(z)
                xs.append(out)
            error = mse_loss(out, to_tensor(y, device), reduction="sum") / 2
            error.backward()
            return Observation(
                outputs=to_array(out),
                error=to_array(error),
                weight_gradients=to_arrays(weight.grad for weight in weights),
                bias_gradients=to_arrays(bias.grad for bias in biases),
                z=to_arrays(zs),
                x=to_arrays(xs),
                k=to_arrays(z.grad for z in zs),
            )

        return program

    def script(self, structure: Structure) -> Script:
        return torch_script(structure, self.spell, self.device)
