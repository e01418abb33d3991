"""The tables of a page: bias and spread, conventions at kinks, arithmetic, and where the run took place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....reference import ACTIVATIONS, DTYPES
from ...checks.kink_choices import convention, points
from ...checks.verdict import RUN_CHECKS, Check, Verdict, status
from ...checks.whole_run.verdicts import Judged, Mean
from ...records.compare.facts import collect_slopes
from ...records.coverage import sort_activations
from ...records.form.verdicts import CaseResult
from ...records.form.words import TRACED
from ...records.record import Record

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """A table of text. `numeric` are the numbers of the columns that are aligned to the right, and `marked` the rows
    that are to be noticed. `note` is a sentence below it, which stands alone where there are no rows.
    """

    id: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numeric: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()
    note: str = ""


def make_bias_table(record: Record) -> Table:
    """The checks of the run as a whole: means of the errors in σ, with their standard errors, and the verdicts."""
    rows, marked = list[tuple[str, ...]](), list[int]()
    for adapter, judged in record.judged.items():
        for one in judged:
            where = one.verdicts[0].case.removesuffix(f"-{one.dtype}-run").removeprefix("all") if one.verdicts else ""
            means = [format_mean(one.means.get(name)) for name in ("outward", "plain", "square")]
            verdicts = [_status_of(one, check) for check in RUN_CHECKS]
            if any(verdict.fails for verdict in one.verdicts):
                marked.append(len(rows))
            if record.is_of_trace:  # products alone, and after the sums of all layers those of each
                quantity = TRACED.get(one.quantity, one.quantity) + where.replace("@", " of ", 1)
            else:
                quantity = f"{one.quantity} {one.activation}".strip() + f" {where}".rstrip()
            rows.append((adapter, one.dtype, quantity, f"{one.sums.entries:,}", *means, *verdicts))
    columns = ("adapter", "dtype", "quantity", "entries", "outward, σ", "plain, σ", "square, σ²", *RUN_CHECKS)
    note = (
        "The mean error of all entries, away from zero (outward) and with its sign (plain), ± its standard error. "
        "Sound arithmetic has 0 and 0, and a mean square of at most 1."
    )
    return Table("bias", "Bias and spread", columns, tuple(rows), (3, 4, 5, 6), tuple(marked), note)


def format_mean(mean: Mean | None) -> str:
    """A mean with its standard error."""
    if mean is None:
        return MISSING
    return f"{mean.value:+.3g} ± {mean.error:.2g}"


def _status_of(one: Judged, check: Check) -> str:
    found: list[Verdict] = [verdict for verdict in one.verdicts if verdict.check == check]
    return status(found) if found else MISSING


def make_kinks_table(record: Record) -> Table:
    """The derivative that each adapter took at the kinks of activations, as the cases of the kinks regime show it."""
    adapters = list(record.adapters)
    taken = {name: collect_slopes(_results(record, name)) for name in adapters}
    places = {(activation, point) for some in taken.values() for activation, point, _ in some}
    rows = []
    for name in sort_activations({activation for activation, _ in places}):
        for point in sorted(point for activation, point in places if activation == name):
            sides = points(ACTIVATIONS[name]).get(point)
            if sides is not None:
                cells = (_taken(taken[adapter], name, point, sides) for adapter in adapters)
                rows.append((name, f"{point:g}", f"{sides[0]:.5g}", f"{sides[1]:.5g}", *cells))
    columns = ("activation", "point", "from the left", "from the right", *adapters)
    note = "" if rows else "No case of this run shows a derivative at a kink."
    return Table("kinks", "Conventions at kinks", columns, tuple(rows), (1, 2, 3), (), note)


def _results(record: Record, adapter: str) -> Mapping[str, CaseResult]:
    return {case: one for (name, case), one in record.cases.items() if name == adapter}


def _taken(
    slopes: Mapping[tuple[str, float, str], Sequence[float]], name: str, point: float, sides: tuple[float, float]
) -> str:
    """One value if all dtypes agree, else that of each dtype."""
    values = {
        dtype: convention(some, *sides, DTYPES[dtype].u)
        for (activation, at, dtype), some in slopes.items()
        if (activation, at) == (name, point)
    }
    if len(set(values.values())) <= 1:
        return next(iter(values.values()), MISSING)
    return ", ".join(f"{value} ({dtype})" for dtype, value in values.items())


_PRODUCT = (
    "dtype", "kind", "batch", "operands", "operand_rounding", "accumulator", "accumulation", "products", "store",
    "flushing", "order",
)  # fmt: skip


def make_arithmetic_table(record: Record) -> Table:
    """The arithmetic of products that adapters declare, and what was measured of it."""
    rows = []
    for adapter in record.header["adapters"]:
        for dtype, one in sorted((adapter.get("arithmetic") or {}).items()):
            said = ", ".join(f"{name} {value}" for name, value in sorted(one.items()) if value is not None)
            rows.append((adapter["name"], "declared", dtype, said))
        for one in (adapter.get("fingerprint") or {}).get("measured", ()):
            said = ", ".join(f"{name} {one[name]}" for name in _PRODUCT[3:] if one.get(name) is not None)
            rows.append((adapter["name"], f"measured, {one['kind']} (batch {one['batch']})", one["dtype"], said))
    note = "" if rows else "Nothing is declared, and nothing was measured; kterm check --fingerprint measures it."
    return Table("arithmetic", "Arithmetic", ("adapter", "", "dtype", "products"), tuple(rows), note=note)


def make_environment_table(record: Record) -> Table:
    """Where and how the run took place."""
    return Table("environment", "Environment", ("", ""), tuple(_environment(record.header)))


def _environment(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("suite", "profile", "seed", "level", "platform", "python"):
        yield name, str(header.get(name, MISSING))
    for adapter in header["adapters"]:
        for name in ("version", "framework", "framework_version", "layout", "device", "plan"):
            if adapter.get(name) not in (None, ""):
                yield f"{adapter['name']}: {name}", str(adapter[name])
    environment = header.get("environment", {})
    for name in ("cpu", "cores", "blas"):
        if environment.get(name):
            yield name, str(environment[name])
    for kind in ("libraries", "variables"):
        for name, value in sorted(environment.get(kind, {}).items()):
            yield name, str(value)
