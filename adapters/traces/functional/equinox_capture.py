"""Capture of models of equinox: eqx.nn.Linear, alone or under jax.vmap."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..errors import TraceError
from ..recording import may_hold_matrices
from .block import FunctionalCapture, name_leaves, name_path, refuse_dense
from .step import Kind, Model, Place


def capture_equinox(
    model: Any, to: str | os.PathLike[str] | None = None, dense: Sequence[str] = ()
) -> FunctionalCapture:
    """Record the steps of an eqx.Module. Raises TraceError, as `FunctionalCapture` does.

    A model of equinox never changes: after an update give the new one to `end_step(gradients, model)`.
    """
    if not isinstance(model, eqx.Module):
        raise TraceError(f"capture: {type(model).__name__} is no eqx.Module; give the model itself")
    refuse_dense(dense)
    version = f"{eqx.__version__}, jax {jax.__version__}"
    layers = {(eqx.nn.Linear, "__call__"): _describe_linear}
    return FunctionalCapture(
        model, to, _read_model, name_leaves, layers, framework="equinox", framework_version=version
    )


def _read_model(model: Any) -> Model:
    leaves = jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda one: isinstance(one, eqx.nn.Linear))[0]
    places = list[Place]()
    for path, layer in leaves:
        if isinstance(layer, eqx.nn.Linear) and isinstance(layer.weight, jax.Array | np.ndarray):
            name = name_path(path)
            start = f"{name}." if name else ""
            bias = None if layer.bias is None else f"{start}bias"
            places.append(Place(name or "model", f"{start}weight", bias, type(layer).__name__, "out_in"))
    arrays = name_leaves(model)
    known = {name for place in places for name in (place.weight, place.bias)} | set(map(name_path, _find_others(model)))
    matrices = [name for name, one in arrays.items() if may_hold_matrices(one.shape) and name not in known]
    return Model(arrays, places, matrices=matrices)


def _find_others(model: Any) -> Iterator[Any]:
    """The paths of kernels of convolutions and of tables."""
    owners = eqx.nn.Conv, eqx.nn.ConvTranspose, eqx.nn.Embedding
    for path, layer in jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda one: isinstance(one, owners))[0]:
        if isinstance(layer, owners):
            yield from ((*path, *inner) for inner, _ in jax.tree_util.tree_flatten_with_path(layer)[0])


def _describe_linear(layer: Any, x: Any) -> tuple[Kind, Any, Any] | None:
    if layer.in_features == "scalar" or layer.out_features == "scalar" or x.ndim != 1:
        return None
    return Kind(layout="out_in", dtype=str(jax.numpy.result_type(x, layer.weight))), layer.weight, layer.bias
