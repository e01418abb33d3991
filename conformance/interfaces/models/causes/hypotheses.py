"""Mistakes that a quantity of a layer may have: each changes what is due, and is compared with what the framework gave.

A hypothesis says in words what the framework would have done, and gives what is due then, with its rounding error. Most
change the inputs of a product: another x, another k, another weight, some calls or rows left out. The others change the
result.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from msgspec import structs

from .....adapters.traces.manifest import Call, Layer, Step
from .....reference import DTYPES, Array
from ..products.factors import Due
from ..products.quantities import Quantity, StepView, list_gradients, list_quantities

_MOST_OTHERS = 400
"""How many arrays of other layers are tried in place of one."""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """`states` completes "the framework ...". The result may be rounded to a narrower format, `result`, in the end."""

    states: str
    due: Due
    result: str | None = None


@dataclass(frozen=True, eq=False)
class Around:
    """A step with those before and behind it, as far as the trace has them."""

    view: StepView
    before: StepView | None = None
    behind: StepView | None = None


class Part(NamedTuple):
    """One call of a layer. Two calls of a layer may be equal, so it has its number too."""

    layer: Layer
    number: int
    call: Call


Edit = Callable[[Part], Call | None]
"""Another call in place of one of a layer, or None to leave it out."""


def list_hypotheses(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    """Everything that is tried for one quantity."""
    kinds = {
        "z": (_other_inputs, _other_weights, _bias_mistakes, _narrow_factors),
        "dL/dx": (_other_errors, _other_weights, _narrow_factors),
        "dL/dW": (_lost_calls, _lost_rows, _other_inputs, _other_errors, _turned, _stale_sums, _narrow_factors),
        "dL/db": (_lost_calls, _lost_rows, _other_errors, _wrong_axis, _stale_sums, _narrow_factors),
    }
    for kind in kinds.get(one.name, ()):
        yield from kind(around, one)


def _rederive(
    around: Around, one: Quantity, edit: Edit, extra: Mapping[str, Array] | None = None, keep_before: bool = True
) -> Due | None:
    """What is due if the calls of a step were others; `extra` are arrays that they name."""
    view = around.view
    layers = []
    for layer in view.step.layers:
        calls = [edit(Part(layer, number, call)) for number, call in enumerate(layer.calls)]
        layers.append(structs.replace(layer, calls=tuple(call for call in calls if call is not None)))
    parameters = view.step.parameters
    if not keep_before:
        parameters = tuple(structs.replace(p, gradient_before=None) for p in parameters)
    step: Step = structs.replace(view.step, layers=tuple(layers), parameters=parameters)
    other = StepView(step, ChainMap(dict(extra or {}), dict_of(view.arrays)), view.recomputed)
    try:
        if one.parameter is not None:
            listed = list_gradients(other, next(p for p in parameters if p.name == one.parameter))
        else:
            listed = list_quantities(other, next(layer for layer in layers if layer.name == one.layer))
        for found in listed:
            if isinstance(found, Quantity) and (found.name, found.call) == (one.name, one.call):
                return found.due if found.due.parts and found.due.shape == one.due.shape else None
    except (StopIteration, ValueError, IndexError):
        return None
    return None


def dict_of(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same mapping as one that ChainMap takes."""
    return arrays if isinstance(arrays, dict) else _Reading(arrays)


class _Reading(dict[str, Array]):
    """Arrays of another mapping, read when they are asked for."""

    def __init__(self, source: Mapping[str, Array]) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, name: str) -> Array:
        return self._source[name]

    def __contains__(self, name: object) -> bool:
        return name in self._source


def _concerns(one: Quantity, part: Part) -> bool:
    """Whether a call has a part in a quantity."""
    if one.parameter is not None:
        return one.parameter in (part.layer.weight, part.layer.bias)
    return part.layer.name == one.layer and one.call in (None, part.number)


def _parts(around: Around, one: Quantity) -> list[Part]:
    layers = around.view.step.layers
    every = (Part(layer, number, call) for layer in layers for number, call in enumerate(layer.calls))
    return [part for part in every if _concerns(one, part)]


def _swap(around: Around, one: Quantity, field: str, take: Callable[[Call], tuple[str, Array] | None]) -> Due | None:
    """What is due with other arrays in one field of every call that has a part."""
    extra: dict[str, Array] = {}

    def edit(part: Part) -> Call:
        call = part.call
        if not _concerns(one, part):
            return call
        found = take(call)
        own = getattr(call, field)
        if found is None or own is None or found[1].shape != around.view.arrays[own].shape:
            return call
        name = f"other {found[0]}"
        extra[name] = found[1]
        return structs.replace(call, **{field: name})

    due = _rederive(around, one, edit, extra)
    return due if extra else None


