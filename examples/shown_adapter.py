"""The smallest adapter, with z, x and k shown: kterm check examples/shown_adapter.py:Shown"""

import autograd.numpy as np
from autograd import grad
from minimal_adapter import MyFramework

from kterm.adapters import Observation


class Shown(MyFramework):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    def build(self, structure):
        functions, bias = self.functions(structure), structure.network.bias

        def forward(weights, biases, shifts, x):
            zs, xs = [], [x]
            for i, f in enumerate(functions):
                zs.append(xs[-1] @ weights[i] + shifts[i] + (biases[i] if bias == "pre" else 0))
                xs.append(f(zs[-1]) + (biases[i] if bias == "post" else 0))
            return zs, xs[1:]

        def error(weights, biases, shifts, x, y):
            return np.sum((forward(weights, biases, shifts, x)[1][-1] - y) ** 2 / 2)

        def program(parameters, x, y):
            shifts = tuple(np.zeros((len(x), n), x.dtype) for n in structure.network.widths[1:])
            given = (parameters.weights, parameters.biases, shifts, x)
            by_weight, by_bias, k = grad(error, (0, 1, 2))(*given, y)
            zs, xs = forward(*given)
            return Observation(xs[-1], error(*given, y), by_weight, by_bias, z=tuple(zs), x=tuple(xs), k=k)

        return program
