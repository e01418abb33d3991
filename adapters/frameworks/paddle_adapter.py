"""PaddlePaddle: `nn.Linear` layers, whose weights are (in, out), `mse_loss` and `paddle.grad`."""

from functools import partial
from itertools import pairwise
from typing import Any

import paddle
import paddle.nn.functional as F

from .shared.tensors import Function, Limits, Structure, TensorAdapter, differentiate, functions_of


class Paddle(TensorAdapter):
    """k_i is the gradient with respect to z_i itself. Paddle raises for gradients of an empty batch."""

    name, version = "paddle", paddle.__version__
    activations = functions_of(
        F,
        "sigmoid tanh relu relu6 elu selu celu softplus softsign silu mish log_sigmoid tanhshrink softshrink",
        leaky_relu=lambda z, slope: F.leaky_relu(z, negative_slope=slope),
        hardshrink=F.hardshrink,
        hardtanh=F.hardtanh,
        hard_sigmoid=lambda z: F.hardsigmoid(z, slope=1 / 6, offset=0.5),
        hard_swish=F.hardswish,
        gelu=lambda z: F.gelu(z, approximate=False),
        gelu_tanh=lambda z: F.gelu(z, approximate=True),
        squareplus=lambda z, b: (z + paddle.sqrt(z * z + b)) / 2,
        sin=paddle.sin,
    )
    limits = Limits(least_batch=1)
    to_tensor = staticmethod(partial(paddle.to_tensor, stop_gradient=False))

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        paddle.set_device(self.device)
        paddle.set_default_dtype(structure.format.numpy.name)
        bias_attr = None if inside else False
        layers: list[Any] = [
            paddle.nn.Linear(*sizes, bias_attr=bias_attr) for sizes in pairwise(structure.network.widths)
        ]

        def backpropagate(weights: Any, biases: Any, _: Any, x: Any, y: Any) -> tuple:
            for i, layer in enumerate(layers):
                layer.weight.set_value(weights[i])
                if inside:
                    layer.bias.set_value(biases[i])
            zs, xs = forward(lambda i, x: layers[i](x), biases, x)
            E = F.mse_loss(xs[-1], y, reduction="sum") / 2
            asked = [layer.weight for layer in layers], [layer.bias for layer in layers] if inside else biases, zs
            return differentiate(lambda them: paddle.grad(E, them), *asked), (E, zs, xs)

        return backpropagate
