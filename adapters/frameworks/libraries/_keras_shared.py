"""What the Keras adapters share: the check of the backend, the activation table, and layers with given numbers."""

from itertools import pairwise
from typing import Any

from ....reference import Structure


def require_backend(keras: Any, backend: str) -> None:
    """Raise RuntimeError if this process has Keras on another backend: it cannot change."""
    if keras.backend.backend() != backend:
        raise RuntimeError(f"Keras runs on {keras.backend.backend()} in this process; check {backend} in another one")


def make_activations(keras: Any, backend: str) -> dict[str, Any]:
    """Keras's own activations by canonical name. Raises RuntimeError as `require_backend` does."""
    require_backend(keras, backend)
    a = keras.activations
    return {
        "identity": a.linear,
        "sigmoid": a.sigmoid,
        "tanh": a.tanh,
        "relu": a.relu,
        "leaky_relu": lambda z, slope: a.leaky_relu(z, negative_slope=slope),
        "relu6": a.relu6,
        "hardtanh": a.hard_tanh,
        "hard_sigmoid": a.hard_sigmoid,
        "hard_swish": a.hard_swish,
        "elu": a.elu,
        "selu": a.selu,
        "celu": a.celu,
        "softplus": a.softplus,
        "softsign": a.softsign,
        "silu": a.silu,
        "gelu": lambda z: a.gelu(z, approximate=False),
        "gelu_tanh": lambda z: a.gelu(z, approximate=True),
        "mish": a.mish,
        "log_sigmoid": a.log_sigmoid,
        "tanhshrink": a.tanh_shrink,
        "softshrink": a.soft_shrink,
        "hardshrink": a.hard_shrink,
        "squareplus": a.squareplus,
        "sin": keras.ops.sin,
    }


def make_layers(keras: Any, structure: Structure) -> list[Any]:
    """A built `Dense` layer for each layer of a structure, without its activation."""
    inside, dtype = structure.network.bias == "pre", structure.format.numpy.name
    layers = []
    for n_in, n_out in pairwise(structure.network.widths):
        layers.append(keras.layers.Dense(n_out, use_bias=inside, dtype=dtype))
        layers[-1].build((None, n_in))
    return layers
