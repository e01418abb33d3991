"""One training step of a model of JAX: calls that the host saw become layers and parameters of a trace.

A compiled function is given arrays, not modules. So a call is given its name by the weight that it read: that of the
one dense layer whose weight and bias have these very bits when the step ends, or have them once they are cast.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ....reference import Array
from ..container import FORMATS
from ..manifest import Activation, Call, Layer, Layout, Parameter, Products
from ..recording import note_uncalled
from ..trace import TraceBuilder
from .taps import SeenCall

_NO_OUTPUT = "its output was not computed where the backward pass used it, as in a block that is computed again"
_LOST = "calls were not captured whose layer is not known, and they may have added to it"
_MISSED = "a call of its layer was not captured, which may have added to it"
LOOKUPS = "lookups in the table, which were not captured, have a part in it"
"""Why the gradient of a table that is the weight of a dense layer too is not judged."""
_DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Place:
    """A dense layer of a model: its name, the names of its weight and bias, and how the weight lies. One of the kind
    "lookup" is a table, which need not be a weight of calls at all.
    """

    name: str
    weight: str
    bias: str | None
    type: str
    layout: Layout = "in_out"
    kind: Literal["dense", "lookup"] = "dense"


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
    hold. `matrices` are the names of arrays that may be weights of dense layers whose calls are not captured.
    """

    arrays: Mapping[str, Array]
    places: Sequence[Place]
    others: Mapping[str, str] = field(default_factory=dict)
    matrices: Sequence[str] = ()


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
    lost, missed = set[tuple[int, ...]](), set[str]()
    owners = _find_owners(model, calls.values())
    places = {place.name: place for place in model.places}
    for number in sorted(calls):
        seen = calls[number]
        if "output_gradient" not in seen.arrays:
            continue  # no backward pass reached it, or a checkpoint ran it again
        # A call that has a place of its own is known by it. The others are known by the bits that they read.
        own = seen.kind.place
        found = [places[own]] if own else owners.get(_digest(seen.weight, seen.bias), [])
        why = _why_not(seen) or _why_unknown(found)
        if not why:
            named.setdefault(found[0].name, []).append(seen)
            continue
        notes[f"a call was not captured: {why}"] += 1
        if own:
            missed |= {name for name in (found[0].weight, found[0].bias) if name is not None}
        else:
            lost.add(seen.weight.shape)
    layers = [_put_layer(builder, places[name], seen) for name, seen in named.items()]
    uncalled = [place.weight for place in model.places if place.name not in named and place.kind == "dense"]
    notes.update(note_uncalled(name for name in (*uncalled, *model.matrices) if name in gradients))
    parameters = [
        _put_parameter(builder, name, axes, gradients.get(name), why or model.others.get(name, ""))
        for name, (axes, why) in _list_parameters(places, named, lost, missed).items()
    ]
    builder.end_step(layers, parameters, [note if n == 1 else f"{note} ({n} times)" for note, n in notes.items()])


def _list_parameters(
    places: Mapping[str, Place],
    named: Mapping[str, Sequence[SeenCall]],
    lost: Set[tuple[int, ...]],
    missed: Set[str],
) -> dict[str, tuple[int, str]]:
    """The names of all weights and biases of captured calls. For each the axes that are rows, 0 for a bias, and why
    its gradient is not judged: `lost` are the shapes of weights of calls whose layer is not known, and `missed` the
    parameters of other calls that were not captured.
    """
    found = dict[str, tuple[int, str]]()
    for name, calls in named.items():
        place, kind = places[name], calls[0].kind
        rows = kind.inputs if place.layout == "in_out" else kind.outputs
        is_lost = any(_may_be(shape, calls[0].weight.shape) for shape in lost)
        for parameter, axes in ((place.weight, rows), (place.bias, 0)):
            if parameter is None:
                continue
            why = _MISSED if parameter in missed else _LOST if is_lost else ""
            before = found.get(parameter, (axes, ""))
            found[parameter] = axes, why or before[1]
    return found


def _why_unknown(found: Sequence[Place]) -> str:
    """Why it is not known which layer a call is of; empty if it is."""
    if len(found) == 1:
        return ""
    which = " and ".join(place.name for place in found)
    return f"{which} have the same weight, so its layer is not known" if found else "its weight is none of the model"


