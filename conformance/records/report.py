"""Views of a record: the lines that pytest and `kterm check` print. Made from the record alone."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from ...reference import Array
from ...reference.rounding import SIGMAS
from ..cases.plan import Description
from ..checks.verdict import CHECKS, STATUSES, Verdict
from ..diagnosis.causes import Cause, causes
from ..diagnosis.explanation import origin_of
from .record import Record

_MOST_CAUSES = 8
_MOST_LINES = 15
_MOST_NAMED = 3
_NEAR = 1e-2
"""What part of an error a mistake must leave unexplained at most, to be mentioned where none explains it all."""


def title(header: dict[str, Any]) -> str:
    """One line: what is checked, in which versions, how much of it."""
    adapters = ", ".join(map(versioned, header["adapters"]))
    kept = "".join(f", {name} only" for name in (*header["dtypes"], *header["activations"]))
    return f"kterm {header['suite']}: {adapters}; profile {header['profile']}{kept}, seed {header['seed']}"


def versioned(adapter: dict[str, Any]) -> str:
    """An adapter's name and version, and what it wears."""
    return f"{adapter['name']} {adapter['version']}" + (f" wearing {adapter['mutant']}" if adapter["mutant"] else "")


def words(adapter: dict[str, Any]) -> str:
    """How an adapter is named on the command line."""
    return shlex.quote(adapter["spec"]) + (f" --mutant {adapter['mutant']}" if adapter["mutant"] else "")


def entries(array: Array, width: int = 110) -> str:
    """An array's numbers, in lines of a width; of a large one its corners."""
    return np.array2string(array.astype(float), threshold=24, max_line_width=width, precision=17)


def failure_lines(adapter: Description, verdicts: Sequence[Sequence[Verdict]]) -> list[str]:
    """One group's failures, told by cause, in at most 15 lines."""
    found = causes((adapter.name, some) for some in verdicts)
    lines = [line for cause in found[:2] for line in (*_told(cause, words(adapter.to_json())), "")][:-1]
    if len(found) > 2:
        more = len(found) - 2
        lines = [*lines[: _MOST_LINES - 1], f"and {more} further cause{'s' if more > 1 else ''}; see the record"]
    return lines[:_MOST_LINES]


def summary_lines(record: Record) -> list[str]:
    """What was left out, the unanswered, the accounting and the verdict, as plain lines."""
    footer, header = record.footer, record.header
    lines = []
    for adapter in header["adapters"]:
        if adapter["unsupported"]:
            lines.append(f"{adapter['name']} does not declare: {', '.join(adapter['unsupported'])}")
    for number, (name, case) in enumerate(footer["unanswered"]):
        if number == 10:
            lines.append(f"... and {len(footer['unanswered']) - 10} more cases not answered for; all are in the record")
            break
        lines.append(f"not answered for: {case} on {name}")
    if footer["weakest"] is not None:
        power, name, case, quantity = footer["weakest"]
        lines.append(f"weakest pass: power {power:.3g}, {quantity} of {case} on {name}")
    counts = footer["accounting"]
    parts = " + ".join(f"{counts[name]:,} {name}" for name in STATUSES if counts[name] or name in ("passed", "failed"))
    missing = f" + {len(footer['unanswered']):,} not answered for" if footer["unanswered"] else ""
    lines.append(f"planned {counts['planned']:,} = {parts}{missing}")
    if not counts["planned"]:
        lines.append("nothing was checked: no case is left by what was asked for and what the adapters declare")
    lines += [one.message for one in record.audited if one.message]
    lines.append("conforms" if record.conforms else "does not conform")
    return lines


def cause_lines(record: Record) -> list[str]:
    """All failures of a record, 30 of one cause told as one with a count."""
    named = {adapter["name"]: words(adapter) for adapter in record.header["adapters"]}
    found = causes((adapter, some) for (adapter, _), some in record.verdicts.items())
    lines = [line for cause in found[:_MOST_CAUSES] for line in (*_told(cause, named[cause.adapter]), "")]
    if len(found) > _MOST_CAUSES:
        lines += [f"and {len(found) - _MOST_CAUSES} further causes; all are in the record (--report FILE)", ""]
    return lines


