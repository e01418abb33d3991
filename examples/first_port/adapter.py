"""tiny, checked with: kterm check examples/first_port/adapter.py:MyPort"""

from itertools import pairwise

import numpy as np
import tiny

from kterm import OUT_IN, Adapter, Limits, Observation, Program
from kterm.reference import Array, Parameters, Structure

NAMES = {"identity": "linear", "tanh": "tanh", "softplus": "softplus"}


class MyPort(Adapter):
    name = "my-port"
    version = "1.0"
    weight_layout = OUT_IN
    biases = ("pre",)
    activations = {name: tiny.ACTIVATIONS[own][0] for name, own in NAMES.items()}  # noqa: RUF012
    limits = Limits(least_batch=1)  # the loss is a mean, which an empty batch has none of

    def error_scale(self, structure: Structure) -> float:
        return structure.batch * structure.network.widths[-1] / 2

    def build(self, structure: Structure) -> Program:
        sizes, names = pairwise(structure.network.widths), structure.network.activations
        layers = [tiny.Dense(n, m, NAMES[name]) for (n, m), name in zip(sizes, names, strict=True)]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            for layer, weight, bias in zip(layers, parameters.weights, parameters.biases, strict=True):
                layer.weight, layer.bias = weight, bias
                layer.clear()
            outputs, loss = tiny.backprop(layers, x, y)
            by_weight, by_bias = zip(*((layer.weight_grad, layer.bias_grad) for layer in layers), strict=True)
            return Observation(outputs, np.asarray(loss), by_weight, by_bias)

        return program
