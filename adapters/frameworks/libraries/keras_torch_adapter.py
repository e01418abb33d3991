"""Keras 3 on PyTorch: `Dense` layers, and PyTorch's `backward()`."""

import os

from ....reference import Array, Parameters, Structure
from ..._torch_shared import TorchAdapter, to_array, to_arrays, to_tensor
from ...base import Adapter, Observation, Program
from ...layout import IN_OUT
from ._keras_shared import make_activations, make_layers

os.environ["KERAS_BACKEND"] = "torch"

import keras

ACTIVATIONS = make_activations(keras, "torch")


class KerasTorch(TorchAdapter):
    """Layers are made once for a structure and loaded for each draw. k_i is the retained gradient of z_i."""

    name = "keras-torch"
    version = keras.__version__
    weight_layout = IN_OUT
    activations = ACTIVATIONS
    dtypes = ("f64", "f32")
    script = Adapter.script

    def build(self, structure: Structure) -> Program:
        functions, bias = self.functions(structure), structure.network.bias
        layers = make_layers(keras, structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            keras.config.set_floatx(structure.format.numpy.name)  # layers cast their inputs to it
            given = [to_tensor(array, self.device) for array in parameters.biases]
            outside = [tensor.requires_grad_() for tensor in given]
            zs, xs, out = [], [], to_tensor(x, self.device)
            for i, layer in enumerate(layers):
                layer.kernel.assign(parameters.weights[i])
                if bias == "pre":
                    layer.bias.assign(parameters.biases[i])
                layer.zero_grad()
                zs.append(layer(out))
                zs[-1].retain_grad()
                out = functions[i](zs[-1]) + (outside[i] if bias == "post" else 0)
                xs.append(out)
            E = keras.ops.sum(keras.ops.square(out - to_tensor(y, self.device))) / 2
            E.backward()
            inside = [layer.bias.value for layer in layers] if bias == "pre" else outside
            return Observation(
                outputs=to_array(out),
                error=to_array(E),
                weight_gradients=to_arrays(layer.kernel.value.grad for layer in layers),
                bias_gradients=to_arrays(one.grad for one in inside),
                z=to_arrays(zs),
                x=to_arrays(xs),
                k=to_arrays(z.grad for z in zs),
            )

        return program
