"""The arrays that one entry of a finding depends on: rows and columns of the arrays of the calls that have a part.

For example, z[2, 5] depends on row 2 of the input, on the weights of unit 5, and on its bias. dL/dW[3, 5] depends on a
column of the input and a column of dL/dz, in each call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .....adapters.traces.manifest import Call, Layer, Manifest
from .....reference import ACTIVATIONS, DTYPES, Array
from .....reference import rounding as r
from .....reference.error_model import Estimate, deviation
from ..judgement import LayerVerdict
from ..products.quantities import NAMES, Quantity, StepView


class Unwritable(Exception):
    """No script can show the finding; the message says why, in one line."""


@dataclass(frozen=True)
class Entry:
    """An entry of a quantity: its place, the number in the trace, what is due, and the tolerance."""

    at: tuple[int, int]
    observed: float
    expected: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class Part:
    """The arrays of one call that has a part in a quantity, by name: x, weight, bias, k, indices; of an activation
    given, which is z, and back, which is dL/da. `format` is what the call computes in, and `together` numbers its
    backward pass. `left_out` counts the terms of its sums that are 0, which are not among the arrays.
    """

    arrays: Mapping[str, Array]
    format: str
    layout: str
    together: int = 0
    is_lookup: bool = False
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a script is written from. `entry` is at `at` in what the parts give, which has `shape`. `stored` is the
    format of the quantity in the trace, and `before` what a gradient began with.
    """

    source: "Source"
    quantity: str
    entry: Entry
    at: tuple[int, int]
    shape: tuple[int, int]
    parts: tuple[Part, ...]
    stored: str
    before: Array | None = None
    activation: str = ""


@dataclass(frozen=True, eq=False)
class Source:
    """Where a finding comes from: the step of the trace, the layer, and for a product what was compared."""

    manifest: Manifest
    view: StepView
    layer: Layer
    finding: LayerVerdict
    product: Quantity | None

    @property
    def call(self) -> Call:
        """The call that a finding about z, a, dL/dx or dL/dz is about."""
        return self.layer.calls[self.finding.call or 0]


def find_entry(source: Source) -> Entry:
    """The entry to show: that of the verdict. Raises Unwritable where no entry departs by itself."""
    verdict, found = source.finding.verdict, source.finding.compared
    if verdict.quantity == "dL/dz behind":
        return _find_entry_behind(source)
    if found is not None and found.worst.ratio <= 1:
        raise Unwritable("the sum of a row with random signs departs, and no entry that was judged by itself does")
    if verdict.observed is None or verdict.expected is None or verdict.tolerance is None or len(verdict.at) != 2:
        raise Unwritable(f"{verdict.quantity} has no entry that departs by itself")
    at = verdict.at[0], verdict.at[1]
    return Entry(at, verdict.observed, verdict.expected, verdict.tolerance)


def _find_entry_behind(source: Source) -> Entry:
    """The entry of dL/dz that lies farthest from the slope times dL/da, for the layer was given another number than the
    activation gave back.
    """
    behind, call, arrays = source.call.activation, source.call, source.view.arrays
    if behind is None or behind.output_gradient is None or call.output is None or call.output_gradient is None:
        raise Unwritable("dL/dz differs from what the activation gave back, and dL/da was not captured")
    z, back, seen = (arrays[n].astype(np.float64) for n in (call.output, behind.output_gradient, call.output_gradient))
    reading = deviation(DTYPES[NAMES[arrays[call.output].dtype]])
    due = r.hadamard(Estimate(back), r.derivative(ACTIVATIONS[behind.name], Estimate(z), reading), reading)
    limit = due.tolerance(reading)
    with np.errstate(all="ignore"):
        ratio = np.where(np.isfinite(due.value), np.abs(seen - due.value) / limit, 0.0)
    i, j = (int(n) for n in np.unravel_index(int(np.nan_to_num(ratio, nan=np.inf).argmax()), z.shape))
    if ratio[i, j] <= 1:
        raise Unwritable(
            "dL/dz differs from what the activation gave back by less than rounding may, so no call of it shows this"
        )
    return Entry((i, j), float(seen[i, j]), float(due.value[i, j]), float(limit[i, j]))


def collect_evidence(source: Source, entry: Entry, side: int | None) -> Evidence:
    """The arrays of `side` rows and columns around an entry; of all of them for None. A single row and column leave out
    the terms of sums that are zero.
    """
    if source.finding.verdict.quantity in ("a", "dL/dz", "dL/dz behind"):
        return _of_activation(source, entry, side)
    if source.product is None:
        return _of_lookup(source, entry, side)
    one = source.product
    rows, columns = (_around(n, at, side) for n, at in zip(one.due.shape, entry.at, strict=True))
    at = int(np.searchsorted(rows, entry.at[0])), int(np.searchsorted(columns, entry.at[1]))
    calls = [(source.layer, source.call)]
    if one.parameter is not None:
        layers = source.view.step.layers
        calls = [(la, call) for la in layers if one.parameter in (la.weight, la.bias) for call in la.calls]
    parts = [
        _take(source.view, one, layer, call, one.due.parts[number].reading.format.name, rows, columns)
        for number, (layer, call) in enumerate(calls)
    ]
    if side == 1:
        parts = [_without_zeros(one.name, part) for part in parts]
    before = None if one.due.before is None else one.due.before.array[np.ix_(rows, columns)]
    stored = NAMES[one.observed.array.dtype]
    return Evidence(source, one.name, entry, at, (len(rows), len(columns)), tuple(parts), stored, before)


