"""Flax NNX: `nnx.Linear` layers, `nnx.grad`, and the loss of optax, which Flax is used with."""

import flax
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ....reference import Structure
from ...base import Adapter, Function
from ...jax_adapter import Arrays, Jax


class Flax(Jax):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name = "flax"
    zero_width = False
    version = flax.__version__
    script = Adapter.script

    def make_backpropagate(self, structure: Structure) -> Function:
        functions, bias = self.functions(structure), structure.network.bias

        def squared_error(layers: nnx.List, outside: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                zs.append(layers[i](out) + shifts[i])
                out = function(zs[-1]) + (outside[i] if bias == "post" else 0)
                xs.append(out)
            E = jnp.sum(optax.losses.l2_loss(out, y))
            return E, (E, zs, xs)

        def make_layer(weight: jax.Array) -> nnx.Linear:
            return nnx.Linear(*weight.shape, use_bias=bias == "pre", param_dtype=weight.dtype, rngs=nnx.Rngs(0))

        @nnx.jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            layers = nnx.List([make_layer(weight) for weight in weights])
            for layer, weight in zip(layers, weights, strict=True):
                layer.kernel[...] = weight
            for layer, one in zip(layers, biases if bias == "pre" else (), strict=False):
                layer.bias[...] = one
            gradients = nnx.grad(squared_error, argnums=(0, 1, 2), has_aux=True)
            (by_layer, by_outside, k), answer = gradients(layers, biases, shifts, x, y)
            by_weight = [by_layer[i].kernel[...] for i in range(len(weights))]
            by_bias = [by_layer[i].bias[...] for i in range(len(weights))] if bias == "pre" else by_outside
            return (by_weight, by_bias, k), answer

        return backpropagate
