r"""The k-term rule of backpropagation.

Vectors are rows, and each row is one example. A network of n layers computes, for i = 1..n,

    z_i = x_{i-1} W_i  (+ b_i, bias "pre")        x_i = f_i(z_i)  (+ b_i, bias "post")

and its error is E = 1/2 sum (x_n - y)^2 over outputs and batch. Write k_i for dE/dz_i. At the last layer the chain rule
gives the residual times the slope. At the other layers, dE/dx_i is a sum over the units of layer i+1, which is a
product with the transposed weights:

    k_n = (x_n - y) o f_n'(z_n)                  k_i = (k_{i+1} W_{i+1}^T) o f_i'(z_i)

z_i is linear in W_i with coefficients x_{i-1}, so a weight gradient is one more product and a bias gradient is a sum
over the batch:

    dE/dW_i = x_{i-1}^T k_i                      dE/db_i = sum_batch k_i         (bias "pre")
                                                 dE/db_i = sum_batch dE/dx_i     (bias "post")

Every function here also takes stacks: arrays and parameters may have leading axes before (batch, width).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .activations import ACTIVATIONS
from .network import Array, Network, Parameters, validate


@dataclass(frozen=True)
class Pass:
    """The result of one forward and backward pass, in the dtype of the input.

    `z` is (z_1, ..., z_n), `k` is (k_1, ..., k_n), and `x` is (x_0, ..., x_n), which is one longer. Their arrays are
    (..., B, n_i). `error` is E, of shape (...). Weight gradients are (..., n_{i-1}, n_i) and bias gradients (..., n_i).
    """

    z: tuple[Array, ...]
    x: tuple[Array, ...]
    error: Array
    k: tuple[Array, ...]
    weight_gradients: tuple[Array, ...]
    bias_gradients: tuple[Array, ...]

    @property
    def outputs(self) -> Array:
        """The outputs x_n, of shape (..., B, n_n)."""
        return self.x[-1]


def forward(network: Network, parameters: Parameters, x: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return the pre-activations (z_1..z_n) and the activations (x_0..x_n), for x_0 = `x` of shape (..., B, n_0).

    The shapes are not validated.
    """
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
    """Yield (k_i, dE/dx_i) for i = n down to 1, both (..., B, n_i), from z_1..z_n and the residual x_n - y."""
    s = residual
    for i in reversed(range(network.depth)):
        k = s * ACTIVATIONS[network.activations[i]].derivative(z[i])
        yield k, s
        if i:
            s = k @ _transpose(parameters.weights[i])


def _transpose(matrices: Array) -> Array:
    # Not `.mT`, which is new in NumPy 2: an adapter's process may have an older one.
    return matrices.swapaxes(-1, -2)


def backpropagate(network: Network, parameters: Parameters, x: Array, y: Array) -> Pass:
    """Run the whole rule: forward pass, error, k-terms and gradients.

    `x` is (..., B, n_0) and `y` is (..., B, n_n), in the dtype of the parameters. Raises ValueError, naming the
    argument, if a shape or dtype does not fit the network.
    """
    validate(network, parameters, x, y)
    zs, xs = forward(network, parameters, x)
    residual = xs[-1] - y
    terms = list(k_terms(network, parameters, zs, residual))[::-1]
    k = tuple(k for k, _ in terms)
    weight_gradients = tuple(_transpose(xs[i]) @ k[i] for i in range(network.depth))
    bias_gradients: tuple[Array, ...] = ()
    if network.bias != "none":
        bias_gradients = tuple((k if network.bias == "pre" else s).sum(-2) for k, s in terms)
    # Divided by a 2 of its own dtype: before NumPy 2, a float32 scalar over the integer 2 is a float64.
    error = np.square(residual).sum((-2, -1)) / residual.dtype.type(2)
    return Pass(zs, xs, error, k, weight_gradients, bias_gradients)


def descend(
    parameters: Parameters, weight_gradients: Sequence[Array], bias_gradients: Sequence[Array], rate: float
) -> Parameters:
    """Return the parameters after one descent step: W_i - rate * dE/dW_i, and likewise b_i.

    Gradients have the shapes of the parameters. The step is computed in float64 and rounded once, to the dtype of each
    parameter.
    """

    def step(a: Array, gradient: Array) -> Array:
        return (a.astype(np.float64) - rate * gradient.astype(np.float64)).astype(a.dtype)

    return Parameters(
        tuple(map(step, parameters.weights, weight_gradients)), tuple(map(step, parameters.biases, bias_gradients))
    )
