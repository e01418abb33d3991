"""One quantity of a layer, compared with what is due, piece by piece.

A product of more than `MOST_PRODUCTS` multiplications is judged on some of its rows and columns, which are drawn from
its name, and in projection: with random signs v, the sums of each row times v are known at the cost of a
matrix-vector product. Every entry has a part in one of them, at √columns times the tolerance of a single entry.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from .....reference import DTYPES, Array, DType
from .....reference.error_model import SIGMAS, Estimate
from ....checks.comparison.compare import departures
from .factors import ALL, Due, Factor, Index, Part, RowSums
from .likeness import MOST_SHOWN, show_errors

MOST_PRODUCTS = 10**10
"""The multiplications of one quantity that is judged whole."""
_MOST_NUMBERS = 8 * 10**6
"""The numbers of a piece of both factors together."""
_MOST_SIDE, _LEAST_SIDE, _MOST_ENTRIES = 1024, 16, 2**20
_SUMS = 7
_MOST_ROWS = 8


@dataclass(frozen=True)
class Worst:
    """The entry with the largest error, in units of its tolerance (`ratio`), and its numbers."""

    ratio: float = 0.0
    at: tuple[int, int] = (0, 0)
    observed: float = 0.0
    expected: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Compared:
    """A quantity compared. `power` is the norm of what is due over that of the tolerance, `normwise` the norm of the
    error over that of the tolerance, and `relative` the norm of the error over that of what is due.

    `judged` and `entries` count entries; `free` those of the judged for which any value is right, since a factor is not
    finite. `departing` holds places of entries above their tolerance, at most a few hundred, and `share` how many of
    the judged entries are. `sums` are those of a cluster (checks/whole_run/moments.py), or None in float64, and
    `shown` are the errors of some entries as `likeness.show_errors` gives them. For a quantity that is not judged
    whole, `projected` is the largest error of a projection in units of its tolerance, and `single` and `line` are the
    smallest errors of one entry and of a whole row or column that would have been seen, relative to the root mean
    square of the tensor.
    """

    worst: Worst
    power: float
    normwise: float
    relative: float
    within_bound: bool
    judged: int
    entries: int
    free: int
    share: float
    departing: tuple[tuple[int, int], ...] = ()
    sums: Array | None = field(default=None, compare=False)
    shown: Array | None = field(default=None, compare=False)
    projected: float = 0.0
    single: float = 0.0
    line: float = 0.0

    @property
    def coverage(self) -> float:
        """The share of the entries that is judged by itself."""
        return self.judged / self.entries if self.entries else 1.0

    @property
    def departs(self) -> bool:
        """Whether anything is above its tolerance."""
        return self.worst.ratio > 1 or self.projected > 1


class _Totals:
    """What the pieces add up to."""

    def __init__(self) -> None:
        self.worst = Worst()
        self.value = self.tolerance = self.error = 0.0
        self.judged = self.free = self.above = 0
        self.departing: list[tuple[int, int]] = []
        self.sums = np.zeros(_SUMS)
        self.shown: list[Array] = []
        """Errors in σ of some entries, and the signs of their values."""

    def add(self, due: Estimate, seen: Array, limit: Array, most: float, rows: Array, columns: Array) -> None:
        value = due.value
        with np.errstate(all="ignore"):
            ratio = departures(most, value, seen, limit)
            known = np.isfinite(value)
            error = np.where(known & np.isfinite(seen), seen - value, 0.0)
            self.value += float(np.square(np.where(known, value, 0.0)).sum())
            self.tolerance += float(np.square(np.where(known, limit, 0.0)).sum())
            self.error += float(np.square(error).sum())
        self.judged += value.size
        self.free += value.size - int(np.count_nonzero(known))
        if not ratio.size:
            return
        i, j = divmod(int(ratio.argmax()), ratio.shape[1])
        if ratio[i, j] > self.worst.ratio:
            place = int(rows[i]), int(columns[j])
            numbers = (float(a[i, j]) for a in (seen, value, limit))
            self.worst = Worst(float(ratio[i, j]), place, *numbers)
        if ratio[i, j] > 1:
            above = np.argwhere(ratio > 1)
            self.above += len(above)
            step = max(1, len(above) // 64)
            self.departing += [(int(rows[a]), int(columns[b])) for a, b in above[::step][:64]]

    def measure(self, due: Estimate, centre: Array, seen: Array, u: float, tiny: float) -> None:
        """Add to the sums of errors in σ. Entries below the normal range are left out: they may be flushed. So are sums
        in a narrow accumulator, whose errors may be of one sign.
        """
        if due.error is None or due.jump is not None:
            return
        with np.errstate(all="ignore"):
            e, v = (seen - centre) / due.error, due.value * u / due.error
        counted = np.isfinite(e) & np.isfinite(v) & (np.abs(due.value) >= tiny)
        e, v = np.where(counted, e, 0.0), np.where(counted, v, 0.0)
        rows = (e, np.copysign(e, e * v), np.square(e), np.abs(v), e * v, np.square(v))
        self.sums += [np.count_nonzero(counted), *(float(row.sum()) for row in rows)]
        if (room := MOST_SHOWN - sum(one.shape[1] for one in self.shown)) > 0:
            step = max(1, e.size // MOST_SHOWN)
            self.shown.append(np.stack([e.ravel(), np.sign(v).ravel()])[:, ::step][:, :room])


def compare(due: Due, most: Due, observed: Factor, computed: DType, name: str, budget: int = MOST_PRODUCTS) -> Compared:
    """Compare an observed matrix with what is due. `due` has errors as standard deviations, and `most` as bounds.
    `computed` is the format of the products. The name decides which rows and columns are judged of a quantity that is
    not judged whole.
    """
    totals, reading, format = _Totals(), due.reading, computed
    whole = due.cost <= budget
    rows, columns = due.shape
    some_rows, some_columns = (np.arange(rows), np.arange(columns)) if whole else _sample(due, name, budget)
    within, projected, single, line = True, 0.0, 0.0, 0.0
    pieces = _pieces(due, some_rows, some_columns)
    if not whole:
        ratios, single, line = _project(due, observed, name)
        projected = float(ratios.max(initial=0.0))
        # The rows whose sums depart are judged entry by entry.
        pieces = chain(
            pieces, _blocks(due, np.argsort(-ratios)[: min(_MOST_ROWS, int((ratios > 1).sum()))], np.arange(columns))
        )
    for i, j in pieces:
        estimate, seen = due.estimate(i, j), observed.take(i, j)
        limit = estimate.tolerance(reading)
        before = totals.above
        totals.add(estimate, seen, limit, format.max, i, j)
        if format.name != "f64":
            totals.measure(estimate, due.centre(estimate, j), seen, format.u, format.tiny)
        if totals.above > before and within:
            bounds = most.estimate(i, j).tolerance(most.reading)
            within = bool((departures(format.max, estimate.value, seen, bounds) <= 1).all())
    value, tolerance, error = (math.sqrt(total) for total in (totals.value, totals.tolerance, totals.error))
    return Compared(
        worst=totals.worst,
        power=value / tolerance if tolerance else math.inf,
        normwise=error / tolerance if tolerance else (math.inf if error else 0.0),
        relative=error / value if value else (math.inf if error else 0.0),
        within_bound=within and (projected <= 1 or totals.worst.ratio > 1),
        judged=min(totals.judged, rows * columns),
        entries=rows * columns,
        free=totals.free,
        share=totals.above / totals.judged if totals.judged else 0.0,
        departing=tuple(totals.departing[:512]),
        sums=totals.sums if totals.sums[0] else None,
        shown=show_errors(*np.concatenate(totals.shown, axis=1)) if totals.shown else None,
        projected=projected,
        single=single,
        line=line,
    )


def seed_of(name: str) -> np.random.Generator:
    """Random numbers that depend on a name alone, so that a trace is judged alike each time."""
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big"))


def _sample(due: Due, name: str, budget: int) -> tuple[Array, Array]:
    """Rows and columns that are judged: half of the budget each, and at least one of each."""
    rows, columns = due.shape
    rng, inner = seed_of(name), max(1, due.cost // (rows * columns))
    counts = (max(1, min(n, budget // (2 * other * inner))) for n, other in ((rows, columns), (columns, rows)))
    i, j = (np.sort(rng.choice(n, count, replace=False)) for n, count in zip((rows, columns), counts, strict=True))
    return i, j


def _pieces(due: Due, some_rows: Array, some_columns: Array) -> Iterator[tuple[Array, Array]]:
    """The whole of some rows, and the rest of some columns, in pieces."""
    rows, columns = (np.arange(n) for n in due.shape)
    yield from _blocks(due, some_rows, columns)
    rest = np.setdiff1d(rows, some_rows, assume_unique=True)
    if len(rest):
        yield from _blocks(due, rest, some_columns)


def _blocks(due: Due, rows: Array, columns: Array) -> Iterator[tuple[Array, Array]]:
    if not len(rows) or not len(columns):
        return
    inner = max(1, *(part.inner for part in due.parts))
    side = min(_MOST_SIDE, max(_LEAST_SIDE, _MOST_NUMBERS // (2 * inner)))
    high = min(len(rows), side)
    wide = min(len(columns), max(side, min(_MOST_ENTRIES // high, _MOST_NUMBERS // inner - high)))
    for i in range(0, len(rows), high):
        for j in range(0, len(columns), wide):
            yield rows[i : i + high], columns[j : j + wide]


def _project(due: Due, observed: Factor, name: str) -> tuple[Array, float, float]:
    """The errors of the sums of rows with random signs, (rows,), in units of their tolerance. Then the smallest error
    of one entry, and of every entry of one row or column, that one of them would have shown, relative to the root mean
    square of the tensor.
    """
    rows, columns = due.shape
    signs = seed_of(f"{name} signs").choice([-1.0, 1.0], columns)
    u, u_wide = due.reading.u, DTYPES["f64"].u
    expected, variance, squares, observed_sums = (np.zeros(rows) for _ in range(4))
    for piece in _runs(columns, max(1, _MOST_NUMBERS // rows)):
        seen = observed.take(ALL, piece)
        observed_sums += seen @ signs[piece]
        squares += np.square(seen).sum(1)
    for part in due.parts:
        value, terms = _row_sums(part, signs)
        reading = part.reading
        expected += value
        variance += (reading.accumulation(part.inner) ** 2 + reading.u**2) * terms
        variance += (reading.partial_sums(part.inner) ** 2 + 2 * u**2) * squares
        variance += columns * (part.inner * reading.underflow_acc**2 + reading.underflow**2)
        # The oracle adds n products of sums of float64 numbers.
        variance += (part.inner + columns) * u_wide**2 * terms
    if due.bias is not None:
        expected += due.bias @ signs
        variance += due.parts[0].reading.u ** 2 * (due.parts[0].inner + 2) * np.square(due.bias).sum()
    if due.before is not None:
        for piece in _runs(columns, max(1, _MOST_NUMBERS // rows)):
            expected += due.before.take(ALL, piece) @ signs[piece]
    variance += len(due.parts) * u**2 * squares
    tolerance = SIGMAS * np.sqrt(variance)
    ratio = departures(due.reading.format.max * columns, expected, observed_sums, tolerance)
    typical = math.sqrt(float(squares.sum()) / (rows * columns)) or 1.0
    seen_entry = 2 * float(np.median(tolerance)) / typical
    return ratio, seen_entry, seen_entry / math.sqrt(columns)


def _row_sums(part: Part, signs: Array) -> tuple[Array, Array]:
    """For each row of a part, its sum times signs, and the sum of the squares of all products in it."""
    if isinstance(part, RowSums):
        value, terms = np.zeros(part.size), np.zeros(part.size)
        for piece in _runs(len(part.indices), max(1, _MOST_NUMBERS // len(signs))):
            taken = part.rows.take(piece, ALL)
            np.add.at(value, part.indices[piece], taken @ signs)
            np.add.at(terms, part.indices[piece], np.square(taken).sum(1))
        return value, terms
    rows, inner = part.left.shape
    folded, squares = np.zeros(inner), np.zeros(inner)
    for piece in _runs(len(signs), max(1, _MOST_NUMBERS // inner)):
        right = part.right.take(ALL, piece)
        folded += right @ signs[piece]
        squares += np.square(right).sum(1)
    value, terms = np.zeros(rows), np.zeros(rows)
    for piece in _runs(rows, max(1, _MOST_NUMBERS // inner)):
        left = part.left.take(piece, ALL)
        value[piece] += left @ folded
        terms[piece] += np.square(left) @ squares
    return value, terms


def _runs(n: int, length: int) -> Iterator[slice]:
    for start in range(0, n, length):
        yield slice(start, min(n, start + length))


__all__ = ["MOST_PRODUCTS", "Compared", "Index", "Worst", "compare", "seed_of"]
