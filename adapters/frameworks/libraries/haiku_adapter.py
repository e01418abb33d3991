"""Haiku: `hk.Linear` layers in a transformed function, `jax.grad`, and the loss of optax."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from ....reference import Structure
from ...base import Adapter, Function
from ...jax_adapter import Arrays, Jax


class Haiku(Jax):
    """k_i is the gradient with respect to zeros that are added to z_i."""

    name = "haiku"
    zero_width = False
    version = hk.__version__
    script = Adapter.script

    def make_backpropagate(self, structure: Structure) -> Function:
        functions, bias, widths = self.functions(structure), structure.network.bias, structure.network.widths

        def forward(outside: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                layer = hk.Linear(widths[i + 1], with_bias=bias == "pre", name=f"layer_{i}")
                zs.append(layer(out) + shifts[i])
                out = function(zs[-1]) + (outside[i] if bias == "post" else 0)
                xs.append(out)
            E = jnp.sum(optax.losses.l2_loss(out, y))
            return E, (E, zs, xs)

        gradients = jax.grad(hk.without_apply_rng(hk.transform(forward)).apply, argnums=(0, 1, 2), has_aux=True)

        @jax.jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            parameters = {f"layer_{i}": {"w": weight} for i, weight in enumerate(weights)}
            for i, one in enumerate(biases if bias == "pre" else ()):
                parameters[f"layer_{i}"]["b"] = one
            (by_layer, by_outside, k), answer = gradients(parameters, biases, shifts, x, y)
            # JAX sorts the keys of a dict: layer_10 comes before layer_2.
            layers = [by_layer[f"layer_{i}"] for i in range(len(weights))]
            by_bias = [one["b"] for one in layers] if bias == "pre" else by_outside
            return ([one["w"] for one in layers], by_bias, k), answer

        return backpropagate
