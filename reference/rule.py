r"""The k-term rule of backpropagation.

Row vectors, one row an example. A network of n layers computes, for i = 1..n,

    z_i = x_{i-1} W_i  (+ b_i, bias "pre")        x_i = f_i(z_i)  (+ b_i, bias "post")

and its error is E = 1/2 sum (x_n - y)^2 over outputs and batch. Write k_i for dE/dz_i. At the last layer the chain rule
gives the residual times the slope; further back, dE/dx_i is collected over every unit of layer i+1, which is a product
with the transposed weights:

    k_n = (x_n - y) o f_n'(z_n)                  k_i = (k_{i+1} W_{i+1}^T) o f_i'(z_i)

z_i is linear in W_i with coefficients x_{i-1}, so the gradients are one product, or one sum over the batch, away:

    dE/dW_i = x_{i-1}^T k_i                      dE/db_i = sum_batch k_i         (bias "pre")
                                                 dE/db_i = sum_batch dE/dx_i     (bias "post")

Everything here also takes stacks: leading axes before (batch, width), for arrays and parameters alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .activations import ACTIVATIONS
from .network import Array, Network, Parameters, validate


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass.

    `x` is (x_0, ..., x_n), one longer than `z` = (z_1, ..., z_n) and `k` = (k_1, ..., k_n); arrays are (..., B, n_i),
    the error `E` is (...,), weight gradients (..., n_{i-1}, n_i) and bias gradients (..., n_i), in the dtype of the
    input.
    """

    z: tuple[Array, ...]
    x: tuple[Array, ...]
    error: Array
    k: tuple[Array, ...]
    weight_gradients: tuple[Array, ...]
    bias_gradients: tuple[Array, ...]

    @property
    def outputs(self) -> Array:
        """x_n."""
        return self.x[-1]


def forward(network: Network, parameters: Parameters, x: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The pre-activations (z_1..z_n) and the activations (x_0..x_n), for x_0 of shape (..., B, n_0)."""
    zs, xs = [], [x]
    for i, name in enumerate(network.activations):
        z = xs[-1] @ parameters.weights[i]
        if network.bias == "pre":
            z = z + parameters.biases[i][..., None, :]
        out = ACTIVATIONS[name].f(z)
        if network.bias == "post":
            out = out + parameters.biases[i][..., None, :]
        zs.append(z)
        xs.append(out)
    return tuple(zs), tuple(xs)


def k_terms(network: Network, parameters: Parameters, z: tuple[Array, ...], residual: Array) -> Iterator[tuple]:
    """Yield (k_i, dE/dx_i) for i = n down to 1, from the pre-activations and the residual x_n - y."""
    s = residual
    for i in reversed(range(network.depth)):
        k = s * ACTIVATIONS[network.activations[i]].derivative(z[i])
        yield k, s
        if i:
            s = k @ parameters.weights[i].mT


def backpropagate(network: Network, parameters: Parameters, x: Array, y: Array) -> Pass:
    """The whole rule: forward pass, error, k-terms and gradients.

    `x` is (..., B, n_0) and `y` (..., B, n_n), of the parameters' dtype. Raises ValueError, naming the argument,
    where a shape does not fit the network.
    """
    validate(network, parameters, x, y)
    zs, xs = forward(network, parameters, x)
    residual = xs[-1] - y
    terms = list(k_terms(network, parameters, zs, residual))[::-1]
    k = tuple(k for k, _ in terms)
    weight_gradients = tuple(xs[i].mT @ k[i] for i in range(network.depth))
    bias_gradients: tuple[Array, ...] = ()
    if network.bias != "none":
        bias_gradients = tuple((k if network.bias == "pre" else s).sum(-2) for k, s in terms)
    error = np.square(residual).sum((-2, -1)) / 2
    return Pass(zs, xs, error, k, weight_gradients, bias_gradients)


def descend(parameters: Parameters, step: Pass, rate: float) -> Parameters:
    """One descent step: W_i - rate * dE/dW_i, and b_i likewise, in the parameters' dtype."""
    return Parameters(
        tuple(w - w.dtype.type(rate) * g for w, g in zip(parameters.weights, step.weight_gradients, strict=True)),
        tuple(b - b.dtype.type(rate) * g for b, g in zip(parameters.biases, step.bias_gradients, strict=True)),
    )
