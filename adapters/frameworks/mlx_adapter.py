"""MLX: `nn.Linear` layers, whose weights are (out, in), and `mx.grad` of a function of arrays, on the CPU."""

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program
from ..layout import OUT_IN

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "relu": nn.relu,
    "leaky_relu": lambda z, slope: nn.leaky_relu(z, negative_slope=slope),
    "relu6": nn.relu6,
    "hardtanh": nn.hard_tanh,
    "hard_swish": nn.hardswish,
    "elu": nn.elu,
    "selu": nn.selu,
    "celu": nn.celu,
    "softplus": nn.softplus,
    "softsign": nn.softsign,
    "silu": nn.silu,
    "gelu": nn.gelu,
    "gelu_tanh": nn.gelu_approx,
    "mish": nn.mish,
    "log_sigmoid": nn.log_sigmoid,
    "tanhshrink": lambda z: z - mx.tanh(z),
    "softshrink": lambda z, threshold: nn.softshrink(z, lambd=threshold),
    "squareplus": lambda z, b: (z + mx.sqrt(z * z + b)) / 2,
    "sin": mx.sin,
}


class Mlx(Adapter):
    """k_i is the gradient with respect to zeros that are added to z_i. MLX's float64 works on the CPU alone."""

    name = "mlx"
    version = version("mlx")
    weight_layout = OUT_IN
    dtypes = ("f32",)
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        network, functions = structure.network, self.functions(structure)
        mx.set_default_device(mx.cpu)
        layers = [nn.Linear(n_in, n_out, bias=network.bias == "pre") for n_in, n_out in pairwise(network.widths)]

        def squared_error(given: Any, x: mx.array, y: mx.array) -> tuple:
            (weights, biases, shifts), zs, xs, out = given, [], [], x
            for i, (layer, function) in enumerate(zip(layers, functions, strict=True)):
                layer.weight = weights[i]
                if network.bias == "pre":
                    layer.bias = biases[i]
                zs.append(layer(out) + shifts[i])
                out = function(zs[-1]) + biases[i] if network.bias == "post" else function(zs[-1])
                xs.append(out)
            return nn.losses.mse_loss(out, y, reduction="sum") / 2, zs, xs

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            zeros = [np.zeros((structure.batch, n), x.dtype) for n in network.widths[1:]]
            given = [[_to_mlx(a) for a in some] for some in (parameters.weights, parameters.biases, zeros)]
            (error, zs, xs), gradients = mx.value_and_grad(squared_error)(given, _to_mlx(x), _to_mlx(y))
            by_weight, by_bias, k, z, x_i = (tuple(np.array(one) for one in some) for some in (*gradients, zs, xs))
            return Observation(x_i[-1], np.array(error), by_weight, by_bias, z=z, x=x_i, k=k)

        return program


def _to_mlx(array: Array) -> mx.array:
    return mx.array(np.array(array, order="C"))
