"""What is judged of a step: for each layer its quantities, each with what is due, as products of arrays of the trace.

    z = x W + b        dL/dx = k Wᵀ        dL/dW = Σ xᵀ k        dL/db = Σ k

The sums of the gradients run over all calls of all layers that have the parameter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .....adapters.traces.manifest import Call, DTypeName, Layer, Manifest, Parameter, Step
from .....reference import DTYPES, Array
from .....reference.arithmetic import Arithmetic
from .....reference.error_model import Reading, bound, deviation
from ....checks.verdict import Check
from .factors import Due, Factor, Part, Product, RowSums

NAMES = {np.dtype(row.numpy): name for name, row in DTYPES.items()}
"""The formats by the dtype of their arrays."""
Rounding = Callable[..., Reading]


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity of one layer. `call` numbers the calls of the layer; None for a gradient, which is of all of them.

    `due` has errors as standard deviations, `most` as bounds. `axes` are the leading axes of the call, which are
    flattened to rows, and `parameter` is the name of what a gradient belongs to. `accumulator` is the format that the
    rows of a bias gradient are added in, where all its calls declare the same one.
    """

    layer: str
    check: Check
    name: str
    dtype: str
    observed: Factor
    due: Due
    most: Due
    call: int | None = None
    axes: tuple[int, ...] = ()
    parameter: str | None = None
    accumulator: DTypeName | None = None

    @property
    def label(self) -> str:
        """For example `z`, or `z (call 2)` of a layer that is called more than once."""
        return self.name if self.call is None else f"{self.name} (call {self.call + 1})"


@dataclass(frozen=True)
class Unjudged:
    """A quantity that is not judged, and why."""

    layer: str
    name: str
    why: str


@dataclass(frozen=True, eq=False)
class StepView:
    """One step of a trace with its arrays. `recomputed` is that of the manifest."""

    step: Step
    arrays: Mapping[str, Array]
    recomputed: bool = False

    def factor(self, name: str, rounded: str | None = None) -> Factor:
        """An array as a factor. A vector is one row."""
        array = self.arrays[name]
        return Factor(np.atleast_2d(array), rounded=rounded, recomputed=self.recomputed)


def view_of(manifest: Manifest, number: int, arrays: Mapping[str, Array]) -> StepView:
    """The step with this number."""
    return StepView(manifest.steps[number], arrays, manifest.recomputed)


def list_quantities(view: StepView, layer: Layer) -> Iterator[Quantity | Unjudged]:
    """What is judged of one layer beside its gradients: z and dL/dx of each call."""
    several = len(layer.calls) > 1
    for number, call in enumerate(layer.calls):
        at = number if several else None
        where = f" (call {number + 1})" if several else ""
        for reason in call.not_captured:
            yield Unjudged(layer.name, f"call {number + 1}" if several else "", reason)
        if layer.kind == "dense":
            yield from _forward(view, layer, call, at, where)
            yield from _input_gradient(view, layer, call, at, where)


def _forward(view: StepView, layer: Layer, call: Call, at: int | None, where: str) -> Iterator[Quantity | Unjudged]:
    if call.input is None or call.output is None:
        return
    rounded = _rounded(call)
    x, w, z = view.factor(call.input, rounded), _weight(view, layer, call.weight, rounded), view.factor(call.output)
    bias = None if call.bias is None else view.factor(call.bias, rounded)
    try:
        dtype = _format_of(call, *(f.array for f in (x, w, z, *(() if bias is None else (bias,)))))
    except _Mixed as error:
        yield Unjudged(layer.name, f"z{where}", str(error))
        return

    def due(reading: Reading) -> Due:
        separate = call.products is not None and call.products.separate_bias
        return Due((Product(x, w, reading),), reading, None if bias is None else bias.take()[0], separate=separate)

    yield _quantity(layer, call, "forward", "z", dtype, z, due, at)


def _input_gradient(
    view: StepView, layer: Layer, call: Call, at: int | None, where: str
) -> Iterator[Quantity | Unjudged]:
    if call.output_gradient is None or call.input_gradient is None:
        return
    rounded = _rounded(call)
    k, w = view.factor(call.output_gradient, rounded), _weight(view, layer, call.weight, rounded)
    seen = view.factor(call.input_gradient)
    try:
        dtype = _format_of(call, k.array, w.array, seen.array)
    except _Mixed as error:
        yield Unjudged(layer.name, f"dL/dx{where}", str(error))
        return
    yield _quantity(
        layer, call, "k_terms", "dL/dx", dtype, seen, lambda reading: Due((Product(k, w.T, reading),), reading), at
    )


def find_owner(uses: Sequence[Layer]) -> int:
    """The index of the layer that a gradient is reported with, of those that have the parameter: the first that was
    called, dense layers before tables.
    """
    return min(range(len(uses)), key=lambda i: (not uses[i].calls, uses[i].kind != "dense", i))


