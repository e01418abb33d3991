"""What the Keras adapters share: the check of the backend, the activations, layers and loss of a structure."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ....reference import Structure
from ...base import Function
from .tensors import functions_of


def require_backend(keras: Any, backend: str) -> None:
    """Raise RuntimeError if this process has Keras on another backend: it cannot change."""
    if keras.backend.backend() != backend:
        raise RuntimeError(f"Keras runs on {keras.backend.backend()} in this process; check {backend} in another one")


def make_activations(keras: Any, backend: str) -> dict[str, Function]:
    """Keras's own activations by canonical name. Raises RuntimeError as `require_backend` does."""
    require_backend(keras, backend)
    a = keras.activations
    return functions_of(
        a,
        "sigmoid tanh relu relu6 hard_sigmoid elu selu celu softplus softsign silu mish log_sigmoid squareplus",
        identity=a.linear,
        leaky_relu=lambda z, slope: a.leaky_relu(z, negative_slope=slope),
        hardtanh=a.hard_tanh,
        hard_swish=a.hard_swish,
        gelu=lambda z: a.gelu(z, approximate=False),
        gelu_tanh=lambda z: a.gelu(z, approximate=True),
        tanhshrink=a.tanh_shrink,
        softshrink=a.soft_shrink,
        hardshrink=a.hard_shrink,
        sin=keras.ops.sin,
    )


def make_layers(keras: Any, structure: Structure) -> list[Any]:
    """A built `Dense` layer for each layer of a structure, without its activation."""
    inside, dtype = structure.network.bias == "pre", structure.format.numpy.name
    layers = []
    for n_in, n_out in pairwise(structure.network.widths):
        layers.append(keras.layers.Dense(n_out, use_bias=inside, dtype=dtype))
        layers[-1].build((None, n_in))
    return layers


def make_loss(keras: Any, structure: Structure) -> Callable[[Any, Any], Any]:
    """E by Keras's own loss. That is a mean over the last axis, which gets the length 1, and then a sum."""
    loss = keras.losses.MeanSquaredError(reduction="sum", dtype=structure.format.numpy.name)
    return lambda out, y: loss(*(keras.ops.reshape(one, (-1, 1)) for one in (y, out))) / 2
