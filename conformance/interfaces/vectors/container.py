"""Reading and writing safetensors files: an 8-byte length, a JSON header, and the bytes of the arrays.

The format is written here and not by the `safetensors` package, so that the bytes of a file do not depend on a version
of that package. https://huggingface.co/docs/safetensors describes it.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ....reference import Array

FORMATS: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
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
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a file. Raises ContainerError, in one line that names the file."""
    try:
        return _parse(path.read_bytes())
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror or error}") from None
    except ContainerError as error:
        raise ContainerError(f"{path}: {error}") from None


def _parse(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    if len(data) < 8:
        raise ContainerError(f"has {len(data)} bytes, which is no safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(_MOST_HEADER, len(data) - 8):
        raise ContainerError(f"its header should have {length} bytes, and {len(data) - 8} are there")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise ContainerError("its header is not JSON with distinct names") from None
    if not isinstance(header, dict):
        raise ContainerError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ContainerError("its metadata is not a JSON object")
    body = memoryview(data)[8 + length :]
    texts = {name: str(value) for name, value in metadata.items() if value}
    return {name: _array(name, entry, body) for name, entry in header.items()}, texts


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _array(name: str, entry: Any, body: memoryview) -> Array:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise ContainerError(f"{name!r} has no dtype, shape and data_offsets in the header")
    if dtype not in FORMATS:
        raise ContainerError(f"{name!r} has dtype {dtype[:20]!r}; known are {', '.join(FORMATS)}")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ContainerError(f"{name!r} has a shape that is not a list of sizes")
    size = math.prod(shape) * FORMATS[dtype].itemsize
    if not 0 <= start <= end <= len(body):
        raise ContainerError(f"{name!r} ends at byte {end} of its data, which has {len(body)} bytes")
    if end - start != size:
        raise ContainerError(f"{name!r} has {end - start} bytes; its shape and dtype need {size}")
    return np.frombuffer(body[start:end], FORMATS[dtype]).reshape(shape)
