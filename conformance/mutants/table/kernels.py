"""Mistakes of tiled kernels: wrong only past an edge, in a remainder, over long sums, or for some batch sizes."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ....reference.steps import Change, Work, with_bias
from ....reference.value import Value, exact
from ..changes import rows_alone
from ..mutant import Mutant


def _past(index: int, axis: int) -> Change:
    """What lies at or past an index of the last axis but `axis` is left at zero."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = right()
        inside = np.arange(v.shape[axis]) < index
        return v.where(inside if axis == -1 else inside[:, None], exact(np.zeros(v.shape), w.reading))

    return change


def _remainder(tile: int) -> Change:
    """The rows that do not fill a tile are left out, where there is a whole tile."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        whole = w.batch - w.batch % tile
        return right() if whole in (0, w.batch) else rows_alone(slice(whole))(w, i, right)

    return change


def _passed_back(index: int) -> Change:
    """Only so many units of the layer after are summed up in what is passed back."""
    return lambda w, i, right: w.k[i + 1][..., :index] @ w.weights[i + 1].mT[..., :index, :]


def _summed(index: int) -> Change:
    """Only so many inputs are summed up in the pre-activation."""
    return lambda w, i, right: with_bias(w, i, w.x[i - 1][..., :index] @ w.weights[i][..., :index, :], "pre")


def _when(holds: Callable[[int], bool], rows: slice) -> Change:
    """For some batch sizes the weight gradient takes only some of the rows."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return rows_alone(rows)(w, i, right) if holds(w.batch) else right()

    return change


def _doubled_for_one(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """A batch of one is squeezed, and its sum taken of what is one example already."""
    return right() * 2.0 if w.batch == 1 else right()


def _narrow_sum(least: int) -> Change:
    """Partial sums over a long batch are rounded to the next narrower type: here, in eight parts."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        if w.batch < least:
            return right()
        edges = [w.batch * part // 8 for part in range(9)]
        total: Value | None = None
        for start, end in pairwise(edges):
            part = rows_alone(slice(start, end))(w, i, right)
            total = (part if total is None else total + part).narrowed(w.narrower)
        assert total is not None
        return total

    return change


def _column_swap(edge: int) -> Change:
    """The two columns at an edge exchanged: an off-by-one in where a tile begins."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = right()
        if v.shape[-1] <= edge:
            return v
        order = np.arange(v.shape[-1])
        order[[edge - 1, edge]] = edge, edge - 1
        return v.moved(lambda a: a[..., order])

    return change


KERNELS: tuple[Mutant, ...] = (
    Mutant(
        "columns-past-32", "a weight gradient of zero past column 32", "a second tile is never written",
        "widths up to 32", {"W": _past(32, -1)},
    ),
    Mutant(
        "rows-past-128", "a weight gradient of zero past row 128", "a second tile is never written",
        "widths up to 128", {"W": _past(128, -2)},
    ),
    Mutant(
        "batch-past-16", "only the first 16 rows of a batch in the weight gradient", "later tiles are not added up",
        "batches up to 16", {"W": rows_alone(slice(16))},
    ),
    Mutant(
        "batch-past-64", "only the first 64 rows of a batch in the weight gradient", "later tiles are not added up",
        "batches up to 64", {"W": rows_alone(slice(64))},
    ),
    Mutant(
        "batch-remainder", "the remainder of a batch modulo 8 left out of the weight gradient",
        "rows that do not fill a tile are lost", "batches below 8 or a multiple of it", {"W": _remainder(8)},
    ),
    Mutant(
        "fan-out-past-32", "only 32 units of the layer after in what is passed back", "later tiles are not added up",
        "widths up to 32, depth one", {"s": _passed_back(32)},
    ),
    Mutant(
        "inputs-past-64", "only the first 64 inputs in a pre-activation", "later tiles are not added up",
        "widths up to 64", {"z": _summed(64)},
    ),
    Mutant(
        "bias-past-16", "a bias gradient of zero past unit 16", "a second tile is never written",
        "widths up to 16, no bias", {"b": _past(16, -1)},
    ),
    Mutant(
        "k-past-32", "k-terms of zero past row 32 of the batch", "a second tile is never written",
        "batches up to 32", {"k": _past(32, -2)},
    ),
    Mutant(
        "columns-exchanged-at-16", "columns 15 and 16 of a weight gradient exchanged", "an off-by-one at a tile's edge",
        "widths up to 16", {"W": _column_swap(16)},
    ),
    Mutant(
        "narrow-sum", "partial sums of the weight gradient in the next narrower type over a batch of 64 or more",
        "digits are lost over long sums alone", "batches below 64", {"W": _narrow_sum(64)},
    ),
    Mutant(
        "odd-batch", "the last row left out of the weight gradient when B is odd", "one example is lost",
        "even batches", {"W": _when(lambda b: b % 2 == 1 and b > 1, slice(None, -1))},
    ),
    Mutant(
        "batch-of-one", "a weight gradient twice as large for a batch of one", "an axis of one squeezed away",
        "every other batch", {"W": _doubled_for_one},
    ),
    Mutant(
        "batch-3-of-4", "the last row left out of the weight gradient when B leaves 3 over 4", "one example is lost",
        "other batches", {"W": _when(lambda b: b % 4 == 3, slice(None, -1))},
    ),
)  # fmt: skip
