"""Capture of models of flax nnx: nnx.Linear; nnx.LinearGeneral, the layers inside nnx.MultiHeadAttention; and
nnx.Embed.attend, a last layer whose weight is the table.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import jax
from flax import nnx
from flax.nnx.nn import dtypes

from ....reference import Array
from ..errors import TraceError
from ..recording import may_hold_matrices
from .block import FunctionalCapture, name_leaves, refuse_dense
from .step import LOOKUPS, Kind, Model, Place

_NOT_DENSE = nnx.Conv, nnx.ConvTranspose, nnx.Embed


def capture_nnx(model: Any, to: str | os.PathLike[str] | None = None, dense: Sequence[str] = ()) -> FunctionalCapture:
    """Record the steps of an nnx.Module. Raises TraceError, as `FunctionalCapture` does."""
    if not isinstance(model, nnx.Module):
        raise TraceError(f"capture: {type(model).__name__} is no nnx.Module; give the model itself")
    layers = {
        (nnx.Linear, "__call__"): _describe_linear,
        (nnx.LinearGeneral, "__call__"): _describe_general,
        (nnx.Embed, "attend"): _describe_tied,
    }
    refuse_dense(dense)
    version = f"{flax.__version__}, jax {jax.__version__}"
    return FunctionalCapture(model, to, _read_model, _read_arrays, layers, framework="flax", framework_version=version)


def _read_model(model: Any) -> Model:
    arrays, places, others = _read_arrays(nnx.state(model, nnx.Param)), list[Place](), dict[str, str]()
    matrices = {name for name, array in arrays.items() if may_hold_matrices(array.shape)}
    for path, module in nnx.iter_graph(model):
        name = ".".join(str(one) for one in path)
        start = f"{name}." if name else ""
        if isinstance(module, _NOT_DENSE):
            matrices -= {f"{start}kernel", f"{start}embedding"}
        if isinstance(module, nnx.Embed) and f"{start}embedding" in arrays:
            places.append(Place(name or "model", f"{start}embedding", None, type(module).__name__, "out_in", "lookup"))
            others[f"{start}embedding"] = LOOKUPS
        if not isinstance(module, nnx.Linear | nnx.LinearGeneral):
            continue
        if f"{start}kernel" not in arrays or (module.bias is not None and f"{start}bias" not in arrays):
            continue  # shared with another layer, which has its name
        bias = None if module.bias is None else f"{start}bias"
        places.append(Place(name or "model", f"{start}kernel", bias, type(module).__name__))
    return Model(
        arrays, places, others, sorted(matrices - {name for place in places for name in (place.weight, place.bias)})
    )


def _read_arrays(state: Any) -> Mapping[str, Array]:
    return name_leaves(nnx.to_pure_dict(state) if isinstance(state, nnx.State) else state)


def _describe_linear(layer: Any, x: Any) -> tuple[Kind, Any, Any] | None:
    if x.ndim < 1 or layer.preferred_element_type is not None:
        return None
    bias = None if layer.bias is None else layer.bias[...]
    return Kind(dtype=_name_dtype(layer, x)), layer.kernel[...], bias


def _describe_general(layer: Any, x: Any) -> tuple[Kind, Any, Any] | None:
    inputs = len(layer.in_features)
    axes = tuple(axis % x.ndim for axis in layer.axis) if x.ndim >= inputs else ()
    if layer.batch_axis or layer.preferred_element_type is not None or axes != tuple(range(x.ndim - inputs, x.ndim)):
        return None
    kind = Kind(inputs, len(layer.out_features), dtype=_name_dtype(layer, x))
    return kind, layer.kernel[...], None if layer.bias is None else layer.bias[...]


def _describe_tied(layer: Any, x: Any) -> tuple[Kind, Any, Any] | None:
    """The product of `attend`, which takes a table as the weight of the last layer."""
    if x.ndim < 1 or layer.promote_dtype is not dtypes.promote_dtype:
        return None
    return Kind(layout="out_in", dtype=str(jax.numpy.dtype(layer.dtype))), layer.embedding[...], None


def _name_dtype(layer: Any, x: Any) -> str:
    """The dtype that the layer computes in: its own, else that which its arrays are promoted to."""
    return str(jax.numpy.dtype(layer.dtype or jax.numpy.result_type(x, layer.kernel[...])))
