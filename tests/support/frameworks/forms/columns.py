"""A framework of column vectors: an example is a column, and a layer computes W x + b."""

import numpy as np

from kterm.adapters import OUT_IN, Adapter, Observation, Program
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class ColumnVectors(Adapter):
    """x is (n_0, B) inside, and a weight is (out, in). Only the arrays of the contract are turned."""

    name = "column-vectors"
    version = "1.0"
    weight_layout = OUT_IN
    activations = {name: ACTIVATIONS[name].f for name in ("identity", "tanh", "relu")}  # noqa: RUF012

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        rows, bias = [ACTIVATIONS[name] for name in structure.network.activations], structure.network.bias

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            columns = [b[:, None] for b in parameters.biases] or [0] * len(rows)
            zs, xs = [], [x.T]
            for weight, b, row in zip(parameters.weights, columns, rows, strict=True):
                zs.append(weight @ xs[-1] + (b if bias == "pre" else 0))
                xs.append(row.f(zs[-1]) + (b if bias == "post" else 0))
            residual = xs[-1] - y.T
            side, ks, sides = residual, [], []
            for weight, z, row in zip(parameters.weights[::-1], zs[::-1], rows[::-1], strict=True):
                ks.insert(0, side * row.derivative(z))
                sides.insert(0, side)
                side = weight.T @ ks[0]
            by_bias = {"none": [], "pre": ks, "post": sides}[bias]
            return Observation(
                xs[-1].T,
                np.asarray(np.square(residual).sum() / 2),
                tuple(k @ before.T for k, before in zip(ks, xs, strict=False)),
                tuple(some.sum(1) for some in by_bias),
                z=tuple(z.T for z in zs),
                x=tuple(after.T for after in xs[1:]),
                k=tuple(k.T for k in ks),
            )

        return program
