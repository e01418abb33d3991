"""HIPS autograd: `grad` of a pure function of NumPy arrays. It has no layers and no loss of its own."""

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import grad
from autograd.scipy.special import erf, expit

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program


def _elu(z: Any, alpha: float) -> Any:
    return np.where(z > 0, z, alpha * np.expm1(np.where(z > 0, 0, z)))


ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z, slope: np.where(z > 0, z, slope * z),
    "relu6": lambda z: np.clip(z, 0, 6),
    "hardtanh": lambda z: np.clip(z, -1, 1),
    "elu": _elu,
    "softplus": lambda z: np.logaddexp(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "silu": lambda z: z * expit(z),
    "gelu": lambda z: z * (1 + erf(z / 2**0.5)) / 2,
    "mish": lambda z: z * np.tanh(np.logaddexp(z, 0)),
    "log_sigmoid": lambda z: -np.logaddexp(-z, 0),
    "tanhshrink": lambda z: z - np.tanh(z),
    "squareplus": lambda z, b: (z + np.sqrt(z * z + b)) / 2,
    "sin": np.sin,
}


class Autograd(Adapter):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name = "autograd"
    version = version("autograd")
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        functions, bias = self.functions(structure), structure.network.bias

        def forward(given: Any, x: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            (weights, biases, shifts), zs, xs = given, [], [x]
            for i, function in enumerate(functions):
                zs.append(xs[-1] @ weights[i] + shifts[i] + (biases[i] if bias == "pre" else 0))
                xs.append(function(zs[-1]) + (biases[i] if bias == "post" else 0))
            return tuple(zs), tuple(xs[1:])

        def squared_error(given: Any, x: Any, y: Any) -> Any:
            return np.sum((forward(given, x)[1][-1] - y) ** 2) / 2

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            zeros = tuple(np.zeros((len(x), n), x.dtype) for n in structure.network.widths[1:])
            given = (parameters.weights, parameters.biases, zeros)
            by_weight, by_bias, k = grad(squared_error)(given, x, y)
            (z, xs), error = forward(given, x), squared_error(given, x, y)
            return Observation(xs[-1], error, by_weight, by_bias, z=z, x=xs, k=k)

        return program
