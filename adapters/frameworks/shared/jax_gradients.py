"""What JAX's adapters differentiate, and three ways to take the gradients. Scripts show the source of all of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ....reference import Bias
from ...base import Function
from .jax_shared import Arrays


def make_squared_error(activations: Sequence[Function], bias: Bias) -> Function:
    """Make the function to differentiate for one structure. Programs call it, and scripts show its source."""

    def squared_error(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
        # The shifts are zeros. The gradient with respect to them is k_i = dE/dz_i.
        zs, xs, out = [], [], x
        for i, activation in enumerate(activations):
            z = out @ weights[i] + shifts[i]
            if bias == "pre":
                z = z + biases[i]
            out = activation(z)
            if bias == "post":
                out = out + biases[i]
            zs.append(z)
            xs.append(out)
        E = jnp.sum(jnp.square(out - y)) / 2
        return E, (E, zs, xs)

    return squared_error


def compile_gradients(squared_error: Function) -> Function:
    return jax.jit(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True))


def run_gradients_eagerly(squared_error: Function) -> Function:
    gradients = jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True)

    def run_each_operation(*given: Any) -> tuple:
        # NumPy would compute the operations between NumPy arrays.
        return gradients(*jax.device_put(given))

    return run_each_operation


def map_gradients(squared_error: Function) -> Function:
    each = jax.vmap(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True), in_axes=(None, None, 0, 0, 0))

    def summed(*given: Any) -> tuple:
        (dW, db, ks), (E, zs, xs) = each(*given)
        dW, db, E = jax.tree.map(lambda part: part.sum(0), (dW, db, E))
        return (dW, db, ks), (E, zs, xs)

    return jax.jit(summed)
