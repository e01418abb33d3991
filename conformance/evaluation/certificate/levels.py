"""The levels of a certificate, one for each dtype that the adapter declares, and what the run left out.

- strict: nothing was left out, no known divergence was met, and no declaration widens what is right.
- declared: nothing was left out. What departs is a known divergence, or follows from arithmetic or dtypes of results
  that the adapter declares.
- partial: something was left out; it is listed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ...cases.description import Description
from ...cases.limited import describe_cut
from ...cases.plan import Options, Plan, plan
from ...checks.verdict import CHECKS, RUN_CHECKS, Check
from ...checks.whole_run.verdicts import missing_reason
from ...records.form.text import count, shorten
from ...records.record import Record
from .figures import cases_of, dtype_of
from .form import Cell, CertificateLevel, CheckGrade, Divergence, LeftOut, RunGrade
from .refusal import WHOLE

_MOST_CHARACTERS = 300


def choose_levels(
    adapter: Description, left_out: Sequence[LeftOut], divergences: Sequence[Divergence]
) -> dict[str, CertificateLevel]:
    """The level that a conforming run earns in each dtype."""
    lacking = {dtype for one in left_out for dtype in one.dtypes}
    departing = {dtype for one in divergences for dtype in one.dtypes}
    declaring = {dtype for dtype, one in adapter.arithmetic if not one.is_usual or one.flushing in ("may", "always")}
    declaring |= {*adapter.dtypes} if adapter.result_dtypes else set()
    return {
        dtype: "partial" if dtype in lacking else "declared" if dtype in departing | declaring else "strict"
        for dtype in adapter.dtypes
    }


def least(levels: Mapping[str, CertificateLevel]) -> CertificateLevel:
    """The least of some levels."""
    order = get_args(CertificateLevel)
    return max(levels.values(), key=order.index)


def find_left_out(
    record: Record,
    adapter: Description,
    options: Options,
    planned: Plan,
    checks: Sequence[CheckGrade],
    run: Sequence[RunGrade],
    cells: Sequence[Cell],
    divergences: Sequence[Divergence],
) -> Iterator[LeftOut]:
    """Everything that keeps the level of a dtype at partial, and the dtypes that are not declared, which have none."""
    every = adapter.dtypes
    if options.profile not in WHOLE:
        what = f"profile {options.profile}, which has few cases; {' and '.join(WHOLE)} have enough"
        yield LeftOut("profile", what, every)
    if options.level == "normwise":
        below = sum(v.below_level for (name, _), some in record.verdicts.items() if name == adapter.name for v in some)
        what = f"--level normwise lets findings pass that are only componentwise: {below:,} here"
        yield LeftOut("level", what, every)
    for what in planned.unsupported:
        yield LeftOut("undeclared", what, () if what.startswith("dtype ") else every)
    yield from _limits(adapter, options, planned)
    refused = Counter(dtype_of(one) for one in cases_of(record, adapter.name) if one.status == "unsupported")
    for dtype, number in refused.items():
        what = f"{count(number, 'case')} in {dtype}, for which it raises NotImplementedError"
        yield LeftOut("unsupported", what, (dtype,))
    if not any(one.check == "layout" and one.cases.get("passed") for one in checks):
        yield LeftOut("no pass", "layout: no probe passed", every)
    for dtype in every:
        yield from _cells_without_power(dtype, cells)
        yield from _checks_without_pass(dtype, checks, run, adapter)
    for one in divergences:
        if one.bound == "none" and not one.shipped:
            what = f"findings of any size may match the expectation with the reason: {one.reason}"
            yield LeftOut("unbounded expectation", shorten(what, _MOST_CHARACTERS), one.dtypes)


def _cells_without_power(dtype: str, cells: Sequence[Cell]) -> Iterator[LeftOut]:
    own = [cell for cell in cells if cell.dtype == dtype]
    for what, names in (
        ("f", [cell.activation for cell in own if not cell.values]),
        ("f'", [cell.activation for cell in own if not cell.slopes]),
    ):
        if names:
            yield LeftOut("not judged", f"{what} of {', '.join(names)} in {dtype}: in no case with power", (dtype,))


def _limits(adapter: Description, options: Options, planned: Plan) -> Iterator[LeftOut]:
    cut: dict[str, Any] | None = None if planned.cut is None else planned.cut.to_json()
    if cut is not None and any(cut[name] for name in ("left_out", "changed", "dropped", "draws", "twins")):
        for line in describe_cut(adapter.name, cut):
            yield LeftOut("limits", shorten(line, _MOST_CHARACTERS), adapter.dtypes)
    if adapter.max_structures is not None:
        whole = len(plan(replace(adapter, max_structures=None), options).groups)
        if whole > len(planned.groups):
            what = f"max_structures: {len(planned.groups):,} of {count(whole, 'structure')}"
            yield LeftOut("limits", what, adapter.dtypes)


def _checks_without_pass(
    dtype: str, checks: Sequence[CheckGrade], run: Sequence[RunGrade], adapter: Description
) -> Iterator[LeftOut]:
    """The checks that passed in no case of a dtype, and those of the run as a whole that passed for no quantity."""
    found: Mapping[Check, Mapping[str, int]] = {one.check: one.cases for one in checks if one.dtype == dtype}
    for check in CHECKS:
        if check == "layout" or (check == "bias_gradients" and set(adapter.biases) == {"none"}):
            continue  # probes are of one dtype; where no bias is declared, `undeclared` says so
        if not (counts := found.get(check, {})).get("passed"):
            others = ", ".join(f"{number:,} {status}" for status, number in counts.items()) or "no case has it"
            yield LeftOut("no pass", f"{check} in {dtype}: {others}", (dtype,))
    for check in RUN_CHECKS:
        grades = Counter(one.grade for one in run if (one.dtype, one.check) == (dtype, check))
        if not grades["pass"]:
            others = ", ".join(f"{number} {grade}" for grade, number in grades.items()) or missing_reason(dtype)
            yield LeftOut("no pass", f"{check} of the whole run in {dtype}: {others}", (dtype,))
