"""TensorFlow: `tf.GradientTape` inside `tf.function`, with the functions of `tf.nn`, among them its loss `l2_loss`."""

from typing import Any

import tensorflow as tf

from .shared.tensors import Function, Structure, TensorAdapter, functions_of


class TensorFlow(TensorAdapter):
    """The function is traced once for a structure. k_i is the gradient with respect to z_i itself."""

    name, version, fixed_parameters = "tensorflow", tf.__version__, {"elu": {"alpha": 1.0}}
    activations = functions_of(
        tf.nn,
        "sigmoid tanh relu relu6 selu softplus softsign silu",
        leaky_relu=lambda z, slope: tf.nn.leaky_relu(z, alpha=slope),
        hardtanh=lambda z: tf.clip_by_value(z, -1, 1),
        elu=lambda z, alpha: tf.nn.elu(z),  # it has an alpha of 1
        gelu=lambda z: tf.nn.gelu(z, approximate=False),
        gelu_tanh=lambda z: tf.nn.gelu(z, approximate=True),
        log_sigmoid=tf.math.log_sigmoid,
        tanhshrink=lambda z: z - tf.nn.tanh(z),
        squareplus=lambda z, b: (z + tf.sqrt(z * z + b)) / 2,
        sin=tf.sin,
    )
    to_tensor = staticmethod(tf.constant)

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"

        @tf.function
        def backpropagate(weights: Any, biases: Any, shifts: Any, x: tf.Tensor, y: tf.Tensor) -> tuple:
            def layer(i: int, x: tf.Tensor) -> tf.Tensor:
                z = tf.matmul(x, weights[i])
                return tf.nn.bias_add(z, biases[i]) if inside else z

            with tf.GradientTape() as tape:
                tape.watch([*weights, *biases])
                zs, xs = forward(layer, biases, x)
                E = tf.nn.l2_loss(xs[-1] - y)
            return tape.gradient(E, (weights, biases, zs)), (E, zs, xs)

        return backpropagate
