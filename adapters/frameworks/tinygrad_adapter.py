"""tinygrad: `nn.Linear` layers, whose weights are (out, in), and `Tensor.gradient`. tinygrad compiles with clang."""

from functools import partial
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from tinygrad import Tensor
from tinygrad.nn import Linear

from .shared.tensors import OUT_IN, Function, Structure, TensorAdapter, differentiate, functions_of


class Tinygrad(TensorAdapter):
    """k_i is the gradient with respect to z_i itself."""

    name, version = "tinygrad", version("tinygrad")
    weight_layout, max_structures = OUT_IN, 40
    activations = functions_of(
        Tensor,
        "sigmoid tanh relu relu6 hardtanh elu celu softplus softsign silu mish sin",
        leaky_relu=lambda z, slope: z.leaky_relu(slope),
        hard_sigmoid=Tensor.hardsigmoid,
        hard_swish=Tensor.hardswish,
        gelu_tanh=Tensor.gelu,
        log_sigmoid=Tensor.logsigmoid,
        tanhshrink=lambda z: z - z.tanh(),
    )
    to_tensor = staticmethod(partial(Tensor, device="CPU"))
    to_array = staticmethod(Tensor.numpy)

    def make_backpropagate(self, structure: Structure) -> Function:
        forward, inside = self.make_forward(structure), structure.network.bias == "pre"
        layers = [Linear(n_in, n_out, bias=inside) for n_in, n_out in pairwise(structure.network.widths)]

        def backpropagate(weights: Any, biases: Any, _: Any, x: Tensor, y: Tensor) -> tuple:
            for i, layer in enumerate(layers):
                layer.weight, layer.bias = weights[i], biases[i] if inside else None
            zs, xs = forward(lambda i, x: layers[i](x), biases, x)
            E = (xs[-1] - y).square().sum() / 2
            gradients = differentiate(lambda asked: E.gradient(*asked), weights, biases, zs)
            Tensor.realize(E, *(one for some in (*gradients, zs, xs) for one in some))
            return gradients, (E, zs, xs)

        return backpropagate
