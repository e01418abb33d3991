"""Activations of Keras by the names of the activation table: functions of keras.activations, and layers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from ....reference.activations import name_with

FUNCTIONS: Mapping[str, str] = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": name_with("leaky_relu", {"slope": 0.2}),
    "elu": name_with("elu", {"alpha": 1.0}),
    "selu": "selu",
    "celu": name_with("celu", {"alpha": 1.0}),
    "softplus": "softplus",
    "softsign": "softsign",
    "soft_shrink": name_with("softshrink", {"threshold": 0.5}),
    "hard_shrink": name_with("hardshrink", {"threshold": 0.5}),
    "tanh_shrink": "tanhshrink",
    "squareplus": name_with("squareplus", {"b": 4.0}),
    "silu": "silu",
    "gelu": "gelu",
    "mish": "mish",
    "tanh": "tanh",
    "hard_tanh": "hardtanh",
    "sigmoid": "sigmoid",
    "log_sigmoid": "log_sigmoid",
    "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_swish",
}
"""For a function of keras.activations with its defaults: the name in the table. `gelu` is the exact one."""


def _relu(layer: Any) -> str | None:
    if layer.threshold:
        return None
    if layer.max_value is not None:
        return "relu6" if layer.max_value == 6 and not layer.negative_slope else None
    return _with("leaky_relu", slope=layer.negative_slope) if layer.negative_slope else "relu"


def _with(name: str, **parameters: Any) -> str | None:
    try:
        return name_with(name, {key: float(value) for key, value in parameters.items()})
    except (TypeError, ValueError):  # a value that the table has no row for
        return None


LAYERS: Mapping[type, Callable[[Any], str | None]] = {
    keras.layers.Activation: lambda layer: name_activation(layer.activation),
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: lambda layer: _with("leaky_relu", slope=layer.negative_slope),
    keras.layers.ELU: lambda layer: _with("elu", alpha=layer.alpha),
}
"""How the name of an activation layer is found. Subclasses may change what is computed: they are not recognised."""


def is_linear(activation: Any) -> bool:
    """Whether a layer has no activation: Keras has a function for that."""
    return activation is None or activation is keras.activations.linear


def name_activation(activation: Any) -> str | None:
    """The name of a function or a layer, or None if it is none of the table."""
    if (find := LAYERS.get(type(activation))) is not None:
        return find(activation)
    name = getattr(activation, "__name__", "")
    return FUNCTIONS.get(name) if getattr(keras.activations, name, None) is activation else None


def describe_activation(activation: Any) -> str:
    """An activation in words, for a note."""
    return str(getattr(activation, "__name__", None) or type(activation).__name__)
