"""tinygrad: `nn.Linear` layers, whose weights are (out, in), and `Tensor.gradient`. tinygrad compiles with clang."""

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from tinygrad import Tensor
from tinygrad.nn import Linear

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program
from ..layout import OUT_IN

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": Tensor.sigmoid,
    "tanh": Tensor.tanh,
    "relu": Tensor.relu,
    "leaky_relu": lambda z, slope: z.leaky_relu(slope),
    "relu6": Tensor.relu6,
    "hardtanh": Tensor.hardtanh,
    "hard_sigmoid": Tensor.hardsigmoid,
    "hard_swish": Tensor.hardswish,
    "elu": Tensor.elu,
    "celu": Tensor.celu,
    "softplus": Tensor.softplus,
    "softsign": Tensor.softsign,
    "silu": Tensor.silu,
    "gelu_tanh": Tensor.gelu,
    "mish": Tensor.mish,
    "log_sigmoid": Tensor.logsigmoid,
    "tanhshrink": lambda z: z - z.tanh(),
    "sin": Tensor.sin,
}


class Tinygrad(Adapter):
    """k_i is the gradient with respect to z_i itself."""

    name = "tinygrad"
    version = version("tinygrad")
    weight_layout = OUT_IN
    activations = ACTIVATIONS
    max_structures = 16

    def build(self, structure: Structure) -> Program:
        network, functions = structure.network, self.functions(structure)
        layers = [Linear(n_in, n_out, bias=network.bias == "pre") for n_in, n_out in pairwise(network.widths)]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights, biases = ([_to_tensor(a) for a in part] for part in (parameters.weights, parameters.biases))
            zs, xs, out = [], [], _to_tensor(x)
            for i, (layer, function) in enumerate(zip(layers, functions, strict=True)):
                layer.weight, layer.bias = weights[i], biases[i] if network.bias == "pre" else None
                zs.append(layer(out))
                out = function(zs[-1])
                if network.bias == "post":
                    out = out + biases[i]
                xs.append(out)
            E = (out - _to_tensor(y)).square().sum() / 2
            gradients = E.gradient(*weights, *biases, *zs)
            Tensor.realize(E, *gradients, *zs, *xs)
            answers: list[Any] = [tensor.numpy() for tensor in gradients]
            depth, end = len(zs), len(answers) - len(zs)
            z, x_i = (tuple(tensor.numpy() for tensor in some) for some in (zs, xs))
            k = tuple(answers[end:])
            return Observation(x_i[-1], E.numpy(), tuple(answers[:depth]), tuple(answers[depth:end]), z=z, x=x_i, k=k)

        return program


def _to_tensor(array: Array) -> Tensor:
    return Tensor(np.array(array, order="C"), device="CPU")
