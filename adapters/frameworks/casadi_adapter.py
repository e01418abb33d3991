"""CasADi: symbolic matrices, `gradient`, and column vectors: z = W x + b, with weights (out, in). Float64 only."""

import casadi as ca
import numpy as np

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program
from ..layout import OUT_IN


def _decay(z: ca.MX) -> ca.MX:
    """exp(-|z|), whose slope at 0 is that from the left; CasADi differentiates fabs as 0 there."""
    return ca.exp(ca.if_else(z > 0, -z, z))


ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": lambda z: ca.if_else(z > 0, 1, _decay(z)) / (1 + _decay(z)),
    "tanh": ca.tanh,
    "relu": lambda z: ca.fmax(z, 0),
    "leaky_relu": lambda z, slope: ca.if_else(z > 0, z, slope * z),
    "relu6": lambda z: ca.fmin(ca.fmax(z, 0), 6),
    "hardtanh": lambda z: ca.fmin(ca.fmax(z, -1), 1),
    "softplus": lambda z: ca.if_else(z > 0, z, 0) + ca.log1p(_decay(z)),
    "softsign": lambda z: z / (1 + ca.fabs(z)),
    "silu": lambda z: z * ca.if_else(z > 0, 1, _decay(z)) / (1 + _decay(z)),
    "gelu": lambda z: z * (1 + ca.erf(z / np.sqrt(2))) / 2,
    "tanhshrink": lambda z: z - ca.tanh(z),
    "squareplus": lambda z, b: (z + ca.sqrt(z * z + b)) / 2,
    "sin": ca.sin,
}


class Casadi(Adapter):
    """The graph is made once for a structure. k_i is the gradient with respect to zeros that are added to z_i."""

    name = "casadi"
    version = ca.__version__
    weight_layout = OUT_IN
    dtypes = ("f64",)
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        functions, bias, widths = self.functions(structure), structure.network.bias, structure.network.widths
        batch, depth = structure.batch, len(functions)
        weights = [ca.MX.sym(f"W{i}", widths[i + 1], widths[i]) for i in range(depth)]
        biases = [ca.MX.sym(f"b{i}", n) for i, n in enumerate(widths[1:])] if bias != "none" else []
        shifts = [ca.MX.sym(f"s{i}", n, batch) for i, n in enumerate(widths[1:])]
        x, y = ca.MX.sym("x", widths[0], batch), ca.MX.sym("y", widths[-1], batch)
        zs, xs, out = [], [], x
        for i, function in enumerate(functions):
            columns = ca.repmat(biases[i], 1, batch) if biases else 0
            zs.append(weights[i] @ out + shifts[i] + (columns if bias == "pre" else 0))
            out = function(zs[-1]) + (columns if bias == "post" else 0)
            xs.append(out)
        E = ca.sumsqr(out - y) / 2
        gradients = [ca.gradient(E, one) for one in (*weights, *biases, *shifts)]
        run = ca.Function("run", [*weights, *biases, *shifts, x, y], [E, *gradients, *zs, *xs])
        zeros = [np.zeros((n, batch)) for n in widths[1:]]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            answer = run(*parameters.weights, *parameters.biases, *zeros, x.T, y.T)
            E, *rest = (np.array(one) for one in answer)
            at = np.cumsum([0, depth, len(biases), depth, depth, depth])
            by_weight, by_bias, k, z, out = (tuple(rest[at[j] : at[j + 1]]) for j in range(5))
            k, z, out = (tuple(np.ascontiguousarray(one.T) for one in some) for some in (k, z, out))
            return Observation(out[-1], E[0, 0, ...], by_weight, tuple(one[:, 0] for one in by_bias), z=z, x=out, k=k)

        return program
