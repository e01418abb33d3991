"""NumPy arrays as Python source that reproduces their bits, and comments, in lines of at most 120 columns."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....reference import Array

WIDTH = 120
_NO_BREAK = "\x00"
_EQUAL = 4
"""An array of so many equal numbers or more is written as np.zeros, np.ones or np.full."""
_ROW, _WHOLE = 104, 85
"""The most columns of a row of numbers, and of an array on one line; the rest of the line is for the code around it."""


def format_number(value: Any) -> str:
    """A NumPy scalar in the fewest digits that give it back in its dtype; infinities and NaN as `np.inf`, `np.nan`."""
    if not np.isfinite(value):
        return "np.nan" if np.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    short = str(value)
    # Python reads a literal as float64 first, which can round it to a neighbour of a narrower dtype.
    return short if value.dtype.type(float(short)) == value else repr(float(value))


def format_array(array: Array) -> str:
    """An expression for an array of any shape and dtype. NumPy has no bfloat16, so a bfloat16 array becomes a float32
    array with the same numbers.
    """
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    dtype = f"np.{array.dtype.name}"
    if not array.size:
        return f"np.zeros({array.shape}, {dtype})"
    if array.size >= _EQUAL and len({one.tobytes() for one in array.flat}) == 1:
        return _format_equal(array, dtype)
    return f"np.array({_nested(array, 0)}, {dtype})"


def _format_equal(array: Array, dtype: str) -> str:
    """An array of equal numbers in its short form."""
    shape = f"{array.shape[0]}" if array.ndim == 1 else f"{array.shape}"
    text = format_number(array.flat[0])
    named = {"0.0": "zeros", "1.0": "ones"}.get(text)
    return f"np.{named}({shape}, {dtype})" if named else f"np.full({shape}, {text}, {dtype})"


def round_tolerance(tolerance: Array) -> Array:
    """A tolerance, each entry in three digits, as float64 in the same shape."""
    return np.array([float(f"{t:.3g}") for t in tolerance.flat]).reshape(tolerance.shape)


def _nested(array: Array, depth: int) -> str:
    if array.ndim == 0:
        return format_number(array[()])
    if array.ndim > 1:
        rows = [_nested(row, depth + 1) for row in array]
        flat = f"[{', '.join(rows)}]"
        return flat if len(flat) <= _WHOLE and "\n" not in flat else _block(rows)
    numbers = [format_number(value) for value in array]
    flat = f"[{', '.join(numbers)}]"
    return flat if len(flat) <= (_ROW if depth else _WHOLE) else _block(_lines(numbers))


def _block(lines: Sequence[str]) -> str:
    return "[\n" + "\n".join(f"{textwrap.indent(line, '    ')}," for line in lines) + "\n]"


def _lines(items: Sequence[str]) -> list[str]:
    """Items joined by commas, in lines."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= _ROW - 4:
            lines[-1] += f", {item}"
        else:
            lines.append(item)
    return lines


def format_comment(text: str) -> str:
    """Prose as a comment that fits into an indented block. Line breaks in `text` are kept, and a line that is indented
    continues further in.
    """
    return "\n".join(f"# {part}" for line in text.splitlines() for part in _wrap_line(line))


def _wrap_line(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return wrap_text(line.strip(), WIDTH - 6, indent, f"{indent}    " if indent else "").splitlines()


def wrap_text(text: str, width: int = WIDTH - 2, first: str = "", rest: str = "") -> str:
    """Prose in lines of at most `width` columns; the first line starts with `first`, all others with `rest`. What
    `unbroken` returned stays on one line.
    """
    wrapped = textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return wrapped.replace(_NO_BREAK, " ")


def unbroken(text: str) -> str:
    """A text that `wrap_text` keeps on one line."""
    return text.replace(" ", _NO_BREAK)
