"""The file that holds a record: plain, or compressed as its name says (`.gz`, `.zst`)."""

import gzip
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Any

MOST_BYTES = 2**28
"""A record may have at most this many bytes, decompressed. A standard run on two frameworks has less than 10 MB."""
_PIECE = 2**20
COMPRESSED = (".gz", ".zst")
"""What the name of a compressed record ends with."""


class FileTrouble(ValueError):
    """A file that cannot be read or written as its name says, with what to do; one line."""


def _zstandard() -> Any:
    try:
        return import_module("zstandard")
    except ModuleNotFoundError:
        raise FileTrouble(
            "Zstandard is not installed; pip install 'kterm[zstd]', or name the file .jsonl.gz or .jsonl"
        ) from None


def require_form(path: Path) -> None:
    """Raise FileTrouble if this installation cannot compress as the name says."""
    if path.suffix == ".zst":
        _zstandard()


def compress(source: Path, target: Path, form: str) -> None:
    """Write a plain file as a file of this form, `.gz` or `.zst`. Equal contents give equal bytes. Raises OSError."""
    with source.open("rb") as plain, target.open("wb") as out:
        if form == ".zst":
            _zstandard().ZstdCompressor(level=19).copy_stream(plain, out, size=source.stat().st_size)
        else:
            # Neither the time nor the name of the file is a part of the bytes.
            with gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
                shutil.copyfileobj(plain, packed, _PIECE)


def read_bytes(path: Path) -> bytes:
    """The contents of a file, decompressed if its first bytes say that it is compressed.

    Raises OSError, and FileTrouble for a file that is damaged or larger than `MOST_BYTES`.
    """
    with path.open("rb") as raw, _unpacked(raw) as source:
        pieces: list[bytes] = []
        total = 0
        while piece := _read(source):
            pieces.append(piece)
            total += len(piece)
            if total > MOST_BYTES:
                raise FileTrouble(f"has more than {MOST_BYTES:,} bytes, decompressed; no record is that large")
    return b"".join(pieces)


@contextmanager
def _unpacked(raw: BufferedReader) -> Iterator[Any]:
    start = raw.peek(4)[:4]  # a pipe cannot go back
    if start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=raw) as source:
            yield source
    elif start == b"\x28\xb5\x2f\xfd":
        # A frame may ask for a window as large as it likes.
        with _zstandard().ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as source:
            yield source
    else:
        yield raw


def _read(source: Any) -> bytes:
    try:
        return source.read(_PIECE)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileTrouble(f"is damaged: {' '.join(str(error).split())}") from None
    except Exception as error:  # zstandard's own error is known by name only where it is installed
        if type(error).__module__.startswith("zstandard"):
            raise FileTrouble(f"is damaged: {' '.join(str(error).split())}") from None
        raise
