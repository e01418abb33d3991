"""Sums of the rows of k in a narrow accumulator, added again in the orders that are known of frameworks.

For example, JAX adds the rows of a bias gradient in bf16, XLA on CPU one after another or in blocks of 32. The
tolerance of such a sum, in any order, soon exceeds the sum. But if every entry is bit for bit what one of these orders
gives, then it is that sum, whatever the tolerance.
"""

from collections.abc import Callable, Mapping
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
    """Rows (N, n) added one after another, each sum rounded to their format."""
    return reduce(np.add, rows, np.zeros(rows.shape[1:], rows.dtype))


def _add_blocks(rows: Array) -> Array:
    """Blocks of rows, and then their sums in turn: as many zeros in front as behind make the blocks whole."""
    while len(rows) > _BLOCK:
        missing = -len(rows) % _BLOCK
        padded = np.pad(rows, ((missing // 2, missing - missing // 2), (0, 0)))
        rows = _add_rows(padded.reshape(-1, _BLOCK, rows.shape[1]).swapaxes(0, 1))
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


def _is_sum(one: Quantity, accumulator: DTypeName, add: Callable[[Array], Array], columns: slice) -> bool:
    stored = one.observed.array.dtype
    with np.errstate(all="ignore"):
        sums = [
            add(part.right.take(columns=columns).astype(DTYPES[accumulator].numpy)).astype(stored)
            for part in one.due.parts
            if isinstance(part, Product)
        ]
        # Sums of several calls are added as they are stored, in the order of the calls or of a backward pass.
        totals = [reduce(np.add, ordered).astype(np.float64) for ordered in (sums, sums[::-1])]
    return any(np.array_equal(total, one.observed.take(columns=columns)[0]) for total in totals)
