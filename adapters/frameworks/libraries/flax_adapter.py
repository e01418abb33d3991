"""Flax NNX: `nnx.Linear` layers, `nnx.grad`, and the loss of optax, which Flax is used with."""

import flax
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ..shared.jax_shared import Arrays, JaxAdapter
from ..shared.tensors import Function, Structure


class Flax(JaxAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name, version = "flax", flax.__version__

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"

        def squared_error(layers: nnx.List, outside: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            zs, xs = forward(lambda i, x: layers[i](x) + shifts[i], outside, x)
            E = jnp.sum(optax.losses.l2_loss(xs[-1], y))
            return E, (E, zs, xs)

        @nnx.jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            layers, settings = nnx.List(), {"use_bias": inside, "param_dtype": x.dtype, "rngs": nnx.Rngs(0)}
            for i, weight in enumerate(weights):
                layers.append(nnx.Linear(*weight.shape, **settings))
                layers[i].kernel[...] = weight
                if inside:
                    layers[i].bias[...] = biases[i]
            gradients = nnx.grad(squared_error, argnums=(0, 1, 2), has_aux=True)
            (by_layer, by_outside, k), answer = gradients(layers, biases, shifts, x, y)
            by_weight = [by_layer[i].kernel[...] for i in range(len(weights))]
            by_bias = [by_layer[i].bias[...] for i in range(len(weights))] if inside else by_outside
            return (by_weight, by_bias, k), answer

        return backpropagate
