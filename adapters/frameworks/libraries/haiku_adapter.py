"""Haiku: `hk.Linear` layers in a transformed function, `jax.grad`, and the loss of optax."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from ..shared.jax_shared import Arrays, JaxAdapter
from ..shared.tensors import Function, Structure


class Haiku(JaxAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name, version = "haiku", hk.__version__

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        names = [f"layer_{i}" for i in range(structure.network.depth)]

        def squared_error(outside: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            def layer(i: int, x: jax.Array) -> jax.Array:
                return hk.Linear(structure.network.widths[i + 1], with_bias=inside, name=names[i])(x) + shifts[i]

            zs, xs = forward(layer, outside, x)
            E = jnp.sum(optax.losses.l2_loss(xs[-1], y))
            return E, (E, zs, xs)

        apply = hk.without_apply_rng(hk.transform(squared_error)).apply

        @jax.jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            parameters = {name: {"w": weight} for name, weight in zip(names, weights, strict=True)}
            for name, bias in zip(names, biases if inside else (), strict=False):
                parameters[name]["b"] = bias
            gradients = jax.grad(apply, argnums=(0, 1, 2), has_aux=True)
            (by_layer, by_outside, k), answer = gradients(parameters, biases, shifts, x, y)
            by_bias = [by_layer[name]["b"] for name in names] if inside else by_outside
            return ([by_layer[name]["w"] for name in names], by_bias, k), answer

        return backpropagate
