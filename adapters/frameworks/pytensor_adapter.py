"""PyTensor: a symbolic graph, `grad` and a compiled function. It has no layers and no loss of its own."""

from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from .shared.tensors import Function, Structure, TensorAdapter, functions_of, regroup


class Pytensor(TensorAdapter):
    """The function is compiled once for a structure, which takes seconds. k_i is the gradient with respect to z_i."""

    name, version = "pytensor", pytensor.__version__
    activations = functions_of(
        pt,
        "sigmoid tanh softplus sin",
        relu=lambda z: pt.maximum(z, 0),
        leaky_relu=lambda z, slope: pt.maximum(z, slope * z),
        relu6=lambda z: pt.clip(z, 0, 6),
        hardtanh=lambda z: pt.clip(z, -1, 1),
        softsign=lambda z: z / (1 + pt.abs(z)),
        silu=lambda z: z * pt.sigmoid(z),
        gelu=lambda z: z * (1 + pt.erf(z / np.sqrt(2).astype(z.dtype))) / 2,
        log_sigmoid=lambda z: -pt.softplus(-z),
        tanhshrink=lambda z: z - pt.tanh(z),
        squareplus=lambda z, b: (z + pt.sqrt(z * z + b)) / 2,
    )
    max_structures = 32

    def make_backpropagate(self, structure: Structure) -> Function:
        bias, dtype = structure.network.bias, structure.format.numpy.name
        weights = [pt.matrix(dtype=dtype) for _ in structure.network.activations]
        biases = [pt.vector(dtype=dtype) for _ in weights] if bias != "none" else []
        x, y = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
        forward = self.make_forward(structure)
        zs, xs = forward(lambda i, x: x @ weights[i] + biases[i] if bias == "pre" else x @ weights[i], biases, x)
        E = pt.sum((xs[-1] - y) ** 2) / 2
        gradients = pytensor.grad(E, [*weights, *biases, *zs])
        run = pytensor.function([*weights, *biases, x, y], [E, *gradients, *zs, *xs])

        def backpropagate(parameters: Any, others: Any, _: Any, x: Any, y: Any) -> tuple:
            E, *rest = run(*parameters, *others, x, y)
            *by, z, x_i = regroup(rest, weights, biases, zs, zs, xs)
            return by, (E, z, x_i)

        return backpropagate
