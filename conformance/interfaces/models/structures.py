"""The structures of a trace: what its dense layers compute, as structures of the suite's own cases."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from ....adapters.traces.container import FORMATS
from ....adapters.traces.manifest import Call, Layer
from ....adapters.traces.trace import StoredArrays, Trace
from ....reference import Array, Network, Structure
from ...cases.case import CaseError, parse_case, structure_id, traced_id
from ...cases.draw import REGIMES
from .products.quantities import NAMES
from .read import read_trace

_LEAST_ROWS = 64
"""Rows that a structure keeps before its widths are cut."""


@dataclass(frozen=True)
class TracedStructure:
    """A structure that layers of a trace have: how many calls have it, and which layers, in their order. `problem` says
    why it is no case, in one line; it is empty for a case.
    """

    structure: Structure
    calls: int = 0
    layers: tuple[str, ...] = ()
    problem: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """For example 768x3072-gelu_tanh-b512-pre-f32."""
        return structure_id(self.structure)

    @property
    def products(self) -> int:
        """Multiplications of the products of one call: z, dL/dx and dL/dW."""
        inputs, outputs = self.structure.network.widths
        return 3 * self.structure.batch * inputs * outputs


def list_structures(trace: Trace) -> tuple[tuple[TracedStructure, ...], tuple[str, ...]]:
    """The distinct structures of the dense layers of a checked trace, in the order of their first call, and the layers
    with a call whose number of rows was not captured.

    The dtype is the one that products are computed in. A layer without a captured activation has the identity.
    """
    found: dict[Structure, TracedStructure] = {}
    unknown: dict[str, None] = {}
    for step, arrays in zip(trace.manifest.steps, trace.steps, strict=True):
        for layer, call in ((la, call) for la in step.layers if la.kind == "dense" for call in la.calls):
            structure = _structure_of(layer, call, arrays)
            if structure is None:
                unknown[layer.name] = None
                continue
            one = found.get(structure) or TracedStructure(structure, problem=_problem_of(structure))
            names = tuple(dict.fromkeys((*one.layers, layer.name)))
            found[structure] = replace(one, calls=one.calls + 1, layers=names)
    return tuple(found.values()), tuple(unknown)


def _structure_of(layer: Layer, call: Call, arrays: Mapping[str, Array]) -> Structure | None:
    weight, dtype = _shape_of(arrays, call.weight), _dtype_of(arrays, call.weight)
    inputs, outputs = weight if layer.layout == "in_out" else weight[::-1]
    known = next(_rows(call, arrays), None)
    if known is None:
        return None
    if call.products is not None and call.products.dtype is not None:
        dtype = call.products.dtype
    name = "identity" if call.activation is None else call.activation.name
    network = Network((inputs, outputs), (name,), "none" if call.bias is None else "pre")
    return Structure(network, known, dtype)


def case_of(layer: Layer, arrays: Mapping[str, Array], step: int) -> str:
    """The id of a layer in a step, as the record of a trace has it. Its batch are the rows of all calls, 0 if no call
    has them; its activation, bias and dtype are those of the first call.
    """
    if not layer.calls:
        return f"{traced_id(Structure(Network((0, 0), ('identity',)), 0, 'f32'), layer.name)}-s{step}"
    first = layer.calls[0]
    weight, dtype = _shape_of(arrays, first.weight), _dtype_of(arrays, first.weight)
    behind = first.activation
    if behind is not None and first.output is not None:
        # Known divergences have sizes in the roundoff of the dtype that the activation is computed in.
        dtype = _dtype_of(arrays, first.output)
    elif first.products is not None and first.products.dtype is not None:
        dtype = first.products.dtype
    widths = weight[::-1] if layer.kind == "dense" and layer.layout == "out_in" else weight
    name = "identity" if behind is None else behind.name
    network = Network((widths[0], widths[1]), (name,), "none" if first.bias is None else "pre")
    rows = sum(next(_rows(call, arrays), 0) for call in layer.calls)
    return f"{traced_id(Structure(network, rows, dtype), layer.name)}-s{step}"


def _rows(call: Call, arrays: Mapping[str, Array]) -> Iterator[int]:
    for name in (call.input, call.output, call.output_gradient, call.input_gradient):
        if name is not None:
            yield _shape_of(arrays, name)[0]
    if call.axes:
        yield prod(call.axes)


def _shape_of(arrays: Mapping[str, Array], name: str) -> tuple[int, ...]:
    """The shape of an array, which is not read."""
    return arrays.entries[name].shape if isinstance(arrays, StoredArrays) else arrays[name].shape


def _dtype_of(arrays: Mapping[str, Array], name: str) -> str:
    """The name of the dtype of an array of floating-point numbers, which is not read."""
    if isinstance(arrays, StoredArrays):
        return NAMES[np.dtype(FORMATS[arrays.entries[name].dtype])]
    return NAMES[arrays[name].dtype]


def _problem_of(structure: Structure) -> str:
    if 0 in (structure.batch, *structure.network.widths):
        return "it has no numbers"
    case = f"{structure_id(structure)}-normal-s0"
    try:
        parse_case(case, tuple(REGIMES))
    except CaseError as error:
        return str(error).removeprefix(f"case id {case!r}: ")
    return ""


def list_cases(source: Trace | Path | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the structures of a trace that cases can have, and what was cut or left out, in sentences.

    A structure that is too large for a case is cut: its rows; if its weight alone is too large, it becomes two that
    each keep one of its sizes, which is the length of the sums in z or in dL/dx. Raises TraceError.
    """
    trace = source if isinstance(source, Trace) else read_trace(Path(source))
    ids, notes = dict[str, None](), list[str]()
    structures, unknown = list_structures(trace)
    for one in structures:
        parts = (one.structure,) if not one.problem else _fit(one.structure)
        ids |= {structure_id(part): None for part in parts}
        if not parts:
            notes.append(f"{one.id} is left out: {one.problem}")
        elif one.problem:
            notes.append(f"{one.id} is too large for a case; tested are {' and '.join(map(structure_id, parts))}")
    notes += [f"{name} is left out: its number of rows was not captured" for name in unknown]
    return tuple(ids), tuple(notes)


def _fit(structure: Structure) -> tuple[Structure, ...]:
    inputs, outputs = structure.network.widths
    if 0 in (structure.batch, inputs, outputs):
        return ()
    rows = _largest(structure.batch, lambda n: replace(structure, batch=n))
    if rows >= min(structure.batch, _LEAST_ROWS):
        return (replace(structure, batch=rows),)

    def cut(wide: int, high: int) -> Structure:
        network = replace(structure.network, widths=(wide, high))
        return replace(structure, network=network, batch=min(structure.batch, _LEAST_ROWS))

    narrow, low = _largest(inputs, lambda n: cut(n, outputs)), _largest(outputs, lambda n: cut(inputs, n))
    return tuple(one for one in (cut(inputs, low), cut(narrow, outputs)) if low and narrow and not _problem_of(one))


def _largest(most: int, make: Callable[[int], Structure]) -> int:
    """The largest size up to `most` whose structure fits a case; 0 if none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if _problem_of(make(middle)) else (middle, high)
    return low
