"""PaddlePaddle: `nn.Linear` layers, whose weights are (in, out), `mse_loss` and `paddle.grad`."""

from itertools import pairwise
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "relu": F.relu,
    "leaky_relu": lambda z, slope: F.leaky_relu(z, negative_slope=slope),
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hard_sigmoid": lambda z: F.hardsigmoid(z, slope=1 / 6, offset=0.5),
    "hard_swish": F.hardswish,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "silu": F.silu,
    "gelu": lambda z: F.gelu(z, approximate=False),
    "gelu_tanh": lambda z: F.gelu(z, approximate=True),
    "mish": F.mish,
    "log_sigmoid": F.log_sigmoid,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "squareplus": lambda z, b: (z + paddle.sqrt(z * z + b)) / 2,
    "sin": paddle.sin,
}


class Paddle(Adapter):
    """Layers are made once for a structure and loaded for each draw. k_i is the gradient with respect to z_i itself."""

    name = "paddle"
    version = paddle.__version__
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        network, functions = structure.network, self.functions(structure)
        if not structure.batch:
            raise NotImplementedError("paddle raises for gradients of a batch of 0")
        paddle.set_device(self.device)
        paddle.set_default_dtype(structure.format.numpy.name)
        inside = None if network.bias == "pre" else False
        layers: list[Any] = [paddle.nn.Linear(n, m, bias_attr=inside) for n, m in pairwise(network.widths)]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            biases, zs, xs, out = [_to_tensor(bias) for bias in parameters.biases], [], [], _to_tensor(x)
            for i, layer in enumerate(layers):
                layer.weight.set_value(np.array(parameters.weights[i], order="C"))
                if network.bias == "pre":
                    layer.bias.set_value(np.array(parameters.biases[i]))
                    biases[i] = layer.bias
                zs.append(layer(out))
                out = functions[i](zs[-1]) + biases[i] if network.bias == "post" else functions[i](zs[-1])
                xs.append(out)
            E = F.mse_loss(out, _to_tensor(y), reduction="sum") / 2
            asked = [*(layer.weight for layer in layers), *biases, *zs]
            gradients = paddle.grad(E, asked)
            n = len(zs)
            parts = (gradients[:n], gradients[n:-n], gradients[-n:], zs, xs)
            by_weight, by_bias, k, z, x_i = (tuple(one.numpy().copy() for one in some) for some in parts)
            return Observation(x_i[-1], E.numpy().copy(), by_weight, by_bias, z=z, x=x_i, k=k)

        return program


def _to_tensor(array: Array) -> Any:
    return paddle.to_tensor(np.array(array, order="C"), stop_gradient=False)
