"""Reading and writing safetensors files: an 8-byte length, a JSON header, and the bytes of the arrays.

The format is written here and not by the `safetensors` package, so that the bytes of a file do not depend on a version
of that package. https://huggingface.co/docs/safetensors describes it.
"""

import json
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ...reference import Array

FORMATS: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "BOOL": np.dtype(np.bool_),
}
"""The dtypes that these files hold, by their names in the header."""
_NAMES = {dtype: name for name, dtype in FORMATS.items()}
_MOST_HEADER = 10_000_000


class ContainerError(ValueError):
    """A file that is no safetensors file, or that holds a dtype that is not used here. The message is one line."""


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays by name. Equal arrays and metadata, in the same order, give equal bytes.

    Wide dtypes come first, so that each array is aligned. Raises OSError.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    chunks, end = list[bytes](), 0
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [end, end + len(data)],
        }
        chunks.append(data)
        end += len(data)
    text = _header(header)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


@dataclass(frozen=True)
class Entry:
    """Where an array lies in a file: its dtype by name, its shape, its first byte in the file, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class StreamWriter:
    """Writes a file array by array. The header has room at the start, since its length is not known
    before the end. If that is too little, the data are moved.
    """

    _ROOM = 2**18

    def __init__(self, path: Path) -> None:
        """Begin the file. Raises OSError."""
        self.path = path
        self._file = path.open("wb+")
        self._entries: dict[str, Entry] = {}
        self._end = self._start = 8 + self._ROOM
        self._file.seek(self._end)

    def add(self, name: str, array: Array) -> None:
        """Write an array. Raises OSError."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        if array.size:
            self._file.write(array.reshape(-1).view(np.uint8).data)
        self._entries[name] = Entry(_NAMES[array.dtype], array.shape, self._end, array.nbytes)
        self._end += array.nbytes

    def finish(self) -> dict[str, Entry]:
        """Write the header and close the file. Raises OSError."""
        with self._file as file:
            text = _header({name: self._row(entry) for name, entry in self._entries.items()})
            moved = max(0, len(text) - self._ROOM)
            if moved:
                self._move(moved)
            file.seek(0)
            room = self._start + moved - 8
            file.write(struct.pack("<Q", room) + text.ljust(room))
        return {name: Entry(one.dtype, one.shape, one.start + moved, one.size) for name, one in self._entries.items()}

    def _row(self, entry: Entry) -> dict[str, Any]:
        start = entry.start - self._start
        return {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, start + entry.size]}

    def _move(self, by: int) -> None:
        end, piece = self._end, 2**24
        while end > self._start:
            start = max(self._start, end - piece)
            self._file.seek(start)
            data = self._file.read(end - start)
            self._file.seek(start + by)
            self._file.write(data)
            end = start

    def discard(self) -> None:
        """Close the file and remove it."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _header(rows: Mapping[str, Any]) -> bytes:
    text = json.dumps(rows, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def read_entries(path: Path) -> dict[str, Entry]:
    """Where each array of a file lies, without reading the arrays. Raises ContainerError, in one line that names the
    file.
    """
    try:
        # A pipe or a device could be opened and never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ContainerError("is no file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = _header_length(start, size)
            entries, _ = _parse_header(file.read(length), size - 8 - length)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ContainerError(f"{path}: {what}") from None
    return {name: Entry(e.dtype, e.shape, e.start + 8 + length, e.size) for name, e in entries.items()}


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a file. Raises ContainerError, in one line that names the file."""
    try:
        return _parse(path.read_bytes())
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror or error}") from None
    except ContainerError as error:
        raise ContainerError(f"{path}: {error}") from None


def _parse(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    length = _header_length(data[:8], len(data))
    entries, texts = _parse_header(data[8 : 8 + length], len(data) - 8 - length)
    body = memoryview(data)[8 + length :]
    return {
        name: np.frombuffer(body[one.start : one.start + one.size], FORMATS[one.dtype]).reshape(one.shape)
        for name, one in entries.items()
    }, texts


def _header_length(start: bytes, size: int) -> int:
    if len(start) < 8:
        raise ContainerError(f"has {size} bytes, which is no safetensors file")
    (length,) = struct.unpack("<Q", start)
    if length > min(_MOST_HEADER, size - 8):
        raise ContainerError(f"its header should have {length} bytes, and {size - 8} are there")
    return length


def _parse_header(text: bytes, room: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries, with bytes counted from the end of the header, and the metadata. `room` is the data's length."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise ContainerError("its header is not JSON with distinct names") from None
    if not isinstance(header, dict):
        raise ContainerError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ContainerError("its metadata is not a JSON object")
    texts = {name: str(value) for name, value in metadata.items() if value}
    return {name: _entry(name, entry, room) for name, entry in header.items()}, texts


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _entry(name: str, entry: Any, room: int) -> Entry:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise ContainerError(f"{name!r} has no dtype, shape and data_offsets in the header")
    if dtype not in FORMATS:
        raise ContainerError(f"{name!r} has dtype {dtype[:20]!r}; known are {', '.join(FORMATS)}")
    if len(shape) > 32 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ContainerError(f"{name!r} has a shape that is not a list of sizes")
    size = math.prod(shape) * FORMATS[dtype].itemsize
    if not 0 <= start <= end <= room:
        raise ContainerError(f"{name!r} ends at byte {end} of its data, which has {room} bytes")
    if end - start != size:
        raise ContainerError(f"{name!r} has {end - start} bytes; its shape and dtype need {size}")
    return Entry(dtype, tuple(shape), start, size)
