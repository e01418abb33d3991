"""Capture of Keras models, by the backend that Keras computes with in this process."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import keras

from ..errors import TraceError

_BACKENDS = {"torch": "TorchKerasCapture", "jax": "JaxKerasCapture"}


def capture_keras(model: Any, to: str | os.PathLike[str] | None = None, dense: Sequence[str] = ()) -> Any:
    """Record the steps of a Keras model. `dense` are patterns of paths of layers that are dense layers though they
    compute by a `call` of their own, such as ["block_*/up"]: each has a variable `kernel`, (inputs, outputs), and may
    have a `bias`.

    Returns a `TorchKerasCapture` or a `JaxKerasCapture`. Raises TraceError for other backends, for a model that is not
    built or has no dense layer, and for a pattern that matches none.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TraceError(f"capture: {type(model).__name__} is no Keras model or layer; give the model itself")
    backend = keras.backend.backend()
    if backend not in _BACKENDS:
        known = " and ".join(_BACKENDS)
        raise TraceError(f"capture: Keras runs on {backend}; its models are captured on {known} (KERAS_BACKEND)")
    made = import_module(f".{backend}_capture", __package__)
    return getattr(made, _BACKENDS[backend])(model, to, dense)
