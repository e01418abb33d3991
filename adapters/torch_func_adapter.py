"""PyTorch's functional side: `torch.func.grad` of a pure function of the parameters."""

import torch
from torch import Tensor
from torch.nn.functional import linear, mse_loss

from ..reference import Array, Parameters, Structure
from ._torch_shared import TORCH_DTYPES, TorchAdapter, to_array, to_arrays, to_tensor
from .base import Observation, Program
from .scripts.script import Script
from .scripts.torch_script import torch_func_script

Tensors = tuple[Tensor, ...]


class TorchFunc(TorchAdapter):
    """k_i is the gradient with respect to zeros added to z_i."""

    name = "torch-func"

    def build(self, structure: Structure) -> Program:
        network, functions, device = structure.network, self.functions(structure), self.device
        zeros = tuple(
            torch.zeros(structure.batch, n, device=device, dtype=TORCH_DTYPES[structure.dtype])
            for n in network.widths[1:]
        )

        def squared_error(weights: Tensors, biases: Tensors, shifts: Tensors, x: Tensor, y: Tensor) -> tuple:
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                z = linear(out, weights[i], biases[i] if network.bias == "pre" else None) + shifts[i]
                out = function(z)
                if network.bias == "post":
                    out = out + biases[i]
                zs.append(z)
                xs.append(out)
            error = mse_loss(out, y, reduction="sum") / 2
            return error, (error, tuple(zs), tuple(xs))

        gradients = torch.func.grad(squared_error, argnums=(0, 1, 2), has_aux=True)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights = tuple(to_tensor(weight, device) for weight in parameters.weights)
            biases = tuple(to_tensor(bias, device) for bias in parameters.biases)
            (by_weight, by_bias, k), (error, zs, xs) = gradients(
                weights, biases, zeros, to_tensor(x, device), to_tensor(y, device)
            )
            return Observation(
                outputs=to_array(xs[-1]),
                error=to_array(error),
                weight_gradients=to_arrays(by_weight),
                bias_gradients=to_arrays(by_bias),
                z=to_arrays(zs),
                x=to_arrays(xs),
                k=to_arrays(k),
            )

        return program

    def script(self, structure: Structure) -> Script:
        return torch_func_script(structure, self.spell, self.device)
