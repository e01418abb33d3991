"""A trace in memory or in a folder, and how it is made, array by array.

    builder = TraceBuilder(framework="torch", framework_version="2.13.0")
    x = builder.put("up.x", array)            # for each array
    builder.end_step(layers, parameters)      # for each step
    trace = builder.trace()

With a folder, each array is written when it is put, so that memory holds none of them.
"""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...reference import Array
from .container import FORMATS, ContainerError, Entry, StreamWriter, read_entries
from .errors import TraceError
from .manifest import FORMAT, MANIFEST, VERSION, Layer, Manifest, Parameter, Step


@dataclass(frozen=True)
class StoredArrays(Mapping[str, Array]):
    """The arrays of a safetensors file, by name. Each is mapped into memory when it is asked for, and read-only."""

    path: Path
    entries: Mapping[str, Entry]

    def __getitem__(self, name: str) -> Array:
        entry = self.entries[name]
        if not entry.size:
            return np.zeros(entry.shape, FORMATS[entry.dtype])
        skipped = entry.start % mmap.ALLOCATIONGRANULARITY
        with self.path.open("rb") as file:
            mapped = mmap.mmap(
                file.fileno(), entry.size + skipped, access=mmap.ACCESS_READ, offset=entry.start - skipped
            )
        return np.frombuffer(memoryview(mapped)[skipped:], FORMATS[entry.dtype]).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True)
class Trace:
    """Training steps: the manifest, and the arrays of each step by name."""

    manifest: Manifest
    steps: tuple[Mapping[str, Array], ...] = field(repr=False)

    @property
    def bytes(self) -> int:
        """The bytes of all arrays."""
        return sum(_bytes_of(arrays) for arrays in self.steps)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the trace as a folder. Raises TraceError."""
        path = _make_folder(Path(folder))
        try:
            for step, arrays in zip(self.manifest.steps, self.steps, strict=True):
                writer = StreamWriter(path / step.file)
                for name, array in arrays.items():
                    writer.add(name, array)
                writer.finish()
            _write_manifest(path, self.manifest)
        except OSError as error:
            raise TraceError(f"trace {path}: {error.strerror or error}; name a folder with enough room") from None

    def __str__(self) -> str:
        layers = {layer.name for step in self.manifest.steps for layer in step.layers if layer.kind == "dense"}
        counts = f"{_count(len(layers), 'dense layer')}, {_count(len(self.steps), 'step')}"
        return f"trace of {counts}, {self.bytes / 1e6:,.1f} MB"


class TraceBuilder:
    """Collects the arrays of one step after another, in memory or in a folder."""

    def __init__(self, folder: str | os.PathLike[str] | None = None, **facts: Any) -> None:
        """`facts` are the fields of the manifest that concern the whole trace. Raises TraceError if the folder cannot
        be made, or is not empty.
        """
        self._facts, self._folder = facts, None if folder is None else _make_folder(Path(folder))
        self._steps: list[Step] = []
        self._arrays: list[Mapping[str, Array]] = []
        self._open: dict[str, Array] = {}
        self._names: dict[str, int] = {}
        self._writer: StreamWriter | None = None

    @property
    def step(self) -> int:
        """The number of steps that have ended."""
        return len(self._steps)

    def put(self, name: str, array: Array) -> str:
        """Keep an array under this name, or under this name with a number if it is taken. In memory the array itself is
        kept, so nothing may write to it afterwards. Returns the name. Raises TraceError if it cannot be written.
        """
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        if count:
            return self.put(f"{name}#{count + 1}", array)
        if self._folder is None:
            self._open[name] = array
        else:
            try:
                if self._writer is None:
                    self._writer = StreamWriter(self._folder / self._file)
                self._writer.add(name, array)
            except OSError as error:
                raise TraceError(f"trace {self._folder}: {error.strerror or error}") from None
        return name

    @property
    def memory(self) -> int:
        """The bytes of the arrays that memory holds."""
        return _bytes_of(self._open) + sum(_bytes_of(one) for one in self._arrays if not isinstance(one, StoredArrays))

    @property
    def _file(self) -> str:
        return f"step-{len(self._steps):04}.safetensors"

    def end_step(self, layers: Sequence[Layer], parameters: Sequence[Parameter], notes: Sequence[str] = ()) -> None:
        """End a step. In a folder, the manifest is written anew, so that steps that have ended are never lost."""
        step = Step(file=self._file, layers=tuple(layers), parameters=tuple(parameters), notes=tuple(notes))
        if self._folder is None:
            self._arrays.append(self._open)
        else:
            try:
                writer = self._writer or StreamWriter(self._folder / self._file)
                self._arrays.append(StoredArrays(writer.path, writer.finish()))
                self._steps.append(step)
                _write_manifest(self._folder, self._manifest)
                self._steps.pop()
            except OSError as error:
                raise TraceError(f"trace {self._folder}: {error.strerror or error}") from None
        self._steps.append(step)
        self._open, self._names, self._writer = {}, {}, None

    def discard_step(self) -> None:
        """Drop the arrays since the last step ended."""
        if self._writer is not None:
            self._writer.discard()
        self._open, self._names, self._writer = {}, {}, None

    @property
    def _manifest(self) -> Manifest:
        return Manifest(format=FORMAT, version=VERSION, steps=tuple(self._steps), **self._facts)

    def trace(self) -> Trace:
        """The steps that have ended."""
        return Trace(self._manifest, tuple(self._arrays))


def open_arrays(path: Path) -> StoredArrays:
    """The arrays of a safetensors file, without reading them. Raises ContainerError."""
    return StoredArrays(path, read_entries(path))


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise TraceError(f"trace {path}: the folder is not empty; name a new one")
    except OSError as error:
        raise TraceError(f"trace {path}: {error.strerror or error}; name a folder that can be made") from None
    return path


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    partial = folder / f"{MANIFEST}.partial"
    partial.write_bytes(text + b"\n")
    partial.replace(folder / MANIFEST)


def _bytes_of(arrays: Mapping[str, Array]) -> int:
    if isinstance(arrays, StoredArrays):
        return sum(entry.size for entry in arrays.entries.values())
    return sum(array.nbytes for array in arrays.values())


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


__all__ = ["ContainerError", "StoredArrays", "Trace", "TraceBuilder", "TraceError", "open_arrays"]
