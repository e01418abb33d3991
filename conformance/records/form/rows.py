"""A flat table of a record: one row for each case and check."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...checks.verdict import Check, Status
from .verdicts import CaseResult, CheckResult

COLUMNS: tuple[str, ...] = (
    "adapter", "version", "framework", "framework_version", "mutant", "case", "regime", "dtype", "bias", "batch",
    "widths", "activations", "check", "status", "case_status", "margin", "power", "blocked",
)  # fmt: skip
"""The columns of the table, in order. `margin` and `power` are numbers, `batch` is an integer, and all else is text."""


def rows_of(
    adapters: Iterable[Mapping[str, Any]], cases: Mapping[tuple[str, str], CaseResult]
) -> Iterator[dict[str, Any]]:
    """The rows of some cases by adapter and id, given what the header says of the adapters."""
    about = {one["name"]: about_adapter(one) for one in adapters}
    for (adapter, _), one in cases.items():
        yield from case_rows(about[adapter], one.case, one.status, one.checks, one.blocked)


def about_adapter(adapter: Mapping[str, Any]) -> dict[str, Any]:
    """The first columns, from what the header says of an adapter."""
    return {"adapter": adapter["name"], **{name: adapter.get(name) or "" for name in COLUMNS[1:5]}}


def case_rows(
    about: Mapping[str, Any],
    case: str,
    case_status: Status,
    checks: Mapping[Check, CheckResult],
    blocked: Mapping[Check, str],
) -> Iterator[dict[str, Any]]:
    """The rows of one case, one a check."""
    widths, activations, batch, bias, dtype, regime, _ = case.split("-")
    of_case = {"case": case, "regime": regime, "dtype": dtype, "bias": bias, "batch": int(batch[1:])}
    of_case |= {"widths": widths, "activations": activations}
    for check, found in checks.items():
        numbers = {"margin": found.margin, "power": found.power, "blocked": blocked.get(check, "")}
        yield {**about, **of_case, "check": check, "status": found.status, "case_status": case_status, **numbers}
