"""Views of a record: the lines that pytest and `kterm check` print. Made from the record alone."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from .plan import Description
from .record import Record
from .verdict import CHECKS, STATUSES, Verdict

_MOST_CAUSES = 8


def title(header: dict[str, Any]) -> str:
    """One line: what is checked, in which versions, how much of it."""
    adapters = ", ".join(f"{a['name']} {a['version']}" for a in header["adapters"])
    kept = "".join(f", {name} only" for name in (*header["dtypes"], *header["activations"]))
    return f"kterm {header['suite']}: {adapters}; profile {header['profile']}{kept}, seed {header['seed']}"


def failure_lines(adapter: Description, verdicts: Sequence[Sequence[Verdict]]) -> list[str]:
    """One group's failures, told by cause, in at most 15 lines."""
    groups = _causes(((adapter.name, some) for some in verdicts), {adapter.name: adapter.spec})
    lines: list[str] = []
    for cause in groups[:2]:
        lines += [*cause, ""]
    if len(groups) > 2:
        lines.append(f"and {len(groups) - 2} further causes; see the record")
    return lines[:-1] if lines and not lines[-1] else lines


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
    lines += [one.message for one in record.settled if one.message]
    lines.append("conforms" if record.conforms else "does not conform")
    return lines


def cause_lines(record: Record) -> list[str]:
    """All failures of a record, 30 of one cause told as one with a count; and what was expected, by reason."""
    specs = {adapter["name"]: adapter["spec"] for adapter in record.header["adapters"]}
    causes = _causes(((adapter, some) for (adapter, _), some in record.verdicts.items()), specs)
    lines: list[str] = []
    for cause in causes[:_MOST_CAUSES]:
        lines += [*cause, ""]
    if len(causes) > _MOST_CAUSES:
        lines += [f"and {len(causes) - _MOST_CAUSES} further causes; all are in the record (--report FILE)", ""]
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


_Cause = tuple[str, str, str, str, str]


def _causes(answered: Iterable[tuple[str, Sequence[Verdict]]], specs: Mapping[str, str]) -> list[list[str]]:
    """The unexpected failures and errors, most frequent cause first, each as lines about its worst example.

    Two failures have one cause when adapter, check, kind of quantity, activation and grade (or the message) agree.
    """
    found: dict[_Cause, list[Verdict]] = defaultdict(list)
    for adapter, verdicts in answered:
        for v in verdicts:
            if v.is_unexpected or v.grade == "errored":
                kind = v.quantity.split("_")[0] if not v.message else v.message
                found[adapter, v.check, kind, v.activation or "", v.grade].append(v)
    ordered = sorted(found.items(), key=lambda item: (CHECKS.index(item[1][0].check), -len(item[1])))
    return [_cause(adapter, specs[adapter], some) for (adapter, *_), some in ordered]


def _cause(adapter: str, spec: str, verdicts: list[Verdict]) -> list[str]:
    worst = max(verdicts, key=lambda v: v.worst)
    count = len({v.case for v in verdicts})
    cases = f"{count:,} case{'s' if count > 1 else ''}"
    lines = [f"{adapter}: {worst.check} {worst.grade} in {cases}; worst: {worst.case}"]
    if worst.message:
        lines.append(f"  {worst.quantity}: {worst.message}")
    elif worst.observed is not None:
        where = "".join(f"[{', '.join(map(str, worst.at))}]" if worst.at else "")
        layer = f" ({worst.activation})" if worst.activation else ""
        lines.append(
            f"  {worst.quantity}{where}{layer}: the framework gives {worst.observed!r}, the rule {worst.expected!r}; "
            f"{worst.worst:.3g} times the tolerance {worst.tolerance:.3g}"
        )
    lines.append(f"  kterm replay {worst.case} {shlex.quote(spec)}")
    return lines


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
