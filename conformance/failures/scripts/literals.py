"""NumPy arrays as Python source that gives back their very bits, and comments, in lines of at most 120 columns."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....reference import Array

WIDTH = 120
_NO_BREAK = "\x00"
_ROW, _WHOLE = 104, 85
"""How long a row of numbers may be, and an array in one line: the rest is for what stands around them."""


def number(value: Any) -> str:
    """A number in the fewest digits that give it back in its own dtype; infinities and NaN as NumPy's."""
    if not np.isfinite(value):
        return "np.nan" if np.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    short = str(value)
    # Python reads it as float64 first, which might round it to a neighbour.
    return short if value.dtype.type(float(short)) == value else repr(float(value))


def literal(array: Array) -> str:
    """An expression for an array; of bfloat16, which NumPy has not, for a float32 array with the same numbers."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    kind = f"np.{array.dtype.name}"
    if not array.size:
        return f"np.zeros({array.shape}, {kind})"
    return f"np.array({_nested(array, 0)}, {kind})"


def rounded(tolerance: Array) -> Array:
    """A tolerance in three digits."""
    return np.array([float(f"{t:.3g}") for t in tolerance.flat]).reshape(tolerance.shape)


def _nested(array: Array, depth: int) -> str:
    if array.ndim == 0:
        return number(array[()])
    if array.ndim > 1:
        rows = [_nested(row, depth + 1) for row in array]
        flat = f"[{', '.join(rows)}]"
        return flat if len(flat) <= _WHOLE and "\n" not in flat else _block(rows)
    numbers = [number(value) for value in array]
    flat = f"[{', '.join(numbers)}]"
    return flat if len(flat) <= (_ROW if depth else _WHOLE) else _block(_wrapped(numbers))


def _block(lines: Sequence[str]) -> str:
    return "[\n" + "\n".join(f"{textwrap.indent(line, '    ')}," for line in lines) + "\n]"


def _wrapped(items: Sequence[str]) -> list[str]:
    """Items joined by commas, in lines."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= _ROW - 4:
            lines[-1] += f", {item}"
        else:
            lines.append(item)
    return lines


def comment(text: str) -> str:
    """Prose as a comment, which may stand in a block; lines of `text` stay lines, and what is indented goes on further
    in.
    """
    return "\n".join(f"# {line}" for told in text.splitlines() for line in _filled(told))


def _filled(line: str) -> list[str]:
    lead = line[: len(line) - len(line.lstrip())]
    return filled(line.strip(), WIDTH - 6, lead, f"{lead}    " if lead else "").splitlines()


def filled(text: str, width: int = WIDTH - 2, first: str = "", rest: str = "") -> str:
    """Prose in lines of a width, behind these spaces; `unbroken` parts stay in one line."""
    wrapped = textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return wrapped.replace(_NO_BREAK, " ")


def unbroken(text: str) -> str:
    """A text for `filled` that is to stay in one line."""
    return text.replace(" ", _NO_BREAK)
