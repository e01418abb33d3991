"""HIPS autograd, checked with: kterm check examples/autograd_adapter.py:Autograd"""

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import grad
from autograd.scipy.special import expit

from kterm.adapters import Adapter, Observation, Program
from kterm.reference import Array, Parameters, Structure

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z, slope: np.where(z > 0, z, slope * z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "sin": np.sin,
    "silu": lambda z: z * expit(z),
    "squareplus": lambda z, b: (z + np.sqrt(z * z + b)) / 2,
}


class Autograd(Adapter):
    """`grad` of a pure function; k_i is the gradient with respect to zeros added to z_i."""

    name = "autograd"
    version = version("autograd")
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        functions, bias = self.functions(structure), structure.network.bias

        def forward(given: Any, x: Any) -> Any:
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
