"""Equinox: `eqx.nn.Linear` layers, each mapped over the batch, `eqx.filter_grad`, and the loss of optax."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ..shared.jax_shared import Arrays, JaxAdapter
from ..shared.tensors import OUT_IN, Function, Structure


class Equinox(JaxAdapter):
    """A layer takes one example. k_i is the gradient with respect to zeros that are added to z_i."""

    name, version = "equinox", eqx.__version__
    weight_layout = OUT_IN

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"

        def squared_error(given: Any, x: jax.Array, y: jax.Array) -> tuple:
            layers, outside, shifts = given
            zs, xs = forward(lambda i, x: jax.vmap(layers[i])(x) + shifts[i], outside, x)
            E = jnp.sum(optax.losses.l2_loss(xs[-1], y))
            return E, (E, zs, xs)

        def make_layer(weight: jax.Array, *bias: jax.Array) -> eqx.nn.Linear:
            n_out, n_in = weight.shape
            layer = eqx.nn.Linear(n_in, n_out, use_bias=inside, dtype=weight.dtype, key=jax.random.key(0))
            return eqx.tree_at(lambda one: [one.weight, one.bias][: 1 + inside], layer, [weight, *bias])

        @eqx.filter_jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            layers = tuple(map(make_layer, weights, *([biases] if inside else [])))
            by, answer = eqx.filter_grad(squared_error, has_aux=True)((layers, biases, shifts), x, y)
            by_layer, by_outside, k = by
            by_bias = [layer.bias for layer in by_layer] if inside else by_outside
            return ([layer.weight for layer in by_layer], by_bias, k), answer

        return backpropagate
