"""Reading a trace, which may come from anywhere: everything that it says is checked before it is used.

    trace = read_trace(Path("trace"))

Arrays are not read here. They are mapped when they are judged.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ....adapters.traces.container import FORMATS
from ....adapters.traces.manifest import FORMAT, MANIFEST, VERSION, Call, Layer, Manifest, Parameter, Step
from ....adapters.traces.trace import ContainerError, StoredArrays, Trace, TraceError, open_arrays
from ....reference import ACTIVATIONS, Array
from ...records.form.text import printable, shorten
from .products.quantities import NAMES

_MOST_BYTES = 2**27
"""The most bytes of a manifest. That of a model of 500 layers has less than 1 MB a step."""
_INDICES = (np.dtype(np.int64), np.dtype(np.int32))


def read_trace(path: Path) -> Trace:
    """The trace in a folder, checked. Raises TraceError, in one line."""
    manifest = read_manifest(path)
    steps = []
    for step in manifest.steps:
        if Path(step.file).name != step.file or step.file in (".", ".."):
            raise TraceError(_say(path, f"{step.file!r} is no name of a file in the folder of the trace"))
        try:
            steps.append(open_arrays(path / step.file))
        except ContainerError as error:
            raise TraceError(_say(None, str(error))) from None
    trace = Trace(manifest, tuple(steps))
    try:
        check_trace(trace)
    except TraceError as error:
        raise TraceError(_say(path, str(error))) from None
    return trace


def read_manifest(path: Path) -> Manifest:
    """The manifest of the trace in a folder; its arrays are not looked at. Raises TraceError, in one line."""
    try:
        return _decode(_read_bytes(path / MANIFEST))
    except OSError as error:
        what = error.strerror or str(error)
        raise TraceError(_say(path, f"{MANIFEST}: {what}; name the folder of a trace")) from None
    except TraceError as error:
        raise TraceError(_say(path, str(error))) from None


def _say(path: Path | None, what: str) -> str:
    return shorten(printable(what if path is None else f"trace {path}: {what}"), 600)


def _read_bytes(path: Path) -> bytes:
    # A pipe would be waited for without an end.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise TraceError(f"{MANIFEST} is no file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TraceError(f"{MANIFEST} has more than {_MOST_BYTES:,} bytes; no manifest is that large")
    return data


def _decode(data: bytes) -> Manifest:
    try:
        found: Any = msgspec.json.decode(data)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise TraceError(f"{MANIFEST} is not the manifest of a trace; its format should be {FORMAT!r}")
        if found.get("version") != VERSION:
            raise TraceError(f"{MANIFEST} has version {found.get('version')!r:.40}; this version reads {VERSION}")
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(f"{MANIFEST}: {error or type(error).__name__}") from None


def check_trace(trace: Trace) -> None:
    """Raise TraceError where a trace does not fit together: arrays that are not there, or of the wrong shape or dtype,
    names that occur twice, activations that are not known.
    """
    if not trace.manifest.steps:
        raise TraceError("it has no step; was a forward and a backward pass captured?")
    files = Counter(step.file for step in trace.manifest.steps)
    if repeated := [file for file, count in files.items() if count > 1]:
        raise TraceError(f"two steps have the file {repeated[0]!r}")
    for number, (step, arrays) in enumerate(zip(trace.manifest.steps, trace.steps, strict=True)):
        try:
            _check_step(step, arrays)
        except TraceError as error:
            raise TraceError(f"step {number}, {error}") from None


def _check_step(step: Step, arrays: Mapping[str, Array]) -> None:
    for what, names in (("layer", [la.name for la in step.layers]), ("parameter", [p.name for p in step.parameters])):
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise TraceError(f"{what} {repeated[0]!r} occurs twice")
    shapes = _Shapes(arrays)
    for layer in step.layers:
        for call in layer.calls:
            _check_call(layer, call, shapes)
    sizes = _parameter_sizes(step, shapes)
    for parameter in step.parameters:
        due = sizes.get(parameter.name)
        if due is None:
            raise TraceError(f"parameter {parameter.name!r} belongs to no layer")
        for field in ("gradient", "gradient_before"):
            name = getattr(parameter, field)
            if name is not None:
                shapes.require(f"parameter {parameter.name!r}, {field}", name, due)


class _Shapes:
    """The shapes and dtypes of the arrays of a step."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays

    def look_up(self, where: str, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """The shape and dtype of an array. Raises TraceError if there is none."""
        if isinstance(self.arrays, StoredArrays):
            entry = self.arrays.entries.get(name)
            if entry is not None:
                return entry.shape, FORMATS[entry.dtype]
        elif name in self.arrays:
            array = self.arrays[name]
            return array.shape, array.dtype
        raise TraceError(f"{where}: there is no array {name!r}")

    def require(self, where: str, name: str, due: Sequence[int | None], index: bool = False) -> tuple[int, ...]:
        """The shape of an array that should be `due`, where None stands for any size. Raises TraceError."""
        shape, dtype = self.look_up(where, name)
        if len(shape) != len(due) or any(n not in (size, None) for size, n in zip(shape, due, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in due)
            raise TraceError(f"{where}: array {name!r} has shape {shape}; it should be ({wanted})")
        if (dtype not in _INDICES) if index else (dtype not in NAMES):
            known = "I64, I32" if index else ", ".join(sorted(NAMES.values()))
            raise TraceError(f"{where}: array {name!r} has dtype {dtype}; it should be one of {known}")
        return shape


def _check_call(layer: Layer, call: Call, shapes: _Shapes) -> None:
    where = f"layer {layer.name!r}"
    weight = shapes.require(f"{where}, weight", call.weight, (None, None))
    is_lookup = layer.kind == "lookup"
    inputs, outputs = weight if is_lookup or layer.layout == "in_out" else weight[::-1]
    rows: int | None = None
    for field, due in _call_arrays(call, inputs, outputs):
        name = getattr(call, field)
        if is_lookup and field == "input":
            (rows,) = shapes.require(f"{where}, input", name, (rows,), index=True)
        elif field in ("bias", "backward_weight"):
            shapes.require(f"{where}, {field}", name, due if field == "bias" else weight)
        else:
            rows = shapes.require(f"{where}, {field}", name, (rows, *due))[0]
    if is_lookup and call.input is not None:
        _check_indices(f"{where}, input", shapes, call.input, inputs)
    if (call.bias is None) != (layer.bias is None):
        raise TraceError(f"{where}: a call and its layer differ in whether there is a bias")
    if call.axes and rows is not None and int(np.prod([int(n) for n in call.axes], dtype=object)) != rows:
        raise TraceError(f"{where}: its axes {call.axes} do not make {rows} rows")
    if call.activation is not None:
        _check_activation(where, call, shapes, (rows, outputs))


def _call_arrays(call: Call, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    fields = (
        ("input", (inputs,)), ("output", (outputs,)), ("output_gradient", (outputs,)), ("input_gradient", (inputs,)),
        ("bias", (outputs,)), ("backward_weight", ()),
    )  # fmt: skip
    for field, due in fields:
        if getattr(call, field) is not None:
            yield field, due


def _check_indices(where: str, shapes: _Shapes, name: str, rows: int) -> None:
    indices = shapes.arrays[name]
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < rows:
        raise TraceError(f"{where}: array {name!r} has indices beyond the {rows} rows of the table")


def _check_activation(where: str, call: Call, shapes: _Shapes, due: tuple[int | None, int]) -> None:
    behind = call.activation
    assert behind is not None
    try:
        _ = ACTIVATIONS[behind.name]
    except (KeyError, ValueError):
        raise TraceError(f"{where}: activation {behind.name!r:.60} is not known") from None
    if call.output is None:
        raise TraceError(f"{where}: has an activation and no output")
    z_dtype = shapes.look_up(where, call.output)[1]
    for field in ("output", "output_gradient", "input_gradient"):
        name = getattr(behind, field)
        if name is not None:
            shapes.require(f"{where}, activation's {field}", name, due)
            if shapes.look_up(where, name)[1] != z_dtype:
                raise TraceError(f"{where}: its activation's {field} has another dtype than its output")


def _parameter_sizes(step: Step, shapes: _Shapes) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, as the calls have it. Raises TraceError where they differ."""
    sizes: dict[str, tuple[int, ...]] = {}
    for layer in step.layers:
        for call in layer.calls:
            for parameter, name in ((layer.weight, call.weight), (layer.bias, call.bias)):
                if parameter is None or name is None:
                    continue
                shape, _ = shapes.look_up(f"layer {layer.name!r}", name)
                if sizes.setdefault(parameter, shape) != shape:
                    raise TraceError(f"parameter {parameter!r} has the shapes {sizes[parameter]} and {shape}")
    return sizes


__all__ = ["Parameter", "TraceError", "check_trace", "read_manifest", "read_trace"]