def list_gradients(view: StepView, parameter: Parameter) -> Iterator[Quantity | Unjudged]:
    """What is judged of one parameter's gradient: that of a weight, or of a bias."""
    uses = [layer for layer in view.step.layers if parameter.name in (layer.weight, layer.bias)]
    if not uses:
        return
    is_bias = all(parameter.name == layer.bias for layer in uses)
    name = "dL/db" if is_bias else "dL/dW"
    first = uses[find_owner(uses)]
    calls = [(layer, call) for layer in uses for call in layer.calls]
    why = parameter.not_captured or _missing(parameter, calls)
    if why:
        yield Unjudged(first.name, name, why)
        return
    assert parameter.gradient is not None  # else `_missing` says so
    seen = view.factor(parameter.gradient)
    before = None if parameter.gradient_before is None else view.factor(parameter.gradient_before)
    stored = NAMES[seen.array.dtype]
    try:
        formats = {_format_of(call, *_arrays_of(view, layer, call)) for layer, call in calls}
    except _Mixed as error:
        yield Unjudged(first.name, name, str(error))
        return

    def due(which: Rounding) -> Due:
        parts = tuple(_gradient_part(view, layer, call, which, is_bias) for layer, call in calls)
        return Due(parts, _reading(which, stored), before=before)

    check: Check = "bias_gradients" if is_bias else "weight_gradients"
    dtype = next(iter(formats)) if len(formats) == 1 else stored
    axes = calls[0][1].axes
    due_both = due(deviation), due(bound)
    declared: set[DTypeName | None] = {
        None if call.products is None else call.products.bias_accumulator for _, call in calls
    }
    accumulator = declared.pop() if is_bias and len(declared) == 1 else None
    yield Quantity(
        first.name, check, name, dtype, seen, *due_both, axes=axes, parameter=parameter.name, accumulator=accumulator
    )


def _gradient_part(view: StepView, layer: Layer, call: Call, which: Rounding, is_bias: bool) -> Part:
    rounded = _rounded(call)
    assert call.output_gradient is not None  # `_missing` has looked
    k = view.factor(call.output_gradient, rounded)
    reading = _reading_of(which, _format_of(call, *_arrays_of(view, layer, call)), call)
    own = call.bias if is_bias else call.weight
    passed = None if own is None else _reading(which, NAMES[view.arrays[own].dtype])
    if passed is None or passed.u <= reading.u:
        passed = None
    if is_bias:
        ones = Factor(np.broadcast_to(np.float64(1.0), (1, k.shape[0])))
        return Product(ones, k, _sum_reading(which, reading, call), call.backward, passed)
    assert call.input is not None
    if layer.kind == "lookup":
        # A framework adds the rows of a table's gradient where they are stored.
        own = replace(reading.of_sums, u_acc=reading.u, underflow_acc=reading.underflow)
        table = view.arrays[call.weight]
        return RowSums(view.arrays[call.input], k, table.shape[0], own, call.backward)
    x = view.factor(call.input, rounded)
    # As the parameter lies in memory: layers that share one may read it in both ways.
    left, right = (x.T, k) if layer.layout == "in_out" else (k.T, x)
    return Product(left, right, reading, call.backward, passed)


def _missing(parameter: Parameter, calls: list[tuple[Layer, Call]]) -> str:
    if parameter.gradient is None:
        return "its gradient was not captured"
    if not calls:
        return "no call was captured of what has it"
    for layer, call in calls:
        if call.output_gradient is None or call.input is None:
            return f"a call of {layer.name} has no input or no dL/dz, so a part of the sum is unknown"
    return ""


def _arrays_of(view: StepView, layer: Layer, call: Call) -> list[Array]:
    names = [call.output_gradient, *([call.input] if layer.kind == "dense" else ())]
    return [view.arrays[name] for name in names if name is not None]


def _quantity(
    layer: Layer,
    call: Call,
    check: Check,
    name: str,
    dtype: str,
    seen: Factor,
    due: Callable[[Reading], Due],
    at: int | None,
) -> Quantity:
    readings = (_reading_of(which, dtype, call) for which in (deviation, bound))
    return Quantity(layer.name, check, name, dtype, seen, *(due(one) for one in readings), call=at, axes=call.axes)


class _Mixed(ValueError):
    """Arrays of several dtypes, without a word on how their product is computed."""


def _format_of(call: Call, *arrays: Array) -> str:
    """The format that the products of a call are computed in."""
    if call.products is not None and call.products.dtype is not None:
        return call.products.dtype
    found = {array.dtype for array in arrays}
    if len(found) > 1:
        names = " and ".join(sorted(NAMES[one] for one in found))
        raise _Mixed(f"its arrays have the dtypes {names}, and nothing says in which of them products are computed")
    return NAMES[found.pop()]


def _rounded(call: Call) -> str | None:
    return None if call.products is None else call.products.dtype


def _weight(view: StepView, layer: Layer, name: str, rounded: str | None) -> Factor:
    weight = view.factor(name, rounded)
    return weight.T if layer.layout == "out_in" else weight


def _reading_of(which: Rounding, dtype: str, call: Call) -> Reading:
    products = call.products
    if products is None:
        return _reading(which, dtype)
    return which(DTYPES[dtype], arithmetic=Arithmetic(products.operands, accumulator=products.accumulator))


def _sum_reading(which: Rounding, reading: Reading, call: Call) -> Reading:
    """The reading of the sum of the rows of k, which is no product."""
    if call.products is None or call.products.bias_accumulator is None:
        return reading.of_sums
    return which(reading.format, arithmetic=Arithmetic(accumulator=call.products.bias_accumulator))


def _reading(which: Rounding, dtype: str) -> Reading:
    return which(DTYPES[dtype])
