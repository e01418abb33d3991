"""Equinox: `eqx.nn.Linear` layers, each mapped over the batch, `eqx.filter_grad`, and the loss of optax."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ....reference import Structure
from ...base import Adapter, Function
from ...jax_adapter import Arrays, Jax
from ...layout import OUT_IN


class Equinox(Jax):
    """A layer takes one example. k_i is the gradient with respect to zeros that are added to z_i."""

    name = "equinox"
    zero_width = False
    version = eqx.__version__
    weight_layout = OUT_IN
    script = Adapter.script

    def make_backpropagate(self, structure: Structure) -> Function:
        functions, bias = self.functions(structure), structure.network.bias

        def squared_error(given: tuple[Sequence[eqx.nn.Linear], Arrays, Arrays], x: jax.Array, y: jax.Array) -> tuple:
            (layers, outside, shifts), zs, xs, out = given, [], [], x
            for i, function in enumerate(functions):
                zs.append(jax.vmap(layers[i])(out) + shifts[i])
                out = function(zs[-1]) + (outside[i] if bias == "post" else 0)
                xs.append(out)
            E = jnp.sum(optax.losses.l2_loss(out, y))
            return E, (E, zs, xs)

        def make_layer(weight: jax.Array, one: jax.Array | None) -> eqx.nn.Linear:
            n_out, n_in = weight.shape
            layer = eqx.nn.Linear(n_in, n_out, use_bias=one is not None, dtype=weight.dtype, key=jax.random.key(0))
            layer = eqx.tree_at(lambda given: given.weight, layer, weight)
            return layer if one is None else eqx.tree_at(lambda given: given.bias, layer, one)

        @eqx.filter_jit
        def backpropagate(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            inside = biases if bias == "pre" else (None,) * len(weights)
            layers = tuple(map(make_layer, weights, inside))
            (by_layer, by_outside, k), answer = eqx.filter_grad(squared_error, has_aux=True)(
                (layers, biases, shifts), x, y
            )
            by_bias = [layer.bias for layer in by_layer] if bias == "pre" else by_outside
            return ([layer.weight for layer in by_layer], by_bias, k), answer

        return backpropagate
