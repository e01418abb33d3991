"""The accuracy of an adapter's activations for people: a table, and lines of text for what is wrong."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from ....reference import DTYPES
from ...cases.description import Description
from ...cases.plan import Options
from .exact import precision
from .measure import Measurement
from .survey import Outcome, Unanswered, is_sound

_HEADS = ("worst ulp", "at z", "99 %", "median", "c", "table", "at z", "apart", "flushed", "NaN", "inf")


def print_report(console: Console, declared: Description, options: Options, outcomes: Sequence[Outcome]) -> None:
    """Print the table of one adapter, what is wrong, and how many activations are accurate."""
    name = declared.name
    console.print(f"{name} {declared.version} on {declared.device}; seed {options.seed}")
    console.print(_make_table([outcome for outcome in outcomes if isinstance(outcome, Measurement)]))
    lines = [f"does not declare dtype {dtype}" for dtype in options.dtypes if dtype not in declared.dtypes]
    lines += [f"does not declare activation {one}" for one in options.activations if one not in declared.activations]
    if "identity" not in declared.activations:
        lines.append(
            "does not declare identity: f' comes with up to 1 ulp more where outputs are not rounded before use"
        )
    lines += [f"{one.activation} {one.dtype} {line}" for one in outcomes for line in _explain(one)]
    for line in lines:
        console.print(f"{name} {line}")
    measured = {(outcome.activation, outcome.dtype) for outcome in outcomes}
    poor = {(outcome.activation, outcome.dtype) for outcome in outcomes if not is_sound(outcome)}
    console.print(
        f"{name}: {len(measured)} activations by dtypes, {len(measured - poor)} as accurate as the table says, "
        f"{len(poor)} not",
    )


def _make_table(found: Sequence[Measurement]) -> Table:
    """One row for each function of an activation in a dtype; red where it is worse than the activation table says."""
    table = Table("activation", "dtype", "", box=None, pad_edge=False, header_style="bold")
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for m in found:
        table.add_row(
            m.activation,
            m.dtype,
            m.function,
            f"{m.worst:.3g}",
            _format_number(m.worst_at, m) if m.worst else "",
            f"{m.most:.3g}",
            f"{m.median:.2g}",
            f"{m.units:.3g}",
            f"{m.stated:g}",
            _format_number(m.units_at, m) if m.units else "",
            *(f"{count:,}" if count else "" for count in (m.apart, m.flushed, m.nans, m.infinities)),
            style=None if m.is_sound else "red",
        )
    return table


def _format_number(number: float, m: Measurement) -> str:
    """With as many digits as distinguish the numbers of the dtype."""
    digits = math.ceil(1 + precision(DTYPES[m.dtype]) * math.log10(2))
    return f"{number:.{digits}g}"


def _explain(outcome: Outcome) -> Iterator[str]:
    """What is wrong with an outcome, one line each."""
    if isinstance(outcome, Unanswered):
        yield outcome.message
        return
    m = outcome
    if m.units > m.stated:
        yield (
            f"{m.function}: a poor formula, c = {m.units:.3g} where the table has {m.stated:g}; "
            f"at z = {_format_number(m.units_at, m)} it gives {_format_number(m.given, m)} "
            f"for {_format_number(m.true, m)}"
        )
    for what, count, at in (("NaN", m.nans, m.nan_at), ("an infinity", m.infinities, m.infinity_at)):
        if at is not None:
            yield (
                f"{m.function}: {what} for a finite number at {count:,} of {m.points:,} points, "
                f"the nearest to 0 at z = {_format_number(at, m)}"
            )
