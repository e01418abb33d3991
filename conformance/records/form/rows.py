"""A flat table of a record: one row for each case and check."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .verdicts import CaseResult

COLUMNS: tuple[str, ...] = (
    "adapter", "version", "framework", "framework_version", "mutant", "case", "regime", "dtype", "bias", "batch",
    "widths", "activations", "check", "status", "case_status", "margin", "power", "blocked",
)  # fmt: skip
"""The columns of the table, in order. `margin` and `power` are numbers, `batch` is an integer, and all else is text."""


def rows_of(
    adapters: Iterable[Mapping[str, Any]], cases: Mapping[tuple[str, str], CaseResult]
) -> Iterator[dict[str, Any]]:
    """The rows of some cases by adapter and id, given what the header says of the adapters."""
    about = {one["name"]: {"adapter": one["name"], **{n: one.get(n) or "" for n in COLUMNS[1:5]}} for one in adapters}
    for (adapter, case), one in cases.items():
        widths, activations, batch, bias, dtype, regime, _ = case.split("-")
        of_case = {"case": case, "regime": regime, "dtype": dtype, "bias": bias, "batch": int(batch[1:])}
        of_case |= {"widths": widths, "activations": activations, "case_status": one.status}
        for check, found in one.checks.items():
            of_check = {"check": check, "status": found.status, "margin": found.margin, "power": found.power}
            yield {**about[adapter], **of_case, **of_check, "blocked": one.blocked.get(check, "")}
