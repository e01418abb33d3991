"""A framework of stateful modules: layers keep parameters, the input of the last call, and gradients that add up."""

from typing import Any

import numpy as np

from kterm.adapters import Adapter, Observation, Program
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class Dense:
    """A layer with its parameters, and the gradients of all calls of `backward` since `zero_grad`."""

    def __init__(self, n_in: int, n_out: int, activation: str) -> None:
        self.row = ACTIVATIONS[activation]
        self.weight, self.bias = np.zeros((n_in, n_out)), np.zeros(n_out)
        self.zero_grad()

    def zero_grad(self) -> None:
        self.weight_grad, self.bias_grad = np.zeros_like(self.weight), np.zeros_like(self.bias)

    def forward(self, x: Array) -> Array:
        self.input, self.z = x, x @ self.weight + self.bias
        return self.row.f(self.z)

    def backward(self, side: Array) -> Array:
        k = side * self.row.derivative(self.z)
        self.weight_grad += self.input.T @ k
        self.bias_grad += k.sum(0)
        return k @ self.weight.T


class Modules(Adapter):
    """Layers are made once for a structure. Each call sets their parameters anew and clears their gradients."""

    name = "modules"
    version = "1.0"
    biases = ("pre",)
    activations = dict.fromkeys(("identity", "tanh", "relu"), Dense)
    clears = True

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        widths, names = structure.network.widths, structure.network.activations
        layers = [Dense(n, m, name) for n, m, name in zip(widths, widths[1:], names, strict=False)]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            for layer, weight, bias in zip(layers, parameters.weights, parameters.biases, strict=True):
                layer.weight, layer.bias = weight.copy(), bias.copy()
                if self.clears or layer.weight_grad.dtype != x.dtype:
                    layer.zero_grad()
            out: Any = x
            for layer in layers:
                out = layer.forward(out)
            side = out - y
            for layer in reversed(layers):
                side = layer.backward(side)
            error = np.asarray(np.square(out - y).sum() / 2)
            # Copies: the next call writes over what the layers hold.
            by_weight, by_bias = ([a.copy() for a in some] for some in _gradients(layers))
            return Observation(out, error, tuple(by_weight), tuple(by_bias))

        return program


def _gradients(layers: list[Dense]) -> tuple[list[Array], list[Array]]:
    return [layer.weight_grad for layer in layers], [layer.bias_grad for layer in layers]


class Forgetful(Modules):
    """The adapter's mistake that is made most often: gradients are not cleared."""

    name = "forgetful"
    clears = False
