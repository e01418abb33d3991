"""TensorFlow: `tf.GradientTape` inside `tf.function`, with the functions of `tf.nn`, among them its loss `l2_loss`."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program

Tensors = Sequence[tf.Tensor]

ACTIVATIONS = {
    "identity": tf.identity,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "relu": tf.nn.relu,
    "leaky_relu": lambda z, slope: tf.nn.leaky_relu(z, alpha=slope),
    "relu6": tf.nn.relu6,
    "hardtanh": lambda z: tf.clip_by_value(z, -1, 1),
    "elu": lambda z, alpha: tf.nn.elu(z),  # it has an alpha of 1, as the suite asks
    "selu": tf.nn.selu,
    "softplus": tf.nn.softplus,
    "softsign": tf.nn.softsign,
    "silu": tf.nn.silu,
    "gelu": lambda z: tf.nn.gelu(z, approximate=False),
    "gelu_tanh": lambda z: tf.nn.gelu(z, approximate=True),
    "log_sigmoid": tf.math.log_sigmoid,
    "tanhshrink": lambda z: z - tf.nn.tanh(z),
    "squareplus": lambda z, b: (z + tf.sqrt(z * z + b)) / 2,
    "sin": tf.sin,
}


class TensorFlow(Adapter):
    """The function is traced once for a structure. k_i is the gradient with respect to z_i itself."""

    name = "tensorflow"
    version = tf.__version__
    activations = ACTIVATIONS

    def build(self, structure: Structure) -> Program:
        functions, bias = self.functions(structure), structure.network.bias

        @tf.function
        def backpropagate(weights: Tensors, biases: Tensors, x: tf.Tensor, y: tf.Tensor) -> tuple:
            zs, xs, out = [], [], x
            with tf.GradientTape() as tape:
                tape.watch([*weights, *biases])
                for i, function in enumerate(functions):
                    z = tf.matmul(out, weights[i])
                    zs.append(tf.nn.bias_add(z, biases[i]) if bias == "pre" else z)
                    out = function(zs[-1])
                    if bias == "post":
                        out = tf.nn.bias_add(out, biases[i])
                    xs.append(out)
                E = tf.nn.l2_loss(out - y)
            return E, tape.gradient(E, [list(weights), list(biases), zs]), zs, xs

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights, biases = ([_to_tensor(a) for a in part] for part in (parameters.weights, parameters.biases))
            E, gradients, zs, xs = backpropagate(weights, biases, _to_tensor(x), _to_tensor(y))
            by_weight, by_bias, k, z, x_i = (tuple(np.array(t) for t in some) for some in (*gradients, zs, xs))
            return Observation(x_i[-1], np.array(E), by_weight, by_bias, z=z, x=x_i, k=k)

        return program


def _to_tensor(array: Array) -> tf.Tensor:
    return tf.constant(np.array(array, order="C"))
