"""Descriptions: what failing cases have in common, by features that are counted and fitted.

For a mistake that is not known, this is what a report can say: "in all 18 cases with more than 64 inputs of a layer, in
none of 30 others; 412 of 5,120 entries, all with z over 20; always too low; relative error 2.1e-09". Nothing here is a
guess. A feature is stated with its counts, and a growth only if it is fitted well.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ...reference import DTYPES, Array
from ..cases.case import Case, parse_case
from ..cases.regimes import REGIMES
from .question import Question

_LEAST_CASES = 2
"""How many cases fail and pass at least, for a description of what the failing ones have in common."""
_MOST_ENTRIES = 50_000
_SAME = 1e-2
"""How little a factor may vary, relative to its distance from 1, to be called the same."""
_NEARLY_ALL = 0.9
"""A share of entries that depart, above which those that do not are not asked for."""
_WELL = 0.95
"""The share of a variance that a fitted growth must explain."""


@dataclass(frozen=True)
class Feature:
    """A property that each case or entry has or has not: `text` completes "with ...", and `cost` is 1 for each number
    that was fitted to the data and for each part.
    """

    text: str
    has: Array
    cost: int = 1


def describe_cases(failing: Sequence[str], passing: Sequence[str], activation: str = "") -> str:
    """The feature that separates the failing cases best from the passing ones, with counts; empty if none helps.

    `activation` is that of the layers in which they fail, if it is one.
    """
    # Draws of one structure and regime have all features in common.
    groups = [text.rpartition("-s")[0] for text in (*failing, *passing)]
    first = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    cases = [parse_case(f"{group}-s0", tuple(REGIMES)) for group in first]
    member = np.array([first[group] for group in groups], int)
    fails = np.arange(len(member)) < len(failing)
    # A batch without rows, or a draw that only asks for the layout, shows nothing.
    sound = np.array([case.structure.batch > 0 and case.regime != "layout" for case in cases], bool)[member]
    member, fails = member[sound], fails[sound]
    if min(fails.sum(), (~fails).sum()) < _LEAST_CASES:
        return ""  # what one case has in common with itself is no description
    best = _best(list(_case_features(cases, member, fails, activation)), fails)
    if best is None:
        return ""
    inside, failed = int(best.has.sum()), int((best.has & fails).sum())
    outside, others = len(member) - inside, int(fails.sum()) - failed
    rest = f"in {'none' if not others else f'{others:,}'} of {outside:,} others" if outside else ""
    count = f"all {inside:,}" if failed == inside else f"{failed:,} of {inside:,}"
    return f"fails in {count} cases with {best.text}" + (f", {rest}" if rest else "")


def _best(features: list[Feature], fails: Array) -> Feature | None:
    """The feature, or pair of features, that all or nearly all failures have and the fewest others; the simplest of
    equally good ones. None if no feature leaves out at least a third of the others.
    """

    def score(one: Feature) -> float:
        missed, wrong = float((fails & ~one.has).sum()) / fails.sum(), float((~fails & one.has).sum()) / (~fails).sum()
        return 5 * missed + wrong + 0.002 * one.cost

    if not features:
        return None
    single = sorted(features, key=score)[:12]
    both = [Feature(f"{a.text} and {b.text}", a.has & b.has, a.cost + b.cost + 5) for a, b in combinations(single, 2)]
    best = min([*single, *both], key=score)
    return best if score(best) < 0.66 else None


def _case_features(cases: Sequence[Case], member: Array, fails: Array, activation: str) -> Iterator[Feature]:
    """The features of failing and passing cases, each a member of a structure and regime by index."""

    def has(test: Callable[[Case], bool]) -> Array:
        return np.array([test(case) for case in cases])[member]

    networks = [case.structure.network for case in cases]
    for dtype in sorted({case.structure.dtype for case in cases}):
        yield Feature(f"dtype {dtype}", has(lambda c, dtype=dtype: c.structure.dtype == dtype))
    for regime in sorted({case.regime for case in cases}):
        yield Feature(f"regime {regime}", has(lambda c, regime=regime: c.regime == regime), 5)
    for name in [activation] if activation else sorted({name for network in networks for name in network.activations}):
        yield Feature(f"a layer of {name}", has(lambda c, name=name: name in c.structure.network.activations))
        last = has(lambda c, name=name: c.structure.network.activations[-1] == name)
        yield Feature(f"{name} in the last layer", last, 2)
    for bias in sorted({network.bias for network in networks}):
        yield Feature(f"bias placement {bias}", has(lambda c, bias=bias: c.structure.network.bias == bias))
    yield Feature("an odd batch", has(lambda c: c.structure.batch % 2 == 1))
    yield Feature("an even batch", has(lambda c: c.structure.batch % 2 == 0))
    yield Feature("a width equal to the batch", has(lambda c: c.structure.batch in c.structure.network.widths[1:]))
    yield Feature("two layers of one shape", has(lambda c: _repeats(c.structure.network.widths)))
    numbers: dict[str, Callable[[Case], float]] = {
        "rows of the batch": lambda c: c.structure.batch,
        "layers": lambda c: c.structure.network.depth,
        "inputs of a layer": lambda c: max(c.structure.network.widths[:-1]),
        "units of a layer": lambda c: max(c.structure.network.widths[1:]),
        "units of the narrowest hidden layer": lambda c: min(c.structure.network.widths[1:-1], default=math.nan),
        "numbers in the widest layer or input": lambda c: max(c.structure.network.widths),
        "outputs": lambda c: c.structure.network.widths[-1],
    }
    for what, number in numbers.items():
        yield from _thresholds(
            np.array([number(case) for case in cases])[member], fails, f"over {{}} {what}", f"up to {{}} {what}"
        )


def _repeats(widths: tuple[int, ...]) -> bool:
    shapes = list(pairwise(widths))
    return len(set(shapes)) < len(shapes)


def _thresholds(values: Array, fails: Array, over: str, upto: str) -> Iterator[Feature]:
    """Limits on a number: those that just include all failures, and those that leave out all others. No limit holds for
    NaN, the number of what is not there.
    """
    mine, others = values[fails], values[~fails]
    below, above = others[others < mine.min()], others[others > mine.max()]
    if below.size:
        yield Feature(over.format(_number(below.max())), values > below.max(), 2)
    if above.size:
        yield Feature(upto.format(_number(mine.max())), values <= mine.max(), 2)


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.3g}"


# Entries.


@dataclass(frozen=True)
class _Entries:
    """Entries of the quantity that departs first, over several calls: flat arrays of one length."""

    seen: Array
    due: Array
    tolerance: Array
    z: Array
    """The pre-activation of the entry, for x and k; NaN for others."""
    row: Array
    column: Array
    last_row: Array
    call: Array
    inner: Array
    """The inner dimension of the sum."""
    batch: Array

    @property
    def error(self) -> Array:
        with np.errstate(all="ignore"):
            return self.seen - self.due

    @property
    def out(self) -> Array:
        with np.errstate(all="ignore"):
            return ~(np.abs(self.error) <= self.tolerance) & ~((self.seen == self.due) | ~np.isfinite(self.due))


def describe_entries(questions: Sequence[Question]) -> list[str]:
    """Which entries of the quantity that departs first are wrong, in which direction, and by how much."""
    pool = _pool(questions)
    out = pool.out
    if not out.any():
        return []
    lines = [_which(pool, out)]
    finite = out & np.isfinite(pool.error)
    if (~np.isfinite(pool.seen[out])).any():
        lines.append(f"{int((~np.isfinite(pool.seen[out])).sum()):,} of them are NaN or infinite")
    if finite.any():
        lines += [one for one in (_direction(pool, finite), _size(pool, finite), _digits(questions)) if one]
    return lines


def _pool(questions: Sequence[Question]) -> _Entries:
    parts: dict[str, list[Array]] = {name: [] for name in _Entries.__dataclass_fields__}
    total, call = 0, 0
    for one in questions:
        value = one.sharp_rule.given[one.first]
        seen = one.observed[one.first].reshape(value.shape)
        shape, layer, widths = value.shape, one.layer, one.structure.network.widths
        symbol = one.first.partition("_")[0]
        # The pre-activation belongs to the last layer for the outputs.
        z = one.observed.get(f"z_{layer}", one.right.z[layer].value) if symbol in ("x", "k", "outputs") else None
        rows, columns = np.meshgrid(np.arange(shape[-2]), np.arange(shape[-1]), indexing="ij")
        inner = {"z": widths[layer - 1], "k": widths[min(layer + 1, len(widths) - 1)], "dE/dW": one.structure.batch}
        new = {
            "seen": seen,
            "due": value.value,
            "tolerance": value.tolerance if not one.is_exact else 0.0,
            "z": np.nan if z is None else z,
            "row": rows,
            "column": columns,
            "last_row": rows == shape[-2] - 1,
            "call": (call + np.arange(shape[0]))[:, None, None],
            "inner": float(inner.get(symbol, one.structure.batch)),
            "batch": float(one.structure.batch),
        }
        for name, array in new.items():
            parts[name].append(np.broadcast_to(array, shape).reshape(-1))
        total, call = total + seen.size, call + shape[0]
        if total > _MOST_ENTRIES:
            break
    joined = {name: np.concatenate(some) for name, some in parts.items()}
    trivial = (joined["seen"] == 0) & (joined["due"] == 0)
    return _Entries(**{name: array[~trivial] for name, array in joined.items()})


def _which(pool: _Entries, out: Array) -> str:
    count = f"{int(out.sum()):,} of {len(out):,} entries depart"
    if out.all():
        return f"all {len(out):,} entries depart"
    if out.mean() > _NEARLY_ALL:
        return count
    best = _best(list(_entry_features(pool, out)), out)
    if best is None:
        return count
    inside = int(best.has.sum())
    return f"{count}: {int((out & best.has).sum()):,} of the {inside:,} with {best.text}, {_rest(out, best)}"


def _rest(out: Array, best: Feature) -> str:
    others = int((~best.has).sum())
    return f"{int((out & ~best.has).sum()) or 'none'} of {others:,} others"


def _entry_features(pool: _Entries, out: Array) -> Iterator[Feature]:
    with np.errstate(all="ignore"):
        signed = {"z": pool.z, "a value": pool.due}
        for name, values in signed.items():
            if np.isnan(values).any():
                continue
            yield Feature(f"{name} below 0", values < 0)
            yield Feature(f"{name} above 0", values > 0)
            yield Feature(f"{name} exactly 0", values == 0)
            yield from _thresholds(values, out, f"{name} over {{}}", f"{name} up to {{}}")
            yield from _thresholds(np.abs(values), out, f"|{name}| over {{}}", f"|{name}| up to {{}}")
        yield Feature("row 0", pool.row == 0)
        yield Feature("row not 0", pool.row > 0)
        yield Feature("the last row", pool.last_row)
        yield Feature("a row before the last", ~pool.last_row)
        yield from _thresholds(pool.row, out, "row over {}", "row up to {}")
        yield from _thresholds(pool.column, out, "column over {}", "column up to {}")
        yield from _thresholds(pool.inner, out, "sums of over {} terms", "sums of up to {} terms")


def _direction(pool: _Entries, out: Array) -> str:
    with np.errstate(all="ignore"):
        error, outward = pool.error[out], np.sign(pool.due[out]) * pool.error[out]
    if len(error) < 8:
        return ""
    for share, words in (
        ((outward > 0).mean(), "too far from 0"),
        ((outward < 0).mean(), "too near to 0"),
        ((error > 0).mean(), "too high"),
        ((error < 0).mean(), "too low"),
    ):
        if share > 0.9:
            return f"{'always' if share == 1 else f'in {share:.0%}'} {words}"
    return f"too high in {(error > 0).mean():.0%}, too far from 0 in {(outward > 0).mean():.0%}"


def _size(pool: _Entries, out: Array) -> str:
    with np.errstate(all="ignore"):
        error, due = pool.error[out], pool.due[out]
        ratio = pool.seen[out] / due
    sound = np.isfinite(ratio) & (due != 0)
    parts = []
    if sound.sum() >= 8:
        ratios, calls, rows, columns = (
            ratio[sound],
            pool.call[out][sound],
            pool.row[out][sound],
            pool.column[out][sound],
        )
        for keys, words in (
            (np.zeros(len(ratios)), "one factor in all cases: {:.6g}"),
            (calls, "one factor in each call, {:.4g} in the first"),
            (calls * 100_000 + rows, "one factor in each row of the batch, {:.4g} in the first"),
            (calls * 100_000 + columns, "one factor in each column, {:.4g} in the first"),
        ):
            if _is_constant_within(keys, ratios):
                parts.append(words.format(float(ratios[0])))
                break
        low, middle, high = np.quantile(np.abs(ratios - 1), (0.05, 0.5, 0.95))
        parts.append(f"relative error {middle:.2g} (5 % below {low:.2g}, 5 % above {high:.2g})")
    else:
        parts.append(f"error {np.abs(error).min():.2g} to {np.abs(error).max():.2g}")
    if (np.abs(error) == np.abs(error[0])).all() and len(error) >= 8:
        parts.append(f"the same error {np.abs(error[0]):.6g} in each")
    return "; ".join([*parts, *_growths(pool, out)])


def _is_constant_within(keys: Array, ratios: Array) -> bool:
    order = np.argsort(keys, kind="stable")
    keys, ratios = keys[order], ratios[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    if len(starts) * 2 > len(keys):
        return False
    low, high = np.minimum.reduceat(ratios, starts), np.maximum.reduceat(ratios, starts)
    return bool((high - low <= _SAME * np.maximum(np.abs(high - 1), np.abs(low - 1))).all())


def _growths(pool: _Entries, out: Array) -> Iterator[str]:
    """How the error grows with a number, if a power of it explains nearly all of its variance."""
    with np.errstate(all="ignore"):
        error, relative = np.abs(pool.error), np.abs(pool.error / pool.due)
        pairs: tuple[tuple[str, Array, Array], ...] = (
            ("the error grows as |value|", error, np.abs(pool.due)),
            ("the error grows as |z|", error, np.abs(pool.z)),
            ("the relative error grows as |z|", relative, np.abs(pool.z)),
            ("the relative error grows as the length of the sum", relative, pool.inner),
            ("the relative error grows as the batch", relative, pool.batch),
        )
        for text, of, by in pairs:
            y, x = np.log(of[out]), np.log(by[out])
            sound = np.isfinite(x) & np.isfinite(y)
            x, y = x[sound], y[sound]
            if len(x) < 16 or np.ptp(x) < 1 or not y.var():
                continue
            power = float(np.cov(x, y)[0, 1] / x.var(ddof=1))
            if of is error and by is pairs[0][2] and abs(power - 1) < 0.15:
                continue  # as a relative error says it
            if 1 - (y - y.mean() - power * (x - x.mean())).var() / y.var() >= _WELL and abs(power) > 0.2:
                yield f"{text} to the power {power:.2g}"
                return


def _digits(questions: Sequence[Question]) -> str:
    """The narrower format that all observed values of the quantity fit into, if any."""
    for name in ("bf16", "f16", "f32"):
        narrower = [one for one in questions if DTYPES[name].u > one.structure.format.u]
        if not narrower:
            continue
        values = np.concatenate([one.observed[one.first].ravel() for one in narrower])
        values = values[np.isfinite(values) & (values != 0)]
        others = np.concatenate([one.right.given[one.first].value.ravel() for one in narrower])
        if len(values) >= 8 and _all_in(values, name) and not _all_in(others, name):
            return f"all observed values are numbers of {name}"
    return ""


def _all_in(values: Array, name: str) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(DTYPES[name].numpy).astype(np.float64) == values).all())


def gradients_agree(questions: Sequence[Question]) -> bool:
    """Whether every gradient agrees with the rule although a k that is shown does not: the gradients are then compared
    from the rule's own k.
    """
    asked = [one for one in questions if one.first.startswith("k_")]
    if not asked or len(asked) < len(questions):
        return False
    return all(_agrees(one.without_shown_k()) for one in asked)


def _agrees(question: Question) -> bool:
    with np.errstate(all="ignore"):
        for name, value in question.sharp_rule.given.items():
            if name.startswith("dE/d") and name in question.compared:
                error = np.abs(question.observed[name].reshape(value.shape) - value.value)
                if not (error <= value.tolerance).all():
                    return False
    return True