def _others(
    around: Around, one: Quantity, field: str
) -> Iterator[tuple[str, Callable[[Call], tuple[str, Array] | None]]]:
    """Arrays of the same field elsewhere: in words, and how to find them for a call."""
    parts = _parts(around, one)
    for which, view in (("previous", around.before), ("next", around.behind)):
        if view is not None and len(parts) == 1 and (which == "previous" or field == "weight"):
            layer, number, _ = parts[0]
            twin = next((la for la in view.step.layers if la.name == layer.name), None)
            if twin is not None and number < len(twin.calls):
                yield f"of the {which} step", _taking(view, getattr(twin.calls[number], field))
    if len(parts) > 1:
        # The calls of a step in a row: each with the array of the one before.
        names = [getattr(part.call, field) for part in parts]

        def shift(call: Call) -> tuple[str, Array] | None:
            at = next(i for i, part in enumerate(parts) if part.call is call)
            name = names[at - 1] if at else None
            return None if name is None else (name, around.view.arrays[name])

        yield "of the call before", shift
    # Layers that read one tensor, as those of q, k and v do, are one explanation.
    seen: set[str | None] = {getattr(part.call, field) for part in parts}
    for other in around.view.step.layers[:_MOST_OTHERS]:
        if other.name == one.layer or not other.calls:
            continue
        call = other.calls[0] if one.call is None else other.calls[min(one.call, len(other.calls) - 1)]
        name = getattr(call, field)
        if name not in seen:
            seen.add(name)
            yield f"of {other.name}", _taking(around.view, name)
    if one.parameter is None:
        own = next(layer for layer in around.view.step.layers if layer.name == one.layer)
        for number, call in enumerate(own.calls):
            if number != (one.call or 0):
                yield f"of its call {number + 1}", _taking(around.view, getattr(call, field))


def _taking(view: StepView, name: str | None) -> Callable[[Call], tuple[str, Array] | None]:
    return lambda call: None if name is None else (name, view.arrays[name])


def _other(around: Around, one: Quantity, field: str, words: str) -> Iterator[Hypothesis]:
    for where, take in _others(around, one, field):
        due = _swap(around, one, field, take)
        if due is not None:
            yield Hypothesis(f"uses {words} {where}", due)


