"""Keras 3 on JAX: `Dense` layers, called without state and differentiated with `jax.grad`."""

import os

import jax

from ....reference import Structure
from ...base import Adapter, Function
from ...jax_adapter import Arrays, Jax, set_precision
from ._keras_shared import make_activations, make_layers

os.environ["KERAS_BACKEND"] = "jax"

import keras

ACTIVATIONS = make_activations(keras, "jax")


class KerasJax(Jax):
    """k_i is the gradient with respect to zeros that are added to z_i. The loss is Keras's, as a sum over rows."""

    name = "keras-jax"
    version = keras.__version__
    activations = ACTIVATIONS
    dtypes = ("f64", "f32")
    script = Adapter.script

    def make_backpropagate(self, structure: Structure) -> Function:
        functions, bias = self.functions(structure), structure.network.bias
        with set_precision(structure.dtype == "f64"):
            layers = make_layers(keras, structure)

        def squared_error(weights: Arrays, biases: Arrays, shifts: Arrays, x: jax.Array, y: jax.Array) -> tuple:
            keras.config.set_floatx(structure.format.numpy.name)  # tanh and sin round to it, whatever they are given
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                inside = [weights[i], biases[i]] if bias == "pre" else [weights[i]]
                z, _ = layers[i].stateless_call(inside, [], out)
                zs.append(z + shifts[i])
                out = function(zs[-1]) + (biases[i] if bias == "post" else 0)
                xs.append(out)
            E = keras.ops.sum(keras.ops.square(out - y)) / 2
            return E, (E, zs, xs)

        return jax.jit(jax.grad(squared_error, argnums=(0, 1, 2), has_aux=True))
