"""thinc: dense layers that include their activation, with weights (out, in), and `L2Distance`. Float32 only."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import thinc
from thinc import api

from ...reference import Array, Parameters, Structure
from ..base import Adapter, Observation, Program
from ..layout import OUT_IN

LAYERS = {
    "identity": api.Linear,
    "sigmoid": api.Sigmoid,
    "relu": api.Relu,
    "relu6": partial(api.ReluK, k=6.0),
    "hardtanh": api.HardTanh,
    "hard_swish": api.HardSwishMobilenet,
    "silu": api.Swish,
    "gelu": api.Gelu,
    "mish": api.Mish,
}


class Thinc(Adapter):
    """A layer returns its own backward pass. It shows x_i; z_i and k_i stay inside the layer."""

    name = "thinc"
    version = thinc.__version__
    weight_layout = OUT_IN
    dtypes = ("f32",)
    activations = LAYERS
    biases = ("pre",)

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        makers: list[Any] = [LAYERS[name] for name in structure.network.activations]
        sizes = pairwise(structure.network.widths)
        layers = [make(nO=n_out, nI=n_in) for make, (n_in, n_out) in zip(makers, sizes, strict=True)]
        distance = api.L2Distance(normalize=False)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            xs, backward, out = [], [], np.array(x, order="C")
            for layer, weight, bias in zip(layers, parameters.weights, parameters.biases, strict=True):
                layer.set_param("W", np.array(weight, order="C"))
                layer.set_param("b", np.array(bias, order="C"))
                for name in layer.grad_names:
                    layer.set_grad(name, np.zeros_like(layer.get_param(name)))
                out, backpropagate = layer(out, is_train=True)
                xs.append(out.copy())
                backward.append(backpropagate)
            slope, error = distance(out, np.array(y, order="C"))
            for backpropagate in reversed(backward):
                slope = backpropagate(slope)
            by_weight, by_bias = (tuple(layer.get_grad(name).copy() for layer in layers) for name in "Wb")
            return Observation(xs[-1], np.asarray(error) / np.float32(2), by_weight, by_bias, x=tuple(xs))

        return program