def _around(n: int, at: int, side: int | None) -> Array:
    if side is None or side >= n:
        return np.arange(n)
    start = min(max(0, at - side // 2), n - side)
    return np.arange(start, start + side)


def _of_activation(source: Source, entry: Entry, side: int | None) -> Evidence:
    call, arrays = source.call, source.view.arrays
    behind = call.activation
    assert behind is not None  # the verdict is about it
    assert call.output is not None
    z = arrays[call.output]
    rows, columns = (_around(n, at, side) for n, at in zip(z.shape, entry.at, strict=True))
    at = int(np.searchsorted(rows, entry.at[0])), int(np.searchsorted(columns, entry.at[1]))
    taken, format = {"given": z[np.ix_(rows, columns)]}, NAMES[z.dtype]
    name = "a" if source.finding.verdict.quantity == "a" else "dL/dz"
    if name == "dL/dz":
        assert behind.output_gradient is not None  # else there is no such verdict
        taken["back"] = arrays[behind.output_gradient][np.ix_(rows, columns)]
    shape, part = (len(rows), len(columns)), Part(taken, format, "in_out")
    return Evidence(source, name, entry, at, shape, (part,), format, activation=behind.name)


def _of_lookup(source: Source, entry: Entry, side: int | None) -> Evidence:
    call, arrays = source.call, source.view.arrays
    if call.input is None:
        raise Unwritable("the indices of the lookup were not captured")
    table, indices = arrays[call.weight], arrays[call.input]
    rows, columns = (_around(n, at, side) for n, at in zip((len(indices), table.shape[1]), entry.at, strict=True))
    at = int(np.searchsorted(rows, entry.at[0])), int(np.searchsorted(columns, entry.at[1]))
    used, places = np.unique(indices[rows], return_inverse=True)
    taken = {"indices": places.astype(np.int64), "weight": table[np.ix_(used, columns)]}
    if side is None:
        taken = {"indices": indices, "weight": table}
    format = NAMES[table.dtype]
    part = Part(taken, format, "in_out", is_lookup=True)
    return Evidence(source, "z", entry, at, (len(rows), len(columns)), (part,), format)


def _take(view: StepView, one: Quantity, layer: Layer, call: Call, format: str, rows: Array, columns: Array) -> Part:
    """The arrays of a call that some rows and columns of a quantity depend on, rounded as the call rounds them."""
    dtype, is_lookup = DTYPES[format].numpy, layer.kind == "lookup"

    def take(name: str | None, some: Array | None = None, others: Array | None = None) -> Array:
        assert name is not None  # else the quantity would not have been judged
        array = view.arrays[name]
        array = array if some is None else array[some]
        array = array if others is None else array[:, others]
        with np.errstate(over="ignore"):
            return array.astype(dtype)

    turned = layer.layout == "out_in"
    if one.name == "z":
        weight = take(call.weight, columns) if turned else take(call.weight, None, columns)
        arrays = {"x": take(call.input, rows), "weight": weight}
        if call.bias is not None:
            arrays["bias"] = take(call.bias, columns)
    elif one.name == "dL/dx":
        weight = take(call.weight, None, columns) if turned else take(call.weight, columns)
        arrays = {"k": take(call.output_gradient, rows), "weight": weight}
    elif one.name == "dL/db":
        arrays = {"k": take(call.output_gradient, None, columns)}
    elif is_lookup:
        assert call.input is not None
        indices = view.arrays[call.input]
        taken = np.flatnonzero(np.isin(indices, rows))
        arrays = {
            "indices": np.searchsorted(rows, indices[taken]).astype(np.int64),
            "k": take(call.output_gradient, taken, columns),
        }
    else:
        of_k, of_x = (rows, columns) if turned else (columns, rows)
        arrays = {"x": take(call.input, None, of_x), "k": take(call.output_gradient, None, of_k)}
    return Part(arrays, format, layer.layout, call.backward, is_lookup)


_INNER: Mapping[str, Sequence[tuple[str, int]]] = {
    "z": (("x", 1), ("weight", 0)),
    "dL/dx": (("k", 1), ("weight", 1)),
    "dL/dW": (("x", 0), ("k", 0)),
    "dL/db": (("k", 0),),
}
"""The arrays with the axis along which a sum runs. That of a weight is given for `in_out`."""


def _without_zeros(quantity: str, part: Part) -> Part:
    """A part without the terms of its sums that are 0 in every entry. Infinite and NaN factors stay."""
    if part.is_lookup:
        return part
    axes = {name: 1 - axis if name == "weight" and part.layout == "out_in" else axis for name, axis in _INNER[quantity]}
    moved = {name: np.moveaxis(part.arrays[name], axis, 0).astype(np.float64) for name, axis in axes.items()}
    counts = np.logical_and.reduce([(array != 0).any(1) for array in moved.values()])
    odd = np.logical_or.reduce([~np.isfinite(array).all(1) for array in moved.values()])
    kept = np.flatnonzero(np.logical_or(counts, odd))
    if not len(kept):
        kept = np.arange(min(1, len(counts)))
    taken = {name: np.take(a, kept, axes[name]) if name in axes else a for name, a in part.arrays.items()}
    return replace(part, arrays=taken, left_out=len(counts) - len(kept))
