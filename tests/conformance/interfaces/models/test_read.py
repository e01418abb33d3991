"""A trace is checked where it is read: whatever is wrong in it is one line that names the place."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters.traces.container import StreamWriter, read_arrays
from kterm.adapters.traces.errors import TraceError
from kterm.adapters.traces.manifest import MANIFEST
from kterm.conformance.interfaces.models.read import read_manifest, read_trace

from ....support.mistakes.models.small import Small

STEP = "step-0000.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound trace."""
    Small(widths=(4, 5, 3), axes=(2, 3)).trace().save(tmp_path / "trace")
    return tmp_path / "trace"


def _refusal(folder: Path) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(folder)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 700
    return text


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads((folder / MANIFEST).read_text())
    change(data)
    (folder / MANIFEST).write_text(json.dumps(data))
    return _refusal(folder)


def _layer(data: dict[str, Any]) -> dict[str, Any]:
    return data["steps"][0]["layers"][0]


def _call(data: dict[str, Any]) -> dict[str, Any]:
    return _layer(data)["calls"][0]


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda d: d.update(format="onnx"), "is not the manifest of a trace"),
    "a later version": (lambda d: d.update(version=2), "has version 2; this version reads 1"),
    "an unknown field": (lambda d: d.update(extra=1), "unknown field `extra`"),
    "no steps": (lambda d: d.update(steps=[]), "it has no step"),
    "a path": (lambda d: d["steps"][0].update(file="../other.safetensors"), "is no name of a file in the folder"),
    "a hidden name": (lambda d: d["steps"][0].update(file="\x1b[31m"), "No such file"),
    "no file": (lambda d: d["steps"][0].update(file="none.safetensors"), "No such file"),
    "one file twice": (lambda d: d["steps"].append(d["steps"][0]), "two steps have the file"),
    "a layer twice": (lambda d: d["steps"][0]["layers"].append(_layer(d)), "layer 'layers.0' occurs twice"),
    "a missing array": (lambda d: _call(d).update(input="nothing"), "layer 'layers.0', input: there is no array 'noth"),
    "a weight of another layer": (lambda d: _call(d).update(weight="1.0.W"), "it should be"),
    "swapped arrays": (lambda d: _call(d).update(output=_call(d)["input"]), "has shape (6, 4); it should be (6, 5)"),
    "another layout": (lambda d: _layer(d).update(layout="in_out"), "has shape (6, 4); it should be (any, 5)"),
    "an unknown layout": (lambda d: _layer(d).update(layout="row_major"), "Invalid enum value 'row_major'"),
    "a negative axis": (lambda d: _call(d).update(axes=[-2, -3]), "Expected `int` >= 0"),
    "other axes": (lambda d: _call(d).update(axes=[5, 3]), "its axes (5, 3) do not make 6 rows"),
    "a bias without a name": (lambda d: _layer(d).pop("bias"), "differ in whether there is a bias"),
    "an unknown activation": (lambda d: _call(d)["activation"].update(name="nothing"), "'nothing' is not known"),
    "an activation without z": (lambda d: _call(d).pop("output"), "has an activation and no output"),
    "a strange parameter": (lambda d: d["steps"][0]["parameters"][0].update(name="x"), "'x' belongs to no layer"),
    "a gradient of another shape": (
        lambda d: d["steps"][0]["parameters"][0].update(gradient="1.gW"), "parameter 'layers.0.weight', gradient",
    ),
    "a lookup with numbers": (lambda d: _layer(d).update(kind="lookup"), "it should be (any)"),
    "text for a number": (lambda d: _call(d).update(backward="1"), "Expected `int`, got `str`"),
    "a long name": (lambda d: _layer(d).update(name="x" * 1000), "length <= 500"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_manifest_is_refused_in_one_line(folder: Path, name: str) -> None:
    change, due = EDITS[name]
    assert due in _edit(folder, change)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"[" * 10**5, b'{"format": "kterm-trace"', b"\xff\xfe", b'{"format": 1e999}']
)
def test_a_manifest_that_is_none_is_refused_in_one_line(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    assert MANIFEST in _refusal(folder)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _promise_much(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_truncate, _promise_much, _make_pipe, lambda path: path.write_bytes(b"\x80\x04K.")])
def test_a_file_of_arrays_that_is_damaged_is_refused_in_one_line(
    folder: Path, change: Callable[[Path], object]
) -> None:
    change(folder / STEP)
    assert STEP in _refusal(folder)


def test_arrays_of_another_dtype_are_refused(folder: Path) -> None:
    arrays, _ = read_arrays(folder / STEP)
    writer = StreamWriter(folder / STEP)
    for name, array in arrays.items():
        writer.add(name, np.zeros(array.shape, np.int64) if name.endswith(".k") else array)
    writer.finish()
    assert "has dtype int64; it should be one of bf16, f16, f32, f64" in _refusal(folder)


def test_indices_beyond_their_table_are_refused(folder: Path) -> None:
    arrays, _ = read_arrays(folder / STEP)
    writer = StreamWriter(folder / STEP)
    for name, array in arrays.items():
        writer.add(name, array)
    writer.add("indices", np.array([0, 3, 5], np.int64))
    writer.finish()

    def change(data: dict[str, Any]) -> None:
        step = data["steps"][0]
        call = {"weight": _call(data)["weight"], "input": "indices"}
        step["layers"] = [{"name": "table", "weight": "t", "kind": "lookup", "calls": [call]}]
        step["parameters"] = []

    assert "has indices beyond the 5 rows of the table" in _edit(folder, change)


def test_a_pipe_in_place_of_the_manifest_is_refused(folder: Path) -> None:
    _make_pipe(folder / MANIFEST)
    assert "is no file" in _refusal(folder)


def test_a_folder_that_is_none_says_what_to_name(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "nothing").endswith("No such file or directory; name the folder of a trace")
    Small(widths=(2, 2)).trace().save(tmp_path / "sound")
    assert len(read_manifest(tmp_path / "sound").steps) == 1
