"""thinc: dense layers that include their activation, with weights (out, in), and `L2Distance`. Float32 only."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import thinc
from thinc import api

from .shared.tensors import OUT_IN, Function, Structure, TensorAdapter, functions_of


class Thinc(TensorAdapter):
    """A layer returns its own backward pass. It shows x_i; z_i and k_i stay inside the layer."""

    name, version = "thinc", thinc.__version__
    weight_layout, dtypes, biases = OUT_IN, ("f32",), ("pre",)
    activations = functions_of(
        api,
        "",
        identity=api.Linear,
        sigmoid=api.Sigmoid,
        relu=api.Relu,
        relu6=partial(api.ReluK, k=6.0),
        hardtanh=api.HardTanh,
        hard_swish=api.HardSwishMobilenet,
        silu=api.Swish,
        gelu=api.Gelu,
        mish=api.Mish,
    )

    def make_backpropagate(self, structure: Structure) -> Function:
        layers: list[Any] = [
            self.activations[name](nO=n_out, nI=n_in)
            for name, (n_in, n_out) in zip(
                structure.network.activations, pairwise(structure.network.widths), strict=True
            )
        ]
        distance = api.L2Distance(normalize=False)

        def backpropagate(weights: Any, biases: Any, _: Any, x: Any, y: Any) -> tuple:
            xs, backward = [x], []
            for layer, *numbers in zip(layers, weights, biases, strict=True):
                for name, array in zip("Wb", numbers, strict=True):
                    layer.set_param(name, array)
                    layer.set_grad(name, np.zeros_like(array))
                out, back = layer(xs[-1], is_train=True)
                xs.append(out.copy())
                backward.append(back)
            slope, distances = distance(xs[-1], y)
            for back in reversed(backward):
                slope = back(slope)
            by_weight, by_bias = ([layer.get_grad(name) for layer in layers] for name in "Wb")
            return (by_weight, by_bias, None), (distances / np.float32(2), None, xs[1:])

        return backpropagate
