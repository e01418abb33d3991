"""What `kterm calibrate` prints of what it found."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice

from rich.table import Table

from ....adapters.registry import is_installed
from ....reference import ACTIVATIONS
from ....reference.rounding import SIGMAS
from ...cases.plan import Description, Options
from ...checks.verdict import Verdict
from ...records.run import Run
from .gradient_checkers import CHECKERS
from .sensitivity import MOST, Sensed
from .spread import CONFIDENCE, THRESHOLDS, Distribution, Spread, normal_law, upper_limit

_MOST_LINES = 20
_QUANTILES = ("median", "99 %", "99.99 %", "largest")
_SYMBOLS = {"z": "z", "x": "x", "E": "E", "k": "k", "W": "dE/dW", "b": "dE/db"}


@dataclass(frozen=True)
class Missed:
    """A finding of an adapter that no expectation excuses, or an error."""

    adapter: str
    verdict: Verdict


@dataclass(frozen=True)
class Calibration:
    """All that a calibration found, of `draws` cases an adapter and `networks` networks an activation and dtype."""

    adapters: tuple[Description, ...]
    options: Options
    draws: int
    networks: int
    spreads: tuple[Spread, ...]
    missed: tuple[Missed, ...]
    sensed: tuple[Sensed, ...]

    @property
    def holds(self) -> bool:
        """Whether every adapter was seen to be right somewhere, always answered, and was never taken for wrong."""
        clean = all(not one.alarms and not one.statuses.get("errored") for one in self.spreads)
        judged = Counter[str]()
        for one in self.spreads:
            judged[one.adapter] += one.judged
        return clean and all(judged[adapter.name] for adapter in self.adapters)


def title(run: Run) -> str:
    """One line: what is calibrated on."""
    adapters = ", ".join(f"{adapter.name} {adapter.version}" for adapter in run.adapters)
    return f"kterm {metadata.version('kterm')}: {adapters}; λ = {SIGMAS:g}, seed {run.options.seed}"


def pages(found: Calibration) -> Iterator[Table]:
    """The tables."""
    yield _spreads(found.spreads)
    yield _tails(found.spreads)
    yield _steps(found.spreads)
    for adapter in found.adapters:
        yield _activations(adapter.name, found)
    if found.sensed:
        yield _sensitivities(found)


def summary_lines(found: Calibration) -> Iterator[str]:
    """False alarms case by case, what was left out, and the verdict."""
    for one in found.spreads:
        if one.diverging:
            names = ", ".join(one.diverging)
            yield f"{one.adapter} {one.dtype}: known to diverge, and apart from what is said of right ones: {names}"
    if found.sensed:
        for name, (framework, _) in CHECKERS.items():
            if not is_installed(framework):
                yield f"{name} is left out: {framework} is not installed"
    yield from _missed_lines(found)
    for adapter in found.adapters:
        yield _verdict_line(adapter.name, [one for one in found.spreads if one.adapter == adapter.name])


def _missed_lines(found: Calibration) -> Iterator[str]:
    worst: dict[tuple[str, str], Verdict] = {}
    for one in found.missed:
        kept = worst.setdefault((one.adapter, one.verdict.case), one.verdict)
        if one.verdict.worst > kept.worst:
            worst[one.adapter, one.verdict.case] = one.verdict
    for (adapter, case), v in islice(worst.items(), _MOST_LINES):
        what = "errored" if v.grade == "errored" else "false alarm"
        size = v.message or f"{v.worst:.3g} times the tolerance"
        yield f"{what}: {adapter} {case}: {v.check}, {v.quantity}: {size}"
    if len(worst) > _MOST_LINES:
        yield f"... and {len(worst) - _MOST_LINES:,} more cases; all are in --json FILE"


def _verdict_line(adapter: str, spreads: Sequence[Spread]) -> str:
    counts = Counter[str]()
    for one in spreads:
        counts.update(one.statuses)
    alarms, judged = sum(one.alarms for one in spreads), sum(one.judged for one in spreads)
    others = "".join(f", {counts[name]:,} {name}" for name in ("expected", "unsupported", "errored") if counts[name])
    if not judged:
        return f"{adapter}: no right computation was seen{others}"
    return (
        f"{adapter}: {alarms:,} false alarms in {judged:,} cases{others}; "
        f"rate below {upper_limit(alarms, judged):.2g} at {CONFIDENCE:.0%} confidence"
    )


def _table(caption: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=caption, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in left:
        table.add_column(head, no_wrap=True)
    for head in right:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _spreads(spreads: Sequence[Spread]) -> Table:
    table = _table(
        "Error of the worst entry of a case, and of a tensor, in standard deviations",
        ("adapter", "dtype"),
        ("cases", "expected", "alarms", "rate below", "counted", *_QUANTILES, "tensors", *_QUANTILES),
    )
    for one in spreads:
        counts = (f"{one.judged:,}", f"{one.statuses.get('expected', 0):,}", f"{one.alarms:,}", f"{one.rate:.2g}")
        table.add_row(one.adapter, one.dtype, *counts, *_quantiles(one.cases), *_quantiles(one.tensors))
    return table


def _quantiles(d: Distribution | None) -> tuple[str, ...]:
    if d is None:
        return ("0", "", "", "", "")
    return (f"{d.count:,}", *(f"{value:.2f}" for value in (d.median, d.most, d.nearly_all, d.largest)))


def _tails(spreads: Sequence[Spread]) -> Table:
    table = _table(
        "How many are off by more than so many standard deviations",
        ("adapter", "dtype", ""),
        ("count", *(f"> {threshold}" for threshold in THRESHOLDS)),
    )
    for one in spreads:
        if one.cases is None:
            continue
        table.add_row(one.adapter, one.dtype, "cases", f"{one.cases.count:,}", *(f"{n:,}" for n in one.cases.above))
        table.add_row("", "", "rate, extrapolated", "", *(f"{rate:.1e}" for rate in one.cases.rates))
        table.add_row("", "", "numbers", f"{one.entries:,}", *(f"{n:,}" for n in one.above))
        table.add_row("", "", "rate", "", *(f"{n / one.entries:.1e}" for n in one.above))
    table.add_row("normal law", "", "rate", "", *(f"{normal_law(threshold):.1e}" for threshold in THRESHOLDS))
    return table


def _steps(spreads: Sequence[Spread]) -> Table:
    table = _table(
        "By step: median and largest of a tensor's worst entry, in standard deviations",
        ("adapter", "dtype"),
        tuple(_SYMBOLS.values()),
    )
    for one in spreads:
        found = [one.by_symbol.get(symbol) for symbol in _SYMBOLS]
        table.add_row(one.adapter, one.dtype, *("" if d is None else f"{d.median:.2f} {d.largest:.2f}" for d in found))
    return table


def _activations(adapter: str, found: Calibration) -> Table:
    spreads = [one for one in found.spreads if one.adapter == adapter]
    heads = [
        f"{one.dtype} {head}"
        for one in spreads
        for head in ("case", "largest", "tensor", "largest", *(("smallest",) if found.sensed else ()))
    ]
    table = _table(
        f"{adapter}, by activation: worst entry of a case with it and of a tensor that shows it, median and largest"
        f"{'; smallest relative error caught' if found.sensed else ''}",
        ("activation",),
        heads,
    )
    for name in ACTIVATIONS:
        cells = [cell for one in spreads for cell in _activation_cells(one, name, found)]
        if any(cells):
            table.add_row(name, *cells)
    return table


def _activation_cells(one: Spread, name: str, found: Calibration) -> Iterator[str]:
    pair = one.by_activation.get(name)
    mark = "*" if name in one.diverging else ""
    for d in pair or ():
        yield from (f"{d.median:.2f}", f"{d.largest:.2f}{mark}")
    yield from () if pair else ("", "", "", "")
    if found.sensed:
        key = (one.adapter, name, one.dtype)
        yield next((_delta(s.median) for s in found.sensed if (s.judge, s.activation, s.dtype) == key), "")


def _delta(value: float | None) -> str:
    if value is None:
        return "rejects"
    return f"{value:.1e}" if value < MOST else f"> {MOST:g}"


def _sensitivities(found: Calibration) -> Table:
    table = _table(
        f"Smallest relative error in one entry of one weight gradient that is caught, median of {found.networks} "
        "networks an activation",
        ("judge", "dtype"),
        ("activations", "median", "worst", "that of", "right ones rejected", "times as coarse"),
    )
    own = {adapter.name for adapter in found.adapters}
    for dtype in found.options.dtypes:
        judges: dict[str, list[Sensed]] = defaultdict(list)
        for one in found.sensed:
            if one.dtype == dtype:
                judges[one.judge].append(one)
        middles = {judge: _middle(some) for judge, some in judges.items()}
        coarsest = max((m for judge, m in middles.items() if m is not None and judge in own), default=None)
        for judge, some in judges.items():
            middle, medians = middles[judge], _medians(some)
            worst = max(medians, key=lambda name: medians[name], default="")
            rejected, networks = sum(one.rejected for one in some), sum(one.smallest.size for one in some)
            table.add_row(
                judge,
                dtype,
                f"{len(medians)} of {len(some)}",
                _delta(middle),
                _delta(medians.get(worst)),
                worst,
                f"{rejected:,} of {networks:,}",
                f"{middle / coarsest:.2g}" if middle and coarsest and judge not in own else "",
            )
    return table


def _medians(some: Sequence[Sensed]) -> dict[str, float]:
    return {one.activation: median for one in some if (median := one.median) is not None}


def _middle(some: Sequence[Sensed]) -> float | None:
    medians = _medians(some)
    return statistics.median(medians.values()) if medians else None
