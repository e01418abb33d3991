"""The cause of a finding, if the data earn one: the only mistake that explains every entry that is looked at.

A hypothesis (`hypotheses.py`) explains a finding if what is due under it is what the framework gave, in a sample that
has the largest errors, each entry within the hypothesis' own tolerance. Explanations by a result that was changed come
next, and those by a narrower arithmetic last, since their tolerance is wider. If several explain it, all are named as
possible; if none does, what is known is described.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .....adapters.traces.manifest import DTypeName
from .....reference import DTYPES, Array
from .....reference.arithmetic import Arithmetic
from .....reference.error_model import Estimate, Reading, deviation
from ....checks.comparison.compare import departures
from ..products.compare import Compared, seed_of
from ..products.factors import Due, Product
from ..products.quantities import Quantity
from ..products.replay import find_order
from .hypotheses import Around, list_hypotheses

_MOST_SIDE = 48
"""The rows and columns of the sample."""
_LEAST_ENTRIES = 6
"""A number that is fitted, such as a factor, needs at least this many entries to be a finding about them."""
_MOST_NAMED = 3
_LEAST_SIZE = 1 / 4
"""The root mean square error of sums in a narrow accumulator, in its σ: √(1/9) where the partial sums are random, since
the mean square of a rounding is u²/3. One rounding of each factor and of the result has √(3/n) for n terms. An error
that is smaller than this has another cause, or n is too small to know.
"""
_MOST_SIZE = 1.0
"""The most that it is: its mean square is at most 1/3 in theory. What is larger may lie within 10 of so wide a σ and
still is no rounding, such as a row that was left out.
"""
NARROW: tuple[DTypeName, ...] = ("bf16", "f16", "f32")


@dataclass(frozen=True)
class Cause:
    """Why a quantity departs. `is_known` says that the data earn it; otherwise `text` describes what is seen."""

    text: str
    is_known: bool


@dataclass(frozen=True, eq=False)
class Sample:
    """Some rows and columns: what was observed there, and what is due by the rule."""

    rows: Array
    columns: Array
    seen: Array
    due: Estimate
    reading: Reading
    most: float

    def explained(self, due: Estimate, reading: Reading | None = None, factor: float = 1.0) -> bool:
        """Whether every entry is within the tolerance of another estimate."""
        limit = due.tolerance(reading or self.reading) * factor
        return bool((departures(self.most, due.value, self.seen, limit) <= 1).all())


def find_cause(around: Around, one: Quantity, found: Compared) -> Cause:
    """The cause of a finding about a quantity."""
    sample = _take_sample(one, found)
    if sample.explained(sample.due):
        return Cause(_describe(one, found, sample), False)
    for explain in (_by_hypothesis, _by_result, _by_arithmetic):
        cause = join_causes(list(explain(around, one, sample)))
        if cause is not None:
            return cause
    return _find_part(one, found, sample) or Cause(_describe(one, found, sample), False)


def join_causes(names: Sequence[str]) -> Cause | None:
    """A cause from all that explain a finding: it is known if there is one alone. None if there is none."""
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        return Cause(names[0], True) if names else None
    more = len(names) - _MOST_NAMED
    shown = [*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    return Cause(f"unknown; each of these explains it: {'; '.join(shown)}", False)


def _take_sample(one: Quantity, found: Compared) -> Sample:
    rng = seed_of(f"{one.layer} {one.label} causes")
    places = found.departing or (found.worst.at,)

    def pick(axis: int) -> Array:
        n = one.due.shape[axis]
        if n <= _MOST_SIDE:
            return np.arange(n)
        wanted = [found.worst.at[axis], *(place[axis] for place in places)]
        chosen = list(dict.fromkeys(wanted))[: _MOST_SIDE // 2]
        others = rng.choice(n, min(n, _MOST_SIDE), replace=False)
        return np.unique([*chosen, *others[: _MOST_SIDE - len(chosen)]])

    rows, columns = pick(0), pick(1)
    due = one.due.estimate(rows, columns)
    reading = one.due.reading
    return Sample(rows, columns, one.observed.take(rows, columns), due, reading, DTYPES[one.dtype].max)


def _by_hypothesis(around: Around, one: Quantity, sample: Sample) -> Iterator[str]:
    for hypothesis in list_hypotheses(around, one):
        due = hypothesis.due.estimate(sample.rows, sample.columns)
        if hypothesis.result is not None:
            narrow = DTYPES[hypothesis.result]
            if not _is_in_format(sample.seen, narrow.numpy):
                continue
            rounded = narrow.u * np.abs(due.value) * (1 + narrow.u) + narrow.subnormal
            due = replace(due, jump=rounded if due.jump is None else rounded + due.jump)
        # Zeros are no evidence for a mistake that would give them here, or nothing but rounding, such as the last row
        # where its dL/dz is 0, or the rows of a key, whose sum is 0.
        reading = hypothesis.due.reading
        if (np.abs(due.value) > due.tolerance(reading)).any() and sample.explained(due, reading):
            yield hypothesis.states


def _by_result(around: Around, one: Quantity, sample: Sample) -> Iterator[str]:
    yield from explain_result(sample, one.dtype, lambda factor, uncertainty: _name_factor(factor, one, uncertainty))
    limit = sample.due.tolerance(sample.reading)
    yield from _added_weight(around, one, sample, limit)
    yield from _moved_rows(one, sample)


def _say_factor(factor: float, uncertainty: float = 0.0) -> str:
    """A factor with the digits that its relative uncertainty leaves: in bf16 two or three."""
    digits = 6 if uncertainty < 1e-4 else max(2, math.ceil(-math.log10(uncertainty)))
    return f"is {factor:.{digits}g} times what it should be"


def explain_result(
    sample: Sample, dtype: str, name_factor: Callable[[float, float], str] = _say_factor
) -> Iterator[str]:
    """What was done to the right result: it is 0, scaled, clipped, dropped in part, or rounded to a narrower format."""
    seen, value = sample.seen, sample.due.value
    limit = sample.due.tolerance(sample.reading)
    if not (np.isfinite(seen).all() and np.isfinite(value).all()):
        return
    if not seen.any():
        yield "is 0"
        return
    large = np.abs(value) > 4 * limit
    if np.count_nonzero(large) < _LEAST_ENTRIES:
        return
    factor = float((seen * value)[large].sum() / np.square(value)[large].sum())
    u = DTYPES[dtype].u * np.abs(seen) + DTYPES[dtype].subnormal
    if factor and _within(seen, factor * value, abs(factor) * limit + 2 * u):
        yield name_factor(factor, float(limit[large].max() / np.abs(value[large]).max()) + 2 * DTYPES[dtype].u)
    edge = np.abs(seen).max()
    # An edge within the tolerance is no evidence: all rounding errors about 0 lie within it.
    at_edge = (np.abs(seen) == edge) & (np.abs(value) > edge) & (limit < edge)
    if np.count_nonzero(at_edge) >= 2 and _within(seen, np.clip(value, -edge, edge), limit):
        yield f"clips entries at {edge:.4g}"
    dropped = (seen == 0) & large
    kept = ~dropped & large
    if dropped.any() and np.count_nonzero(kept) >= _LEAST_ENTRIES:
        times = float((seen * value)[kept].sum() / np.square(value)[kept].sum())
        if _within(seen[kept], times * value[kept], abs(times) * limit[kept] + 2 * u[kept]):
            share = np.count_nonzero(dropped) / np.count_nonzero(large)
            is_scaled = not _within(seen[kept], value[kept], limit[kept])
            scaled = f", and gives {times:.4g} times the others" if is_scaled else ""
            yield f"sets entries to 0 ({share:.0%} of those looked at){scaled}"
    for format in ("f16", "bf16"):
        narrow = DTYPES[format]
        if narrow.u <= DTYPES[dtype].u or not _is_in_format(seen, narrow.numpy):
            continue
        if _within(seen, value, limit + narrow.u * np.abs(value) * (1 + narrow.u) + narrow.subnormal):
            yield f"rounds the result to {format}"


def _within(seen: Array, value: Array, limit: Array) -> bool:
    return bool((np.abs(seen - value) <= limit).all())


def _is_in_format(seen: Array, dtype: np.dtype) -> bool:
    with np.errstate(over="ignore"):
        return bool((seen.astype(dtype).astype(np.float64) == seen).all()) and np.unique(seen).size > _LEAST_ENTRIES


def _name_factor(factor: float, one: Quantity, uncertainty: float) -> str:
    """A factor with what it may be: for a gradient, the mean over what it is the sum of."""
    if one.parameter is None:
        return _say_factor(factor, uncertainty)
    calls = {part.together for part in one.due.parts}
    inner = one.due.parts[0].inner
    sizes = {f"the {inner:,} rows": inner}
    sizes |= {f"axis {i} of the rows ({n:,})": n for i, n in enumerate(one.axes) if len(one.axes) > 1}
    if len(calls) > 1:
        sizes[f"the {len(calls)} backward passes"] = len(calls)
    near = [words for words, n in sizes.items() if n > 1 and abs(factor * n - 1) <= 2 * uncertainty]
    text = _say_factor(factor, uncertainty)
    # Other things have these sizes too: 0.5 may be the mean over 2 examples, and over 2 ranks.
    return f"{text}, as is the mean over {' or over '.join(near)}" if near else text


def _added_weight(around: Around, one: Quantity, sample: Sample, limit: Array) -> Iterator[str]:
    if one.name != "dL/dW":
        return
    users = (la for la in around.view.step.layers if la.weight == one.parameter and la.calls)
    weight = around.view.factor(next(users).calls[0].weight).take(sample.rows, sample.columns)
    if weight.shape != sample.seen.shape or not weight.any():
        return
    extra = sample.seen - sample.due.value
    decay = float((extra * weight).sum() / np.square(weight).sum())
    added = decay * weight
    if (np.abs(added) > limit).sum() >= _LEAST_ENTRIES and _within(sample.seen, sample.due.value + added, limit * 1.5):
        yield f"adds {decay:.4g} times the weight, as weight decay does"


def _moved_rows(one: Quantity, sample: Sample) -> Iterator[str]:
    if one.name not in ("z", "dL/dx") or one.due.shape[0] < 3:
        return
    rows = one.due.shape[0]
    for by in (1, -1):
        due = one.due.estimate((sample.rows + by) % rows, sample.columns)
        inside = (sample.rows + by >= 0) & (sample.rows + by < rows)
        moved, limit = due.value[inside], due.tolerance(sample.reading)[inside]
        if inside.sum() >= 2 and (np.abs(moved) > limit).any() and _within(sample.seen[inside], moved, limit):
            yield f"has the rows moved by {-by:+d}"


def _by_arithmetic(around: Around, one: Quantity, sample: Sample) -> Iterator[str]:
    """A narrow accumulator, if every result is a number of its format, and the errors have the size that it gives them.

    Results that are stored in its format are no evidence of it. There, and wherever the order is known, a sum over rows
    has to be that of the accumulator bit for bit; a single entry is evidence then.
    """
    what = "the sum over rows" if one.name == "dL/db" else "sums"
    for format in _narrower(one):
        if order := find_order(one, format):
            yield f"accumulates {what} in {format}, {order}: equal bit for bit"
            return
        if not _is_in_format(sample.seen, DTYPES[format].numpy):
            continue
        if (one.name != "dL/db" or DTYPES[format].u > DTYPES[one.dtype].u) and _has_size_of(one, sample, format):
            yield f"accumulates {what} in {format}"
        # Numbers of bf16 are numbers of f16 and of f32 too, but sums in these would have more digits.
        return


def _narrower(one: Quantity) -> Iterator[DTypeName]:
    """The formats that have fewer digits than the accumulators of a quantity."""
    for format in NARROW:
        if DTYPES[format].u > max(part.reading.u_acc for part in one.due.parts):
            yield format


def _has_size_of(one: Quantity, sample: Sample, format: DTypeName) -> bool:
    """Whether all errors are those that an accumulator of this format may give, and are as large as it makes them."""
    due = _accumulated(one.due, format)
    if due is None:
        return False
    estimate = due.estimate(sample.rows, sample.columns)
    return sample.explained(estimate) and _LEAST_SIZE <= _size_of(sample, estimate) <= _MOST_SIZE


def _size_of(sample: Sample, due: Estimate) -> float:
    """The root mean square of the errors, in σ."""
    if due.error is None:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        e = (sample.seen - due.value) / due.error
    e = e[np.isfinite(e)]
    return float(np.sqrt(np.square(e).mean())) if e.size else 0.0


def _accumulated(due: Due, format: str) -> Due | None:
    parts = []
    for part in due.parts:
        if not isinstance(part, Product):
            return None
        reading = deviation(part.reading.format, arithmetic=Arithmetic(accumulator=format))
        parts.append(replace(part, reading=reading))
    return replace(due, parts=tuple(parts))


def _describe(one: Quantity, found: Compared, sample: Sample) -> str:
    """What is seen, where no cause is known."""
    if found.worst.ratio <= 1:
        return "unknown; sums of a row depart, and no entry that was judged by itself"
    above = round(found.share * found.judged)
    depart = "departs" if above == 1 else "depart"
    by = f"{found.relative:.2g} of the tensor's norm"
    text = f"unknown; {above:,} of {found.judged:,} judged entries {depart}{_where(found)}, by {by}"
    sizes = [format for format in _narrower(one) if one.name == "dL/db" and _has_size_of(one, sample, format)]
    return f"{text}; an accumulator of {sizes[0]} for the sum over rows gives errors of that size" if sizes else text


def _find_part(one: Quantity, found: Compared, sample: Sample) -> Cause | None:
    """What was done to the one row or column that departs, if all else is right."""
    for axis, words in ((0, "row"), (1, "column")):
        places = {place[axis] for place in found.departing}
        if len(places) != 1 or len(found.departing) < 2:
            continue
        at = np.flatnonzero((sample.rows, sample.columns)[axis] == places.pop())
        rows, columns = (at, slice(None)) if axis == 0 else (slice(None), at)
        due = one.due.estimate(sample.rows[rows], sample.columns[columns])
        part = replace(
            sample, rows=sample.rows[rows], columns=sample.columns[columns], seen=sample.seen[rows, columns], due=due
        )
        cause = join_causes(list(explain_result(part, one.dtype)))
        if cause is not None:
            number = int((part.rows, part.columns)[axis][0])
            return Cause(f"{words} {number} alone departs: it {cause.text}", cause.is_known)
    return None


def _where(found: Compared) -> str:
    rows, columns = ({place[axis] for place in found.departing} for axis in (0, 1))
    if len(found.departing) < 2:
        return ""
    if len(rows) == 1:
        return f", all in row {rows.pop()}"
    if len(columns) == 1:
        return f", all in column {columns.pop()}"
    return ""
