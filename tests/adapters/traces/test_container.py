"""Files of arrays: what is written is read back, and a broken file is one line."""

import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kterm.adapters.traces.container import ContainerError, read_arrays, write_arrays

ARRAYS = {
    "x_0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "E": np.array([1.5, np.inf]),
    "none": np.zeros((2, 0, 4), np.float16),
    "shows": np.array([True, False]),
    "narrow": np.array([[0.5], [-3.0]], ml_dtypes.bfloat16),
}


def test_arrays_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    write_arrays(path, ARRAYS, {"structure": "one"})
    found, metadata = read_arrays(path)
    assert metadata == {"structure": "one"}
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_every_array_begins_at_a_multiple_of_its_item_size(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    write_arrays(path, ARRAYS, {})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    for name, entry in json.loads(data[8 : 8 + length]).items():
        assert entry["data_offsets"][0] % ARRAYS[name].dtype.itemsize == 0


def test_the_safetensors_package_reads_what_is_written_and_the_reverse(tmp_path: Path) -> None:
    theirs: Any = pytest.importorskip("safetensors.numpy")
    known = {name: array for name, array in ARRAYS.items() if array.dtype != ml_dtypes.bfloat16}
    write_arrays(tmp_path / "ours", known, {"structure": "one"})
    theirs.save_file(known, tmp_path / "theirs")
    for found in (theirs.load_file(tmp_path / "ours"), read_arrays(tmp_path / "theirs")[0]):
        assert {name: a.tobytes() for name, a in found.items()} == {name: a.tobytes() for name, a in known.items()}


def _file(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def _entry(**changed: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}


BROKEN = {
    "empty": (b"", "has 0 bytes"),
    "garbage": (b"not a safetensors file at all", "its header should have"),
    "endless header": (_file({}, length=1 << 62), "its header should have"),
    "no json": (_file(b"{]"), "is not JSON"),
    "deep json": (_file(b"[" * 100_000), "is not JSON"),
    "a list": (_file([1, 2]), "is not a JSON object"),
    "a name twice": (_file(b'{"a": 1, "a": 2}'), "with distinct names"),
    "metadata": (_file({"__metadata__": [1]}), "metadata is not a JSON object"),
    "no entry": (_file({"a": 1}), "'a' has no dtype, shape and data_offsets"),
    "a missing field": (_file({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "has no dtype, shape and data_offsets"),
    "an unknown dtype": (_file({"a": _entry(dtype="I4")}, bytes(8)), "has dtype 'I4'"),
    "a negative size": (_file({"a": _entry(shape=[-2])}, bytes(8)), "not a list of sizes"),
    "cut off": (_file({"a": _entry()}, bytes(7)), "ends at byte 8 of its data, which has 7 bytes"),
    "a negative offset": (_file({"a": _entry(data_offsets=[-8, 0])}, bytes(8)), "ends at byte 0"),
    "another size": (_file({"a": _entry(shape=[3])}, bytes(12)), "has 8 bytes; its shape and dtype need 12"),
    "an overflow": (_file({"a": _entry(shape=[1 << 62, 1 << 62])}, bytes(8)), "its shape and dtype need"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    data, words = BROKEN[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(data)
    with pytest.raises(ContainerError, match=r"broken\.safetensors: ") as raised:
        read_arrays(path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="none: No such file or directory"):
        read_arrays(tmp_path / "none")
