"""MLX: `nn.Linear` layers, whose weights are (out, in), and `mx.grad` of a function of arrays, on the CPU."""

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import mlx.core as mx
from mlx import nn

from .shared.tensors import OUT_IN, Function, Structure, TensorAdapter, functions_of


class Mlx(TensorAdapter):
    """k_i is the gradient with respect to zeros that are added to z_i. MLX's float64 works on the CPU alone."""

    name, version = "mlx", version("mlx")
    weight_layout, dtypes = OUT_IN, ("f32",)
    activations = functions_of(
        nn,
        "sigmoid tanh relu relu6 elu selu celu softplus softsign silu gelu mish log_sigmoid",
        leaky_relu=lambda z, slope: nn.leaky_relu(z, negative_slope=slope),
        hardtanh=nn.hard_tanh,
        hard_swish=nn.hardswish,
        gelu_tanh=nn.gelu_approx,
        tanhshrink=lambda z: z - mx.tanh(z),
        softshrink=lambda z, threshold: nn.softshrink(z, lambd=threshold),
        squareplus=lambda z, b: (z + mx.sqrt(z * z + b)) / 2,
        sin=mx.sin,
    )
    to_tensor = staticmethod(mx.array)

    def make_backpropagate(self, structure: Structure) -> Function:
        mx.set_default_device(mx.cpu)
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        layers = [nn.Linear(n_in, n_out, bias=inside) for n_in, n_out in pairwise(structure.network.widths)]

        def squared_error(weights: Any, biases: Any, shifts: Any, x: mx.array, y: mx.array) -> tuple:
            for i, layer in enumerate(layers):
                layer.update({"weight": weights[i], "bias": biases[i]} if inside else {"weight": weights[i]})
            zs, xs = forward(lambda i, x: layers[i](x) + shifts[i], biases, x)
            return nn.losses.mse_loss(xs[-1], y, reduction="sum") / 2, zs, xs

        gradients = mx.value_and_grad(squared_error, argnums=(0, 1, 2))
        return lambda *given: gradients(*given)[::-1]
