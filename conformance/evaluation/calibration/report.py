"""A calibration for people: tables and lines of text."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import islice

from rich.console import Console
from rich.table import Table

from ....adapters.registry import is_installed
from ....reference import ACTIVATIONS
from ....reference.rounding import SIGMAS
from ...checks.verdict import Verdict
from ...records.run import Run
from .gradient_checkers import CHECKERS
from .limit import CONFIDENCE, compute_upper_limit
from .measure import Calibration
from .sensitivity import MOST, Sensitivity
from .spread import THRESHOLDS, Distribution, Spread, compute_normal_rate

_MOST_LINES = 20
_QUANTILES = ("median", "99 %", "99.99 %", "largest")
_SYMBOLS = {"z": "z", "x": "x", "E": "E", "k": "k", "W": "dE/dW", "b": "dE/db"}


def format_title(run: Run) -> str:
    """One line: the adapters, λ and the seed."""
    adapters = ", ".join(f"{adapter.name} {adapter.version}" for adapter in run.adapters)
    return f"kterm {metadata.version('kterm')}: {adapters}; λ = {SIGMAS:g}, seed {run.options.seed}"


def print_report(found: Calibration, console: Console) -> None:
    """Print the tables, and under them the summary."""
    for table in make_tables(found):
        console.print()
        console.print(table)
    console.print()
    for line in format_summary(found):
        console.print(line)


def make_tables(found: Calibration) -> Iterator[Table]:
    """The spread of errors, their tails, the same by step and by activation, and the smallest mistakes caught."""
    yield _make_spreads(found.spreads)
    yield _make_tails(found.spreads)
    yield _make_steps(found.spreads)
    for adapter in found.adapters:
        yield _make_activations(adapter.name, found)
    if found.sensitivities:
        yield _make_sensitivities(found)


def format_summary(found: Calibration) -> Iterator[str]:
    """Lines of text: known divergences, missing checkers, false alarms case by case, and the totals of each adapter."""
    for one in found.spreads:
        if one.diverging:
            names = ", ".join(one.diverging)
            yield f"{one.adapter} {one.dtype}: known to diverge, and apart from what is said of right ones: {names}"
    if found.sensitivities:
        for name, (framework, _) in CHECKERS.items():
            if not is_installed(framework):
                yield f"{name} is left out: {framework} is not installed"
    yield from _format_false_alarms(found)
    yield from format_totals(found)


def format_totals(found: Calibration) -> Iterator[str]:
    """The false alarms of each adapter, a line each."""
    for adapter in found.adapters:
        yield _format_totals(adapter.name, [one for one in found.spreads if one.adapter == adapter.name])


def _format_false_alarms(found: Calibration) -> Iterator[str]:
    worst: dict[tuple[str, str], Verdict] = {}
    for one in found.false_alarms:
        kept = worst.setdefault((one.adapter, one.verdict.case), one.verdict)
        if one.verdict.worst > kept.worst:
            worst[one.adapter, one.verdict.case] = one.verdict
    for (adapter, case), v in islice(worst.items(), _MOST_LINES):
        what = "errored" if v.grade == "errored" else "false alarm"
        size = v.message or f"{v.worst:.3g} times the tolerance"
        yield f"{what}: {adapter} {case}: {v.check}, {v.quantity}: {size}"
    if len(worst) > _MOST_LINES:
        yield f"... and {len(worst) - _MOST_LINES:,} more cases; all are in --json FILE"


def _format_totals(adapter: str, spreads: Sequence[Spread]) -> str:
    counts = Counter[str]()
    for one in spreads:
        counts.update(one.statuses)
    alarms, judged = sum(one.alarms for one in spreads), sum(one.judged for one in spreads)
    others = "".join(f", {counts[name]:,} {name}" for name in ("expected", "unsupported", "errored") if counts[name])
    if not judged:
        return f"{adapter}: no right computation was seen{others}"
    return (
        f"{adapter}: {alarms:,} false alarms in {judged:,} cases{others}; "
        f"rate below {compute_upper_limit(alarms, judged):.2g} at {CONFIDENCE:.0%} confidence"
    )


def _make_table(caption: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=caption, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in left:
        table.add_column(head, no_wrap=True)
    for head in right:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _make_spreads(spreads: Sequence[Spread]) -> Table:
    table = _make_table(
        "Error of the worst entry of a case, and of a tensor, in standard deviations",
        ("adapter", "dtype"),
        ("cases", "expected", "alarms", "rate below", "counted", *_QUANTILES, "tensors", *_QUANTILES),
    )
    for one in spreads:
        counts = (f"{one.judged:,}", f"{one.statuses.get('expected', 0):,}", f"{one.alarms:,}", f"{one.rate:.2g}")
        table.add_row(one.adapter, one.dtype, *counts, *_format_quantiles(one.cases), *_format_quantiles(one.tensors))
    return table


def _format_quantiles(d: Distribution | None) -> tuple[str, ...]:
    if d is None:
        return ("0", "", "", "", "")
    return (f"{d.count:,}", *(f"{value:.2f}" for value in (d.median, d.most, d.nearly_all, d.largest)))


def _make_tails(spreads: Sequence[Spread]) -> Table:
    table = _make_table(
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
    table.add_row("normal law", "", "rate", "", *(f"{compute_normal_rate(threshold):.1e}" for threshold in THRESHOLDS))
    return table


def _make_steps(spreads: Sequence[Spread]) -> Table:
    table = _make_table(
        "By step: median and largest of a tensor's worst entry, in standard deviations",
        ("adapter", "dtype"),
        tuple(_SYMBOLS.values()),
    )
    for one in spreads:
        found = [one.by_symbol.get(symbol) for symbol in _SYMBOLS]
        table.add_row(one.adapter, one.dtype, *("" if d is None else f"{d.median:.2f} {d.largest:.2f}" for d in found))
    return table


def _make_activations(adapter: str, found: Calibration) -> Table:
    spreads = [one for one in found.spreads if one.adapter == adapter]
    heads = [
        f"{one.dtype} {head}"
        for one in spreads
        for head in ("case", "largest", "tensor", "largest", *(("smallest",) if found.sensitivities else ()))
    ]
    table = _make_table(
        f"{adapter}, by activation: worst entry of a case with it and of a tensor that shows it, median and largest"
        f"{'; smallest relative error caught' if found.sensitivities else ''}",
        ("activation",),
        heads,
    )
    for name in ACTIVATIONS:
        cells = [cell for one in spreads for cell in _format_cells(one, name, found)]
        if any(cells):
            table.add_row(name, *cells)
    return table


def _format_cells(one: Spread, name: str, found: Calibration) -> Iterator[str]:
    pair = one.by_activation.get(name)
    mark = "*" if name in one.diverging else ""
    for d in pair or ():
        yield from (f"{d.median:.2f}", f"{d.largest:.2f}{mark}")
    yield from () if pair else ("", "", "", "")
    if found.sensitivities:
        key = (one.adapter, name, one.dtype)
        yield next(
            (_format_delta(s.median) for s in found.sensitivities if (s.judge, s.activation, s.dtype) == key), ""
        )


def _format_delta(value: float | None) -> str:
    if value is None:
        return "rejects"
    return f"{value:.1e}" if value < MOST else f"> {MOST:g}"


def _make_sensitivities(found: Calibration) -> Table:
    table = _make_table(
        f"Smallest relative error in one entry of one weight gradient that is caught, median of {found.networks} "
        "networks an activation",
        ("judge", "dtype"),
        ("activations", "median", "worst", "that of", "right ones rejected", "times as coarse"),
    )
    own = {adapter.name for adapter in found.adapters}
    for dtype in found.options.dtypes:
        judges: dict[str, list[Sensitivity]] = defaultdict(list)
        for one in found.sensitivities:
            if one.dtype == dtype:
                judges[one.judge].append(one)
        middles = {judge: _find_middle(some) for judge, some in judges.items()}
        coarsest = max((m for judge, m in middles.items() if m is not None and judge in own), default=None)
        for judge, some in judges.items():
            middle, medians = middles[judge], _find_medians(some)
            worst = max(medians, key=lambda name: medians[name], default="")
            rejected, networks = sum(one.rejected for one in some), sum(one.smallest.size for one in some)
            table.add_row(
                judge,
                dtype,
                f"{len(medians)} of {len(some)}",
                _format_delta(middle),
                _format_delta(medians.get(worst)),
                worst,
                f"{rejected:,} of {networks:,}",
                f"{middle / coarsest:.2g}" if middle and coarsest and judge not in own else "",
            )
    return table


def _find_medians(some: Sequence[Sensitivity]) -> dict[str, float]:
    return {one.activation: median for one in some if (median := one.median) is not None}


def _find_middle(some: Sequence[Sensitivity]) -> float | None:
    medians = _find_medians(some)
    return statistics.median(medians.values()) if medians else None
