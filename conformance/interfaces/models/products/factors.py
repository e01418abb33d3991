"""The products that a layer's quantities are, in pieces: what is due at some rows and columns, with its error.

For example, z = x W + b is one product and a bias, and dL/dW is a sum of products x_cᵀ k_c over the calls of a layer. A
factor is converted to float64 where it is needed and not before, so that memory holds a piece of it only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from .....reference import DTYPES, Array
from .....reference import rounding as r
from .....reference.error_model import Estimate, Reading

Index = Array | slice
"""Some rows or columns: their numbers, or a slice."""
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Factor:
    """A matrix of a trace, transposed or not. Its entries are first rounded to the format `rounded`, if that is not
    None. Under `recomputed`, a program may have used it with another rounding than it shows.
    """

    array: Array
    transposed: bool = False
    rounded: str | None = None
    recomputed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.array.shape
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def T(self) -> "Factor":
        """The transpose."""
        return replace(self, transposed=not self.transposed)

    def take(self, rows: Index = ALL, columns: Index = ALL) -> Array:
        """A piece as float64."""
        outer, inner = (columns, rows) if self.transposed else (rows, columns)
        piece = self.array[outer] if isinstance(inner, slice) and inner == ALL else self.array[outer][:, inner]
        if self.rounded is not None and piece.dtype != DTYPES[self.rounded].numpy:
            with np.errstate(over="ignore"):
                piece = piece.astype(DTYPES[self.rounded].numpy)
        wide = piece.astype(np.float64)
        return wide.T if self.transposed else wide

    def estimate(self, reading: Reading, rows: Index = ALL, columns: Index = ALL) -> Estimate:
        """A piece with the error that it has as a factor."""
        value = self.take(rows, columns)
        if not self.recomputed:
            return Estimate(value)
        return Estimate(value, reading.u * np.abs(value) + reading.underflow, once=True)


@dataclass(frozen=True, eq=False)
class Product:
    """left @ right, with the reading of its errors. `together` numbers the backward pass that it belongs to: products
    of one pass may be added in the format that they are computed in, before the sum is stored. `passed` is the reading
    of a coarser format that the product is rounded to in turn: a gradient is given back in the format of its parameter.
    """

    left: Factor
    right: Factor
    reading: Reading
    together: int = 0
    passed: Reading | None = None

    @property
    def inner(self) -> int:
        """The number of products that are added for an entry."""
        return self.left.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.left.shape[0], self.right.shape[1]

    def estimate(self, rows: Index = ALL, columns: Index = ALL) -> Estimate:
        """What is due at some rows and columns."""
        left = self.left.estimate(self.reading, rows=rows)
        due = r.product(left, self.right.estimate(self.reading, columns=columns), self.reading)
        if self.passed is None:
            return due
        return replace(due, error=self.reading.add(due.error, _round_once(due.value, self.passed)))

    @property
    def added(self) -> Reading:
        """The reading of additions to other parts of the same pass."""
        return self.passed or self.reading


@dataclass(frozen=True, eq=False)
class RowSums:
    """For each row i of a table, the sum of the rows of `rows` whose index is i: the gradient of a lookup."""

    indices: Array
    rows: Factor
    size: int
    reading: Reading
    together: int = 0

    @property
    def added(self) -> Reading:
        """The reading of additions to other parts of the same pass."""
        return self.reading

    @property
    def inner(self) -> int:
        """The number of rows that are added for the index that occurs most often."""
        return int(np.unique(self.indices, return_counts=True)[1].max(initial=0))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.size, self.rows.shape[1]

    def estimate(self, rows: Index = ALL, columns: Index = ALL) -> Estimate:
        """What is due at some rows and columns."""
        wanted = np.arange(self.size)[rows]
        order = np.argsort(self.indices, kind="stable")
        starts, ends = (np.searchsorted(self.indices[order], wanted, side) for side in ("left", "right"))
        width = len(np.arange(self.rows.shape[1])[columns])
        value, error = np.zeros((len(wanted), width)), np.zeros((len(wanted), width))
        for count in np.unique(ends - starts):
            some = np.flatnonzero(ends - starts == count)
            if count:
                picked = order[starts[some][:, None] + np.arange(count)]
                found = self.rows.estimate(self.reading, picked.ravel(), columns)
                parts = (None if a is None else a.reshape(len(some), count, width) for a in (found.value, found.error))
                own_value, own_error = parts
                assert own_value is not None  # an estimate has a value
                due = r.batch_sum(Estimate(own_value, own_error), self.reading)
                # A single row is copied.
                value[some], error[some] = due.value, 0.0 if count == 1 or due.error is None else due.error
        return Estimate(value, error)


Part = Product | RowSums


@dataclass(frozen=True, eq=False)
class Due:
    """What a quantity of a layer should be: a sum of parts and of arrays that are given.

    `reading` is that of the format in which it is stored. `bias` (columns,), float64, belongs to the sums of the one
    part that there is then; with `separate`, it is added to the rounded product. `before` is what the sum of a gradient
    began with.
    """

    parts: tuple[Part, ...]
    reading: Reading
    bias: Array | None = None
    before: Factor | None = None
    separate: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.parts[0].shape

    @property
    def cost(self) -> int:
        """The number of multiplications."""
        rows, columns = self.shape
        return sum(rows * columns * part.inner if isinstance(part, Product) else 0 for part in self.parts)

    def estimate(self, rows: Index = ALL, columns: Index = ALL) -> Estimate:
        """What is due at some rows and columns."""
        passes: dict[int, list[tuple[Estimate, Reading]]] = {}
        for part in self.parts:
            passes.setdefault(part.together, []).append((part.estimate(rows, columns), part.added))
        # Gradients of one backward pass are added in the format of the products, those of several as they are stored.
        sums = [add_parts([one for one, _ in some], some[0][1]) for some in passes.values()]
        if self.before is not None:
            sums.append(self.before.estimate(self.reading, rows, columns))
        due = add_parts(sums, self.reading)
        if self.reading.u > self.parts[0].added.u:
            due = replace(due, error=self.reading.add(due.error, _round_once(due.value, self.reading)))
        if self.bias is not None:
            due = r.add_bias(due, self.bias[columns], self.parts[0].reading)
        return due

    def centre(self, due: Estimate, columns: Index = ALL) -> Array:
        """What errors are measured from, to judge them together. It is the value, except for a bias that is added
        to a rounded product in a narrow format. What that addition loses depends on the bias alone wherever the bias is
        small beside the last place of the product, so it is the same in all rows and steps, and has a mean.
        """
        if self.bias is None or not self.separate:
            return due.value
        stored = self.parts[0].reading.format.numpy
        with np.errstate(over="ignore", invalid="ignore"):
            product = (due.value - self.bias[columns]).astype(stored).astype(np.float64)
            return (product + self.bias[columns]).astype(stored).astype(np.float64)


def _round_once(value: Array, reading: Reading) -> Array:
    return reading.u * np.abs(value) + reading.underflow


def add_parts(parts: Sequence[Estimate], reading: Reading) -> Estimate:
    """The sum of some parts, in any order, each addition rounded as `reading` says."""
    if len(parts) == 1:
        return parts[0]
    value = reduce(np.add, [part.value for part in parts])
    sizes = np.stack([np.abs(part.value) for part in parts])
    size = sizes.sum(0) if reading.p == 1 else np.sqrt(np.square(sizes).sum(0))
    added = replace(reading, u_acc=reading.u)
    own = added.sums(size, value, len(parts)) + reading.times(len(parts)) * reading.underflow
    jumps = [part.jump for part in parts if part.jump is not None]
    return Estimate(value, reading.add(own, *(part.error for part in parts)), reduce(np.add, jumps) if jumps else None)
