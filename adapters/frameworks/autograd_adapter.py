"""HIPS autograd: `grad` of a pure function of NumPy arrays. It has no layers and no loss of its own."""

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import grad
from autograd.scipy.special import erf, expit

from .shared.tensors import Function, Structure, TensorAdapter, functions_of


class Autograd(TensorAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name, version = "autograd", version("autograd")
    activations = functions_of(
        np,
        "tanh sin",
        sigmoid=expit,
        relu=lambda z: np.maximum(z, 0),
        leaky_relu=lambda z, slope: np.where(z > 0, z, slope * z),
        relu6=lambda z: np.clip(z, 0, 6),
        hardtanh=lambda z: np.clip(z, -1, 1),
        elu=lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.where(z > 0, 0, z))),
        softplus=lambda z: np.logaddexp(z, 0),
        softsign=lambda z: z / (1 + np.abs(z)),
        silu=lambda z: z * expit(z),
        gelu=lambda z: z * (1 + erf(z / 2**0.5)) / 2,
        mish=lambda z: z * np.tanh(np.logaddexp(z, 0)),
        log_sigmoid=lambda z: -np.logaddexp(-z, 0),
        tanhshrink=lambda z: z - np.tanh(z),
        squareplus=lambda z, b: (z + np.sqrt(z * z + b)) / 2,
    )

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"

        def compute(given: Any, x: Any, y: Any) -> tuple:
            weights, biases, shifts = given
            zs, xs = forward(lambda i, x: x @ weights[i] + shifts[i] + (biases[i] if inside else 0), biases, x)
            return np.sum((xs[-1] - y) ** 2 / 2), zs, xs

        def backpropagate(weights: Any, biases: Any, shifts: Any, *data: Any) -> tuple:
            given = (weights, biases, shifts)
            return grad(lambda given: compute(given, *data)[0])(given), compute(given, *data)

        return backpropagate
