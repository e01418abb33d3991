"""One training step of a model of JAX: calls that the host saw become layers and parameters of a trace.

A compiled function is given arrays, not modules. So a call is given its name by the weight that it read: that of the
one dense layer whose weight and bias have these very bits when the step ends.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....reference import Array
from ..container import FORMATS
from ..manifest import Activation, Call, Layer, Layout, Parameter, Products
from ..trace import TraceBuilder
from .taps import SeenCall

_DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Place:
    """A dense layer of a model: its name, the names of its weight and bias, and how the weight lies."""

    name: str
    weight: str
    bias: str | None
    type: str
    layout: Layout = "in_out"


@dataclass(frozen=True)
class Kind:
    """What is known of a call when it is traced: how many axes of its input and output are features, and its dtype.

    `dtype` is the name of the dtype that the layer computes in, None where that is the dtype of its arrays. `place` is
    the name of the layer, where that is known. `is_alone` says that nothing but an activation reads the output.
    """

    inputs: int = 1
    outputs: int = 1
    layout: Layout = "in_out"
    dtype: str | None = None
    place: str = ""
    is_alone: bool = False


@dataclass(frozen=True)
class Model:
    """The arrays of a model by name, and its dense layers. `others` says of a parameter what else its gradient may
    hold.
    """

    arrays: Mapping[str, Array]
    places: Sequence[Place]
    others: Mapping[str, str] = field(default_factory=dict)


def record_step(
    builder: TraceBuilder,
    calls: Mapping[int, SeenCall],
    model: Model,
    gradients: Mapping[str, Array],
    more: Mapping[str, int] | None = None,
) -> None:
    """End a step of the trace with the calls that a backward pass reached. `more` are notes, each with how often it
    holds. Raises TraceError.
    """
    notes, named = Counter[str](more), dict[str, list[SeenCall]]()
    owners = _find_owners(model)
    for number in sorted(calls):
        seen = calls[number]
        if "output_gradient" not in seen.arrays or "output" not in seen.arrays:
            continue  # no backward pass reached it, or a checkpoint ran it again
        if why := _why_not(seen):
            notes[f"a call was not captured: {why}"] += 1
            continue
        if seen.kind.place:
            named.setdefault(seen.kind.place, []).append(seen)
            continue
        found = owners.get(_digest(seen.weight, seen.bias), [])
        if len(found) != 1:
            which = " and ".join(place.name for place in found)
            why = (
                f"{which} have the same weight, so its layer is not known"
                if found
                else "its weight is none of the model"
            )
            notes[f"a call was not captured: {why}"] += 1
            continue
        named.setdefault(found[0].name, []).append(seen)
    places = {place.name: place for place in model.places}
    layers = [_put_layer(builder, places[name], seen) for name, seen in named.items()]
    for place in model.places:
        if place.name not in named and place.weight in gradients:
            notes[f"{place.weight}: has a gradient, and no call of a dense layer with it was captured"] += 1
    lost = any(note.startswith("a call") for note in notes)
    parameters = [
        _put_parameter(builder, name, axes, gradients.get(name), lost, model.others.get(name, ""))
        for name, axes in _list_parameters(places, named).items()
    ]
    said = [note if count == 1 else f"{note} ({count} times)" for note, count in notes.items()]
    builder.end_step(layers, parameters, said)


def _find_owners(model: Model) -> Mapping[bytes, list[Place]]:
    owners = dict[bytes, list[Place]]()
    for place in model.places:
        if place.weight not in model.arrays:
            continue  # calls of it say so themselves
        bias = None if place.bias is None else model.arrays[place.bias]
        owners.setdefault(_digest(model.arrays[place.weight], bias), []).append(place)
    return owners


def _digest(weight: Array, bias: Array | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for one in (weight, bias):
        if one is not None:
            digest.update(f"{one.shape} {one.dtype}".encode())
            digest.update(np.ascontiguousarray(one).view(np.uint8).data if one.size else b"")
    return digest.digest()


def _why_not(seen: SeenCall) -> str:
    """Why a call cannot be given as (N, inputs) and (N, outputs) arrays; empty if it can."""
    kind, x, z = seen.kind, seen.input, seen.arrays["output"]
    k, dx = seen.arrays["output_gradient"], seen.arrays.get("input_gradient")
    if seen.weight.ndim != kind.inputs + kind.outputs:
        return "its weight differs along the batch of a vmap"
    if k.shape != z.shape or (dx is not None and dx.shape != x.shape):
        return "the gradient by its output has an axis that the output lacks"
    if x.shape[: x.ndim - kind.inputs] != z.shape[: z.ndim - kind.outputs]:
        return "its input and its output have other leading axes"
    if any(one.dtype not in FORMATS.values() for one in (x, z, k, seen.weight)):
        return f"it computes with {x.dtype}"
    return ""


def _put_layer(builder: TraceBuilder, place: Place, calls: Sequence[SeenCall]) -> Layer:
    weights = dict[bytes, tuple[str, str | None]]()
    put = [_put_call(builder, place, seen, weights) for seen in calls]
    return Layer(
        name=place.name, weight=place.weight, bias=place.bias, layout=place.layout, type=place.type, calls=tuple(put)
    )


def _put_call(
    builder: TraceBuilder, place: Place, seen: SeenCall, weights: dict[bytes, tuple[str, str | None]]
) -> Call:
    kind, name = seen.kind, place.name
    key = _digest(seen.weight, seen.bias)
    if key not in weights:
        bias = None if seen.bias is None else builder.put(f"{place.bias}", seen.bias.reshape(-1))
        weights[key] = builder.put(place.weight, _as_matrix(seen.weight, kind.inputs, kind.layout)), bias
    weight, bias = weights[key]
    dx = seen.arrays.get("input_gradient")
    axes = seen.input.shape[: seen.input.ndim - kind.inputs]
    return Call(
        weight=weight,
        bias=bias,
        input=builder.put(f"{name}.x", _as_rows(seen.input, kind.inputs)),
        output=builder.put(f"{name}.z", _as_rows(seen.arrays["output"], kind.outputs)),
        output_gradient=builder.put(f"{name}.k", _as_rows(seen.arrays["output_gradient"], kind.outputs)),
        input_gradient=None if dx is None else builder.put(f"{name}.dx", _as_rows(dx, kind.inputs)),
        axes=axes,
        products=_name_products(seen),
        activation=_put_activation(builder, name, seen),
    )


def _put_activation(builder: TraceBuilder, name: str, seen: SeenCall) -> Activation | None:
    """The activation behind a call, if a backward pass came through it and its shapes are those of the output. Where
    nothing else reads the output, what it gave back is dL/dz itself.
    """
    arrays, z = seen.arrays, seen.arrays["output"]
    a, gradient = arrays.get("activation_output"), arrays.get("activation_output_gradient")
    if a is None or gradient is None or not z.shape == a.shape == gradient.shape:
        return None
    shown = {"output": ("a", a), "output_gradient": ("da", gradient)}
    if seen.kind.is_alone:
        shown["input_gradient"] = "ka", arrays["output_gradient"]
    put = {
        field: builder.put(f"{name}.{short}", _as_rows(array, seen.kind.outputs))
        for field, (short, array) in shown.items()
    }
    return Activation(name=seen.activation, is_alone=seen.kind.is_alone, **put)


def _name_products(seen: SeenCall) -> Products | None:
    """How the products are computed, where that is not the way of the arrays of the call."""
    dtype: Any = _DTYPES.get(seen.kind.dtype or "")
    usual = {_DTYPES.get(str(one.dtype)) for one in (seen.input, seen.weight, seen.bias) if one is not None}
    return None if dtype is None or usual == {dtype} else Products(dtype=dtype)


def _list_parameters(places: Mapping[str, Place], named: Mapping[str, Sequence[SeenCall]]) -> dict[str, int]:
    """The names of all weights and biases of captured calls; for each the axes that are rows, 0 for a bias."""
    axes = dict[str, int]()
    for name, calls in named.items():
        place, kind = places[name], calls[0].kind
        axes[place.weight] = kind.inputs if place.layout == "in_out" else kind.outputs
        if place.bias is not None:
            axes[place.bias] = 0
    return axes


def _put_parameter(
    builder: TraceBuilder, name: str, axes: int, gradient: Array | None, lost: bool, other: str
) -> Parameter:
    if gradient is None:
        return Parameter(name=name, not_captured="no gradient of it was given to end_step")
    if gradient.dtype not in FORMATS.values():
        return Parameter(name=name, not_captured=f"its gradient has the dtype {gradient.dtype}")
    flat = gradient.reshape((math.prod(gradient.shape[:axes]), -1) if axes else -1)
    why = "calls were not captured whose layer is not known, and they may have added to it" if lost else ""
    return Parameter(name=name, gradient=builder.put(f"{name}.gradient", flat), not_captured=why or other)


def _as_rows(array: Array, features: int) -> Array:
    return array.reshape(-1, math.prod(array.shape[array.ndim - features :]))


def _as_matrix(weight: Array, inputs: int, layout: Layout) -> Array:
    rows = inputs if layout == "in_out" else weight.ndim - inputs
    return weight.reshape(math.prod(weight.shape[:rows]), -1)