def _may_be(seen: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether a weight that a call read may be one of the model, by its shape: itself, cast, turned, a part of a stack,
    or with the axes of a vmap in front.
    """
    least = min(len(seen), len(own))
    return sorted(seen[len(seen) - least :]) == sorted(own[len(own) - least :])


def _find_owners(model: Model, calls: Iterable[SeenCall]) -> Mapping[bytes, list[Place]]:
    """The dense layers by the bits of their weight and bias, as they are and as they are cast to what a call read."""
    owners = dict[bytes, list[Place]]()
    casts = {seen.weight.dtype for seen in calls if seen.weight.dtype in FORMATS.values()}
    for place in model.places:
        if place.weight not in model.arrays:
            continue  # calls of it say so themselves
        weight, bias = model.arrays[place.weight], None if place.bias is None else model.arrays[place.bias]
        narrower = [dtype for dtype in casts if dtype.itemsize < weight.dtype.itemsize]
        found = {_digest(weight, bias)}
        with np.errstate(over="ignore"):
            found |= {_digest(weight.astype(t), None if bias is None else bias.astype(t)) for t in narrower}
        for digest in found:
            owners.setdefault(digest, []).append(place)
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
    kind, x, k = seen.kind, seen.input, seen.arrays["output_gradient"]
    # A compiler leaves out the output that a program does not use.
    z, dx = seen.arrays.get("output", k), seen.arrays.get("input_gradient")
    if seen.is_second:
        return "it has a part in a second derivative, such as that of jax.hessian"
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
    z, dx = seen.arrays.get("output"), seen.arrays.get("input_gradient")
    axes = seen.input.shape[: seen.input.ndim - kind.inputs]
    return Call(
        weight=weight,
        bias=bias,
        input=builder.put(f"{name}.x", _as_rows(seen.input, kind.inputs)),
        output=None if z is None else builder.put(f"{name}.z", _as_rows(z, kind.outputs)),
        output_gradient=builder.put(f"{name}.k", _as_rows(seen.arrays["output_gradient"], kind.outputs)),
        input_gradient=None if dx is None else builder.put(f"{name}.dx", _as_rows(dx, kind.inputs)),
        axes=axes,
        products=_name_products(seen),
        not_captured=() if z is not None else (_NO_OUTPUT,),
        activation=_put_activation(builder, name, seen),
    )


def _put_activation(builder: TraceBuilder, name: str, seen: SeenCall) -> Activation | None:
    """The activation behind a call, if a backward pass came through it and its shapes are those of the output. Where
    nothing else reads the output, what it gave back is dL/dz itself.
    """
    arrays, z = seen.arrays, seen.arrays.get("output")
    a, gradient = arrays.get("activation_output"), arrays.get("activation_output_gradient")
    if z is None or a is None or gradient is None or not z.shape == a.shape == gradient.shape:
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
    """How the products are computed, where that is not the way of the arrays of the call.

    JAX adds the rows of a bias gradient by `lax.reduce_sum`, the transpose of a broadcast, which does not go to float32
    for narrow dtypes as `jnp.sum` does: the accumulator is of the dtype of dL/dz. The libraries add a bias to x W,
    which is of the dtype of the layer by then.
    """
    dtype: Any = _DTYPES.get(seen.kind.dtype or "")
    usual = {_DTYPES.get(str(one.dtype)) for one in (seen.input, seen.weight, seen.bias) if one is not None}
    of_rows: Any = _DTYPES[str(seen.arrays["output_gradient"].dtype)]
    is_narrow = seen.bias is not None and of_rows in ("bf16", "f16")
    found = Products(
        dtype=None if usual == {dtype} else dtype,
        bias_accumulator=of_rows if is_narrow else None,
        separate_bias=is_narrow,
    )
    return None if found == Products() else found


def _put_parameter(builder: TraceBuilder, name: str, axes: int, gradient: Array | None, why_not: str) -> Parameter:
    if gradient is None:
        return Parameter(name=name, not_captured="no gradient of it was given to end_step")
    if gradient.dtype not in FORMATS.values():
        return Parameter(name=name, not_captured=f"its gradient has the dtype {gradient.dtype}")
    flat = gradient.reshape((math.prod(gradient.shape[:axes]), -1) if axes else -1)
    return Parameter(name=name, gradient=builder.put(f"{name}.gradient", flat), not_captured=why_not)


def _as_rows(array: Array, features: int) -> Array:
    return array.reshape(-1, math.prod(array.shape[array.ndim - features :]))


def _as_matrix(weight: Array, inputs: int, layout: Layout) -> Array:
    rows = inputs if layout == "in_out" else weight.ndim - inputs
    return weight.reshape(math.prod(weight.shape[:rows]), -1)
