"""A framework that takes one example at a time, as a vector without a batch axis."""

import numpy as np

from kterm.adapters import Adapter, Observation, Program
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class PerExample(Adapter):
    """The program maps the framework over the rows of a batch, and adds what each row gives."""

    name = "per-example"
    version = "1.0"
    biases = ("none", "pre")
    activations = {name: ACTIVATIONS[name].f for name in ("identity", "tanh", "relu")}  # noqa: RUF012

    def build(self, structure: Structure) -> Program:
        self.require(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            outputs, error = np.empty_like(y), x.dtype.type(0)
            # An empty batch has no rows, and its sums are zeros.
            by_weight, by_bias = ([np.zeros_like(a) for a in some] for some in (parameters.weights, parameters.biases))
            for i, (row, target) in enumerate(zip(x, y, strict=True)):
                outputs[i], loss, of_weights, of_biases = gradients_of_one(structure, parameters, row, target)
                error += loss
                for total, part in zip((*by_weight, *by_bias), (*of_weights, *of_biases), strict=True):
                    total += part
            return Observation(outputs, np.asarray(error), tuple(by_weight), tuple(by_bias))

        return program


def gradients_of_one(
    structure: Structure, parameters: Parameters, x: Array, y: Array
) -> tuple[Array, Array, list[Array], list[Array]]:
    """The framework: outputs, loss and gradients of one example. x is (n_0,) and y is (n_n,)."""
    rows = [ACTIVATIONS[name] for name in structure.network.activations]
    biases = parameters.biases or (x.dtype.type(0),) * len(rows)
    zs, xs = [], [x]
    for weight, bias, row in zip(parameters.weights, biases, rows, strict=True):
        zs.append(xs[-1] @ weight + bias)
        xs.append(row.f(zs[-1]))
    side, ks = xs[-1] - y, list[Array]()
    loss = np.square(side).sum() / 2
    for weight, z, row in zip(parameters.weights[::-1], zs[::-1], rows[::-1], strict=True):
        ks.insert(0, side * row.derivative(z))
        side = weight @ ks[0]
    by_weight = [np.outer(before, k) for before, k in zip(xs, ks, strict=False)]
    return xs[-1], loss, by_weight, ks if parameters.biases else []