def expected_lines(record: Record) -> list[str]:
    """The known divergences that were met, each with its reason and how often."""
    reasons: Counter[tuple[str, str]] = Counter()
    told = {name: f"{e.reason} ({e.issue})" if e.issue else e.reason for name, e in record.expectations.items()}
    for (adapter, _), verdicts in record.verdicts.items():
        reasons.update({(adapter, told[v.expectation]) for v in verdicts if v.expectation})
    return [
        f"expected in {count:,} cases of {adapter}: {reason}" for (adapter, reason), count in sorted(reasons.items())
    ]


def _told(cause: Cause, named: str) -> list[str]:
    """A cause in at most eight lines."""
    worst, count = cause.worst, f"{cause.cases:,} case{'s' if cause.cases > 1 else ''}"
    where = f"; it begins at {origin}" if (origin := origin_of(worst)) else ""
    lines = [f"{cause.adapter}: {' and '.join(cause.checks)} {worst.grade} in {count}{where}"]
    lines += diagnosis_lines(cause)
    lines.append(f"  {'worst' if cause.cases > 1 else 'case'}: {worst.case}")
    lines += finding_lines(worst)
    lines.append(f"  kterm replay {worst.case} {named}")
    lines.append(f"  kterm reproduce {worst.case} {named} -o bug.py")
    return lines


def finding_lines(finding: Verdict) -> list[str]:
    """What is wrong: in words, or the worst entry with both numbers."""
    if finding.message:
        return [f"  {finding.label}: {finding.message}"]
    if finding.observed is None:
        return []
    at = f"[{', '.join(map(str, finding.at))}]" if finding.at else ""
    layer = f" ({finding.activation})" if finding.activation else ""
    return [
        f"  {finding.label}{at}{layer}: the framework gives {finding.observed!r}, the rule {finding.expected!r}; "
        f"{finding.worst * SIGMAS:.3g} σ, {finding.worst:.3g} times the tolerance {finding.tolerance:.3g}"
    ]


def diagnosis_lines(cause: Cause) -> list[str]:
    """What explains a cause, in a line; none of what is told in words."""
    if cause.mistakes:
        told = [f"the rule with {e.mistake} (residual {e.sigmas:.2g} σ)" for e in cause.mistakes[:_MOST_NAMED]]
        more = f", or {len(cause.mistakes) - _MOST_NAMED} more" if len(cause.mistakes) > _MOST_NAMED else ""
        best = "" if cause.next_best is None else f"; next best explanation {cause.next_best:.2g} σ"
        return [f"  it equals {', or '.join(told)}{more}{best}"]
    if cause.worst.message or cause.worst.grade == "errored":
        return []
    near, nearest = cause.nearest, ""
    if near is not None and near.sigmas < _NEAR * cause.worst.worst * SIGMAS:
        nearest = f"; the nearest is {near.mistake}, {near.sigmas:.2g} σ away"
    return [f"  no known mistake explains this{nearest}"]


class CheckTable:
    """A table of checks by adapters, rendered by rich: what each check came to in how many cases."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One row a check, one column an adapter."""
        adapters = [adapter["name"] for adapter in self._record.header["adapters"]]
        counts = self._record.footer["checks"]
        table = Table("check", *adapters, box=None, pad_edge=False, header_style="bold")
        for check in CHECKS:
            row = [_cell(counts.get(adapter, {}).get(check, {})) for adapter in adapters]
            if any(row):
                table.add_row(check, *row)
        yield table


_STYLES = {"passed": "green", "failed": "red", "errored": "red", "blocked": "yellow", "expected": "cyan"}


def _cell(counts: dict[str, int]) -> str:
    parts = []
    for name in STATUSES:
        if counts.get(name):
            style = _STYLES.get(name, "dim")
            parts.append(f"[{style}]{counts[name]:,} {name}[/{style}]")
    return ", ".join(parts)
