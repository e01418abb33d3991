"""A regressor with a fixed form: one activation for all hidden layers, a linear output, biases, and its own loss."""

from typing import Any

import numpy as np

from kterm.adapters import Adapter, Limits, Observation, Program
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class Regressor:
    """A model as scikit-learn's MLPRegressor: `activation` is that of the hidden layers."""

    def __init__(self, activation: str) -> None:
        self.activation = activation
        self.coefs_: tuple[Array, ...] = ()
        self.intercepts_: tuple[Array, ...] = ()

    def backprop(self, x: Array, y: Array) -> tuple[Array, Any, list[Array], list[Array]]:
        """Outputs, loss and gradients. The loss is half of the mean, over rows, of the sum of squares."""
        row, xs, zs = ACTIVATIONS[self.activation], [x], []
        for i, (weight, bias) in enumerate(zip(self.coefs_, self.intercepts_, strict=True), 1):
            zs.append(xs[-1] @ weight + bias)
            xs.append(zs[-1] if i == len(self.coefs_) else row.f(zs[-1]))
        residual, count = xs[-1] - y, x.dtype.type(len(x))
        loss = np.square(residual).sum() / (2 * count)
        by_weight, by_bias, delta = [], [], residual
        for i in reversed(range(len(self.coefs_))):
            by_weight.insert(0, xs[i].T @ delta / count)
            by_bias.insert(0, delta.sum(0) / count)
            if i:
                delta = delta @ self.coefs_[i].T * row.derivative(zs[i - 1])
        return xs[-1], loss, by_weight, by_bias


class FixedForm(Adapter):
    name = "fixed-form"
    version = "1.0"
    biases = ("pre",)
    limits = Limits(hidden_alike=True, last_identity=True, least_batch=1)
    activations = dict.fromkeys(("identity", "sigmoid", "tanh", "relu"), Regressor)

    def error_scale(self, structure: Structure) -> float:
        return structure.batch  # the loss is a mean over rows

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        model = Regressor(structure.network.activations[0])

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            model.coefs_, model.intercepts_ = parameters.weights, parameters.biases
            outputs, loss, by_weight, by_bias = model.backprop(x, y)
            return Observation(outputs, np.asarray(loss), tuple(by_weight), tuple(by_bias))

        return program
