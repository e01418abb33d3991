"""CasADi: symbolic matrices, `gradient`, and column vectors: z = W x + b, with weights (out, in). Float64 only."""

from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np

from .shared.tensors import OUT_IN, Function, Structure, TensorAdapter, functions_of, regroup


def _decay(z: ca.MX) -> ca.MX:
    """exp(-|z|), whose slope at 0 is that from the left; CasADi differentiates fabs as 0 there."""
    return ca.exp(ca.if_else(z > 0, -z, z))


class Casadi(TensorAdapter):
    """The graph is made once for a structure. k_i is the gradient with respect to zeros that are added to z_i."""

    name, version = "casadi", ca.__version__
    weight_layout, dtypes = OUT_IN, ("f64",)
    activations = functions_of(
        ca,
        "tanh sin",
        sigmoid=lambda z: ca.if_else(z > 0, 1, _decay(z)) / (1 + _decay(z)),
        relu=lambda z: ca.fmax(z, 0),
        leaky_relu=lambda z, slope: ca.if_else(z > 0, z, slope * z),
        relu6=lambda z: ca.fmin(ca.fmax(z, 0), 6),
        hardtanh=lambda z: ca.fmin(ca.fmax(z, -1), 1),
        softplus=lambda z: ca.if_else(z > 0, z, 0) + ca.log1p(_decay(z)),
        softsign=lambda z: z / (1 + ca.fabs(z)),
        silu=lambda z: z * ca.if_else(z > 0, 1, _decay(z)) / (1 + _decay(z)),
        gelu=lambda z: z * (1 + ca.erf(z / np.sqrt(2))) / 2,
        tanhshrink=lambda z: z - ca.tanh(z),
        squareplus=lambda z, b: (z + ca.sqrt(z * z + b)) / 2,
    )

    def make_backpropagate(self, structure: Structure) -> Function:
        widths, batch, bias = structure.network.widths, structure.batch, structure.network.bias
        weights = [ca.MX.sym("W", n_out, n_in) for n_in, n_out in pairwise(widths)]
        biases = [ca.MX.sym("b", n) for n in widths[1:]] if bias != "none" else []
        columns = [ca.repmat(one, 1, batch) for one in biases]
        shifts = [ca.MX.sym("s", n, batch) for n in widths[1:]]
        x, y = ca.MX.sym("x", widths[0], batch), ca.MX.sym("y", widths[-1], batch)
        inside = columns if bias == "pre" else [0] * len(weights)
        zs, xs = self.make_forward(structure)(lambda i, x: weights[i] @ x + shifts[i] + inside[i], columns, x)
        E = ca.sumsqr(xs[-1] - y) / 2
        asked = [*weights, *biases, *shifts]
        run = ca.Function("run", [*asked, x, y], [E, *(ca.gradient(E, one) for one in asked), *zs, *xs])

        def backpropagate(parameters: Any, others: Any, zeros: Any, x: Any, y: Any) -> tuple:
            E, *rest = map(np.array, run(*parameters, *others, *(one.T for one in (*zeros, x, y))))
            by_weight, by_bias, *columns = regroup(rest, weights, biases, zs, zs, xs)
            k, z, x_i = ([np.ascontiguousarray(one.T) for one in some] for some in columns)
            return (by_weight, [one[:, 0] for one in by_bias], k), (E[0, 0], z, x_i)

        return backpropagate
