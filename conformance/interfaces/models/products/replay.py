"""Sums of the rows of k in a narrow accumulator, added again in the orders that are known of frameworks.

For example, JAX adds the rows of a bias gradient in bf16, XLA on CPU one after another or, along an axis of more than
32, in blocks. The tolerance of such a sum, in any order, soon exceeds the sum. But if every entry is bit for bit what
one of these orders gives, then it is that sum, whatever the tolerance.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from .....adapters.traces.manifest import DTypeName
from .....reference import DTYPES, Array
from .factors import Product
from .quantities import Quantity

_BLOCK = 32
_MOST_ROWS = 2**20
"""The rows of a sum that is added again."""
_MOST_NUMBERS = 8 * 10**6
"""The numbers of the columns that are added at once."""


def _add_rows(rows: Array) -> Array:
    """Rows (..., n) added one after another, each sum rounded to their format."""
    flat = rows.reshape(-1, rows.shape[-1])
    return reduce(np.add, flat, np.zeros(flat.shape[1:], flat.dtype))


def _add_blocks(rows: Array) -> Array:
    """Blocks of rows (..., n), and then their sums in turn. A block has at most 32 rows along each leading axis; as
    many zeros in front as behind make blocks whole.
    """
    while max(rows.shape[:-1], default=0) > _BLOCK:
        sizes = [min(n, _BLOCK) for n in rows.shape[:-1]]
        missing = [-n % size for n, size in zip(rows.shape, sizes, strict=False)]
        padded = np.pad(rows, [*((n // 2, n - n // 2) for n in missing), (0, 0)])
        counts = [n // size for n, size in zip(padded.shape, sizes, strict=False)]
        axes = len(sizes)
        split = padded.reshape(*(n for pair in zip(counts, sizes, strict=True) for n in pair), rows.shape[-1])
        inside = split.transpose(*range(1, 2 * axes, 2), *range(0, 2 * axes, 2), 2 * axes)
        blocks = inside.reshape(math.prod(sizes), *counts, rows.shape[-1])
        rows = reduce(np.add, blocks, np.zeros(blocks.shape[1:], rows.dtype))
    return _add_rows(rows)


ORDERS: Mapping[str, Callable[[Array], Array]] = {
    "one after another": _add_rows,
    f"in blocks of {_BLOCK}": _add_blocks,
}
"""The orders, in words."""


def find_order(one: Quantity, accumulator: DTypeName) -> str | None:
    """The order in which the rows of k, added in the format `accumulator`, give every entry of a gradient dL/db bit for
    bit; None if none does, or if the gradient is no such sum.
    """
    rows, columns = sum(part.inner for part in one.due.parts), one.due.shape[1]
    if one.name != "dL/db" or one.due.before is not None or rows > _MOST_ROWS:
        return None
    step = max(1, _MOST_NUMBERS // max(1, rows))
    pieces = [slice(start, start + step) for start in range(0, columns, step)]
    return next(
        (words for words, add in ORDERS.items() if all(_is_sum(one, accumulator, add, p) for p in pieces)), None
    )


def _with_axes(rows: Array, axes: Sequence[int]) -> Array:
    """Rows with their leading axes, where they have these."""
    return rows.reshape(*axes, rows.shape[1]) if math.prod(axes) == len(rows) else rows


def _is_sum(one: Quantity, accumulator: DTypeName, add: Callable[[Array], Array], columns: slice) -> bool:
    stored = one.observed.array.dtype
    with np.errstate(all="ignore"):
        sums = [
            add(_with_axes(part.right.take(columns=columns), one.axes).astype(DTYPES[accumulator].numpy)).astype(stored)
            for part in one.due.parts
            if isinstance(part, Product)
        ]
        # Sums of several calls are added as they are stored, in the order of the calls or of a backward pass.
        totals = [reduce(np.add, ordered).astype(np.float64) for ordered in (sums, sums[::-1])]
    return any(np.array_equal(total, one.observed.take(columns=columns)[0]) for total in totals)
