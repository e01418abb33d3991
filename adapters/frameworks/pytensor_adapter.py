"""PyTensor: a symbolic graph, `grad` and a compiled function. It has no layers and no loss of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": pt.sigmoid,
    "tanh": pt.tanh,
    "relu": lambda z: pt.maximum(z, 0),
    "leaky_relu": lambda z, slope: pt.maximum(z, slope * z),
    "relu6": lambda z: pt.clip(z, 0, 6),
    "hardtanh": lambda z: pt.clip(z, -1, 1),
    "softplus": pt.softplus,
    "softsign": lambda z: z / (1 + pt.abs(z)),
    "silu": lambda z: z * pt.sigmoid(z),
    "gelu": lambda z: z * (1 + pt.erf(z / np.sqrt(2).astype(z.dtype))) / 2,
    "log_sigmoid": lambda z: -pt.softplus(-z),
    "tanhshrink": lambda z: z - pt.tanh(z),
    "squareplus": lambda z, b: (z + pt.sqrt(z * z + b)) / 2,
    "sin": pt.sin,
}


class Pytensor(Adapter):
    """The function is compiled once for a structure, which takes seconds. k_i is the gradient with respect to z_i."""

    name = "pytensor"
    version = pytensor.__version__
    activations = ACTIVATIONS
    max_structures = 8

    def build(self, structure: Structure) -> Program:
        functions, bias, dtype = self.functions(structure), structure.network.bias, structure.format.numpy.name
        depth = len(functions)
        weights = [pt.matrix(dtype=dtype) for _ in functions]
        biases = [pt.vector(dtype=dtype) for _ in functions] if bias != "none" else []
        x, y = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
        zs, xs, out = [], [], x
        for i, function in enumerate(functions):
            zs.append(out @ weights[i] + biases[i] if bias == "pre" else out @ weights[i])
            out = function(zs[-1]) + biases[i] if bias == "post" else function(zs[-1])
            xs.append(out)
        E = pt.sum((out - y) ** 2) / 2
        groups: Sequence[Sequence[Any]] = ([E], pytensor.grad(E, [*weights, *biases, *zs]), zs, xs)
        run = pytensor.function([*weights, *biases, x, y], [one for group in groups for one in group])
        ends = np.cumsum([1, depth, len(biases), depth, depth])

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            given = (np.array(one, order="C") for one in (*parameters.weights, *parameters.biases, x, y))
            answer = [np.array(one) for one in run(*given)]
            by_weight, by_bias, k, z, out = (
                tuple(answer[start:end]) for start, end in zip(ends, [*ends[1:], None], strict=True)
            )
            return Observation(out[-1], answer[0], by_weight, by_bias, z=z, x=out, k=k)

        return program
