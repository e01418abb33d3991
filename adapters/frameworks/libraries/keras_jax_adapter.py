"""Keras 3 on JAX: `Dense` layers, called without state and differentiated with `jax.grad`."""

import os

import jax

from ..shared.jax_shared import Arrays, JaxAdapter
from ..shared.keras_shared import make_activations, make_layers, make_loss
from ..shared.tensors import Function, Limits, Structure

os.environ["KERAS_BACKEND"] = "jax"

import keras


class KerasJax(JaxAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i.

    Keras computes much in float32 for float64 too, so that it is not declared.
    """

    name, version = "keras-jax", keras.__version__
    activations = make_activations(keras, "jax")
    dtypes = ("f32",)
    limits = Limits(least_batch=1)  # the loss of an empty batch is no scalar

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        layers, loss = make_layers(keras, structure), make_loss(keras, structure)

        def squared_error(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            def layer(i: int, x: jax.Array) -> jax.Array:
                numbers = [weights[i], biases[i]] if inside else [weights[i]]
                return layers[i].stateless_call(numbers, [], x)[0] + shifts[i]

            zs, xs = forward(layer, biases, x)
            E = loss(xs[-1], y)
            return E, (E, zs, xs)

        return jax.jit(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True))