def _other_inputs(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    yield from _other(around, one, "input", "the input")


def _other_errors(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    yield from _other(around, one, "output_gradient", "dL/dz")


def _other_weights(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    call = _parts(around, one)[0].call
    weight = around.view.arrays[call.weight]
    if call.backward_weight is not None and one.name == "dL/dx":
        changed = _swap(around, one, "weight", _taking(around.view, call.backward_weight))
        if changed is not None:
            yield Hypothesis("uses the weight as it was changed between the forward and the backward pass", changed)
    yield from _other(around, one, "weight", "the weight")
    rows, columns = weight.shape
    if rows == columns:
        others = [("uses the weight transposed", weight.T)]
    else:
        words = "uses the weight reshaped in place of transposed"
        others = [(words, weight.T.reshape(rows, columns)), (words, weight.reshape(columns, rows).T)]
    for words, other in others:
        due = _swap(around, one, "weight", _giving("turned", other))
        if due is not None:
            yield Hypothesis(words, due)


def _giving(name: str, array: Array) -> Callable[[Call], tuple[str, Array] | None]:
    return lambda call: (name, array)


def _bias_mistakes(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    due = one.due
    if due.bias is not None:
        yield Hypothesis("leaves out the bias", replace(due, bias=None))
        yield Hypothesis("adds the bias twice", replace(due, bias=2 * due.bias))
        yield Hypothesis("subtracts the bias", replace(due, bias=-due.bias))
    yield from _other(around, one, "bias", "the bias")


def _lost_calls(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    parts = _parts(around, one)
    if len(parts) < 2:
        return
    passes = sorted({part.call.backward for part in parts})
    if len(passes) > 1:
        # They count all passes of the step, so those of another model, or of a part of this one, are among them.
        for at, number in enumerate(passes, 1):
            lost = _rederive(around, one, lambda part, n=number: None if part.call.backward == n else part.call)
            if lost is not None:
                yield Hypothesis(f"leaves out backward pass {at} of {len(passes)}", lost)
            if len(passes) > 2:
                alone = _rederive(around, one, lambda part, n=number: part.call if part.call.backward == n else None)
                if alone is not None:
                    yield Hypothesis(f"has backward pass {at} of {len(passes)} alone", alone)
            twice = replace(one.due, parts=(*one.due.parts, *(p for p in one.due.parts if p.together == number)))
            yield Hypothesis(f"adds backward pass {at} of {len(passes)} twice", twice)
    if len(passes) == len(parts):
        return
    for own in parts:
        lost = _rederive(around, one, lambda part, own=own: None if part[:2] == own[:2] else part.call)
        if lost is not None:
            yield Hypothesis(f"leaves out the part of {own.layer.name}, call {own.number + 1}", lost)


def _lost_rows(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    for words, pick in (
        ("the last row", lambda axes: slice(-1, None)),
        ("the first row", lambda axes: slice(0, 1)),
        ("the last example", lambda axes: slice(-int(np.prod(axes[1:])), None)),
        ("the first example", lambda axes: slice(0, int(np.prod(axes[1:])))),
        ("the last position of each example", lambda axes: slice(axes[-1] - 1, None, axes[-1])),
    ):
        if not words.endswith("row") and any(len(part.call.axes) < 2 for part in _parts(around, one)):
            continue
        due = _pick_rows(around, one, pick)
        if due is not None:
            yield Hypothesis(f"adds {words} alone", due)


def _pick_rows(around: Around, one: Quantity, pick: Callable[[tuple[int, ...]], slice]) -> Due | None:
    extra: dict[str, Array] = {}

    def edit(part: Part) -> Call:
        call = part.call
        if not _concerns(one, part) or call.input is None or call.output_gradient is None:
            return call
        rows = pick(call.axes)
        names = {}
        for field in ("input", "output_gradient"):
            name = getattr(call, field)
            names[field] = f"some rows of {name}"
            extra[names[field]] = around.view.arrays[name][rows]
        return structs.replace(call, **names)

    return _rederive(around, one, edit, extra)


def _turned(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    rows, columns = one.due.shape
    parts = one.due.parts
    if rows == columns and all(hasattr(part, "left") for part in parts):
        turned = tuple(replace(part, left=part.right.T, right=part.left.T) for part in parts)  # pyright: ignore
        yield Hypothesis("is transposed", replace(one.due, parts=turned))


def _wrong_axis(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    parts = _parts(around, one)
    if all(
        call.output_gradient is not None and len(set(around.view.arrays[call.output_gradient].shape)) == 1
        for call in (part.call for part in parts)
    ):
        due = _swap(around, one, "output_gradient", lambda c: ("turned", around.view.arrays[c.output_gradient or ""].T))
        if due is not None:
            yield Hypothesis("is summed over the outputs in place of the rows", due)


def _stale_sums(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    if one.due.before is not None:
        fresh = _rederive(around, one, lambda part: part.call, keep_before=False)
        if fresh is not None:
            yield Hypothesis("loses the gradient that the step began with", fresh)
        return
    if around.before is not None:
        twin = next((p for p in around.before.step.parameters if p.name == one.parameter), None)
        if twin is not None and twin.gradient is not None:
            before = around.before.factor(twin.gradient)
            if before.shape == one.due.shape:
                yield Hypothesis("is added to the gradient of the previous step", replace(one.due, before=before))


def _narrow_factors(around: Around, one: Quantity) -> Iterator[Hypothesis]:
    u = DTYPES[one.dtype].u
    field = {"z": ("input", "weight"), "dL/dx": ("output_gradient", "weight"), "dL/db": ("output_gradient",)}
    fields = field.get(one.name, ("input", "output_gradient"))
    words = {"input": "x", "weight": "W", "output_gradient": "dL/dz"}
    # f16 has the digits of tf32, and differs in range alone.
    formats = (("f32", 2.0**-24, "f32"), ("tf32", 2.0**-11, "11 bits, as tf32 and f16 have"), ("bf16", 2.0**-8, "bf16"))
    for format, narrower, name in formats:
        if narrower <= u:
            continue
        for some in (*((one,) for one in fields), *([fields] if len(fields) > 1 else ())):
            what = " and ".join(words[field] for field in some)
            for made in _narrowed(around, one, format, some, f"rounds {what} to {name}"):
                yield made
                # As a cast in front of a product does: its backward pass casts the gradient.
                for result in ("bf16", "f16") if format in ("bf16", "tf32") else ():
                    if DTYPES[result].u > u:
                        states = f"rounds {what} to {name}, and the result to {result}"
                        yield replace(made, states=states, result=result)


def _narrowed(around: Around, one: Quantity, format: str, fields: tuple[str, ...], states: str) -> Iterator[Hypothesis]:
    extra: dict[str, Array] = {}

    def edit(part: Part) -> Call:
        call = part.call
        if not _concerns(one, part):
            return call
        names = {}
        for name in fields:
            own = getattr(call, name)
            if own is None or around.view.arrays[own].dtype.kind == "i":
                continue
            names[name] = f"{format} {own}"
            extra[names[name]] = round_to(around.view.arrays[own], format)
        return structs.replace(call, **names)

    due = _rederive(around, one, edit, extra)
    if due is not None and extra:
        yield Hypothesis(states, due)


def round_to(array: Array, format: str) -> Array:
    """An array rounded to nearest in a narrower format, in its own dtype."""
    if format == "tf32":
        bits = array.astype(np.float32).view(np.uint32)
        return (
            ((bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000))
            .view(np.float32)
            .astype(array.dtype)
        )
    with np.errstate(over="ignore"):
        return array.astype(DTYPES[format].numpy).astype(array.dtype)
