"""Keras 3 on PyTorch: `Dense` layers, and PyTorch's `backward()`."""

import os
from typing import Any

from ..shared.keras_shared import make_activations, make_layers, make_loss
from ..shared.tensors import IN_OUT, Function, Limits, Structure
from ..shared.torch_shared import TorchAdapter

os.environ["KERAS_BACKEND"] = "torch"

import keras


class KerasTorch(TorchAdapter):
    """k_i is the retained gradient of z_i. Dense layers multiply in float32, for float64 too."""

    name, version = "keras-torch", keras.__version__
    weight_layout = IN_OUT
    activations = make_activations(keras, "torch")
    dtypes = ("f32",)
    limits = Limits(least_batch=1)  # the loss of an empty batch is no scalar

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        layers, loss = make_layers(keras, structure), make_loss(keras, structure)

        def backpropagate(weights: Any, biases: Any, _: Any, x: Any, y: Any) -> tuple:
            def run_layer(i: int, x: Any) -> Any:
                z = layers[i](x)
                z.retain_grad()
                return z

            for i, layer in enumerate(layers):
                layer.set_weights([weights[i], biases[i]] if inside else [weights[i]])
                layer.zero_grad()
            outside = [bias.requires_grad_() for bias in biases]
            zs, xs = forward(run_layer, outside, x)
            E = loss(xs[-1], y)
            E.backward()
            by_bias = [layer.bias.value.grad for layer in layers] if inside else [bias.grad for bias in outside]
            return ([layer.kernel.value.grad for layer in layers], by_bias, [z.grad for z in zs]), (E, zs, xs)

        return backpropagate
