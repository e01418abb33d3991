"""Views of a record: the lines that pytest and `kterm check` print. Made from the record alone.

What adapters and users wrote (names, versions, messages, reasons) is printed as plain text: never as markup, and never
with characters that end a line or control a terminal.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from ...reference import Array
from ...reference.arithmetic import Arithmetic
from ..arithmetic.differences import explain_by_arithmetic
from ..arithmetic.fingerprint import Fingerprint
from ..cases.case import traced_layer
from ..cases.description import Description
from ..cases.level import Level
from ..cases.limited import describe_cut
from ..checks.verdict import CHECKS, RUN_CHECKS, STATUSES, Verdict
from ..diagnosis.causes import Cause, causes
from ..expectations.audit import FAILING
from . import whole_run
from .coverage import uncovered_lines
from .form.console import natural_width
from .form.text import count, printable
from .form.words import command_lines, diagnosis_lines, finding_lines, headline, reason_of, versioned
from .record import Record
from .severity import below_line, heading, size_lines

_MOST_CAUSES = 8
_MOST_LINES = 20
_MOST_CASES = 10
_MOST_NAMED = 3


def title(header: dict[str, Any]) -> str:
    """One line: what is checked, in which versions, how much of it."""
    adapters = ", ".join(map(versioned, header["adapters"]))
    if "trace" in header:
        return printable(f"kterm {header['suite']}: {adapters}; {_describe_trace(header)}")
    kept = "".join(f", {name} only" for name in (*header["dtypes"], *header["activations"]))
    kept += "".join(f", regime {name} only" for name in header.get("regimes", ()))
    kept += f", {count(len(header['like']), 'structure')} of a trace" if header.get("like") else ""
    level = ", level normwise" if header["level"] == "normwise" else ""
    profile = f"profile {header['profile']}{kept}{level}, seed {header['seed']}"
    return printable(f"kterm {header['suite']}: {adapters}; {profile}")


def _describe_trace(header: Mapping[str, Any]) -> str:
    """What a record of a trace is about: 48 dense layers, 3 steps of a trace."""
    trace = header["trace"]
    layers = len({traced_layer(one["group"]) for one in trace["layers"]})
    steps = {step for one in trace["layers"] for first, last in one["steps"] for step in range(first, last + 1)}
    kept = ", layers " + " ".join(trace["only_layers"]) + " only" if trace.get("only_layers") else ""
    level = ", level normwise" if header["level"] == "normwise" else ""
    return f"{count(layers, 'layer')}, {count(len(steps), 'step')} of a trace{kept}{level}"


def entries(array: Array, width: int = 110) -> str:
    """An array's numbers, in lines of a width; of a large one its corners."""
    return np.array2string(array.astype(float), threshold=24, max_line_width=width, precision=17)


def failure_lines(
    adapter: Description,
    verdicts: Sequence[Sequence[Verdict]],
    device: str | None = None,
    level: Level = "componentwise",
    found: Sequence[Cause] | None = None,
    is_searched: bool = True,
) -> list[str]:
    """The failures of some cases by cause, in at most 20 lines. `device` is the one that the user named, `level` that
    of the run. `found` are their causes, if they are known. If not `is_searched`, no causes were looked for yet.
    """
    if found is None:
        found = causes((adapter.name, some) for some in verdicts)
    lines = list(_cause_lines(found[:2], {adapter.name: adapter.to_json()}, device, level, is_searched))[:-1]
    if len(found) > 2:
        more = len(found) - 2
        lines = [*lines[: _MOST_LINES - 1], f"and {more} further cause{'s' if more > 1 else ''}"]
    return lines[:_MOST_LINES]


def verdict_lines(record: Record) -> list[tuple[str, bool]]:
    """The run in a line for each adapter, and whether it passed: PASS or FAIL, its version, and how its cases ended.

    An adapter passes if something of it was checked, no case failed, errored, was blocked or has no result, its run as
    a whole has no unexpected finding, and no expectation that concerns it is stale or unmatched.
    """
    failing = {one.id for one in record.audited if one.state in FAILING}
    missing = Counter(name for name, _ in record.footer["unanswered"])
    met: dict[str, set[str]] = {name: set() for name in record.adapters}
    for (name, _), verdicts in record.verdicts.items():
        met[name] |= {v.expectation for v in verdicts if v.expectation}
    lines = []
    for adapter in record.header["adapters"]:
        name, counts = adapter["name"], record.footer["by_adapter"][adapter["name"]]
        of_run = record.of_run[name]
        met[name] |= {v.expectation for v in of_run if v.expectation}
        # An entry for several activations has an id for each, and one reason.
        known = {record.expectations[one].reason for one in met[name]}
        bad = counts["failed"] + counts["errored"] + sum(v.fails for v in of_run)
        stale = sum(entry.id in failing for entry in record.concerning(name))
        others = counts["blocked"] + missing[name] + stale
        passes = not bad and not others and name not in record.unchecked
        said = format_verdict(adapter, passes, counts["planned"], bad, len(known), counts, missing[name], stale)
        lines.append((said, passes))
    return lines


def format_verdict(
    adapter: dict[str, Any], passes: bool, cases: int, failures: int, known: int, statuses: Mapping[str, int],
    missing: int = 0, stale: int = 0,
) -> str:  # fmt: skip
    """The verdict on an adapter in one line, with what is not 0 of `known` divergences, of cases by status, of cases
    without a result (`missing`) and of `stale` expectations.
    """
    parts = [count(cases, "case"), count(failures, "failure")]
    parts += [count(known, "known divergence")] if known else []
    rest = (
        (statuses["inconclusive"], "undecided"), (statuses["unsupported"], "unsupported"),
        (statuses["blocked"], "blocked"), (missing, "without a result"),
    )  # fmt: skip
    parts += [f"{number:,} {what}" for number, what in rest if number]
    parts += [count(stale, "stale expectation")] if stale else []
    return f"{'PASS' if passes else 'FAIL'} {versioned(adapter)}: {', '.join(parts)}"


def summary_lines(
    record: Record, saved: Path | None = None, option: str = "--report", stopped: bool = False
) -> list[str]:
    """What was left out, cases without a result, the accounting and the verdict, as plain lines.

    `saved` is where the user has the record, and `option` what would save it; `stopped` says that the run was stopped
    before its end, so that cases without a result are counted and not listed.
    """
    footer, header = record.footer, record.header
    lines = [*header.get("trace", {}).get("notes", ())]
    for adapter in header["adapters"]:
        if adapter["unsupported"]:
            lines.append(f"{adapter['name']} does not declare: {', '.join(adapter['unsupported'])}")
        if adapter.get("cut"):
            lines += describe_cut(adapter["name"], adapter["cut"])
    counts, without = footer["accounting"], footer["unanswered"]
    if stopped:
        lines.append(f"stopped early: no result for {len(without):,} of {counts['planned']:,} cases")
    else:
        lines += [f"no result for: {case} on {name}" for name, case in without[:_MOST_CASES]]
        if len(without) > _MOST_CASES:
            lines.append(f"... and {len(without) - _MOST_CASES:,} more cases without a result; {_where(saved, option)}")
    if footer["weakest"] is not None:
        power, name, case, quantity = footer["weakest"]
        lines.append(f"weakest pass: power {power:.3g}, {quantity} of {case} on {name}")
    parts = " + ".join(f"{counts[name]:,} {name}" for name in STATUSES if counts[name] or name in ("passed", "failed"))
    missing = f" + {len(without):,} without a result" if without else ""
    lines.append(f"planned {counts['planned']:,} = {parts}{missing}")
    lines += _run_lines(record)
    lines += _unchecked_lines(record)
    for adapter in header["adapters"]:
        covered = footer["judged"][adapter["name"]]
        lines += uncovered_lines(adapter["name"], adapter, header, covered)
    lines += [one.message for one in record.audited if one.message]
    if below := record.below_level:
        lines.append(below_line(below, sum(any(v.below_level for v in some) for some in record.verdicts.values())))
    lines.append(f"{'conforms' if record.conforms else 'does not conform'} ({record.level})")
    return [*map(printable, lines)]


def _run_lines(record: Record) -> Iterable[str]:
    """What the run as a whole says of each adapter: what it would have seen, and what it found."""
    for adapter in record.header["adapters"]:
        name, judged = adapter["name"], record.judged[adapter["name"]]
        yield from whole_run.power_lines(name, judged, record.header["dtypes"] or adapter["dtypes"])
        yield from whole_run.finding_lines(name, judged)
        if record.footer["by_adapter"][name]["failed"] and any(v.fails for v in record.of_run[name]):
            yield f"  cases of {name} fail too: these means are of the draws in which nothing was found"


def _where(saved: Path | None, option: str) -> str:
    return f"all are in {saved}" if saved else f"{option} FILE writes all of them to a record"


def _unchecked_lines(record: Record) -> Iterable[str]:
    planned = {adapter["name"]: adapter.get("structures", 0) for adapter in record.header["adapters"]}
    if not any(planned.values()):
        yield "nothing was checked: no case is left by what was asked for and what the adapters declare"
        return
    for name in sorted({*record.deselected} - {*record.unchecked}):
        yield f"no part of this run: {name}; every case of it was deselected"
    for name in record.unchecked:
        counts = record.footer["by_adapter"][name]
        found = " and ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])
        if found and counts["planned"] != counts["unsupported"] + counts["inconclusive"]:
            found += ", no case beside the layout probes"
        elif not found and counts["planned"]:
            found = "no case has a result"
        elif not found:
            asked = "every case of it was deselected"
            found = asked if planned[name] else "no case is left by what was asked for and what it declares"
        yield f"nothing was checked of {name}: {found}"


def cause_lines(record: Record, saved: Path | None = None, option: str = "--report") -> list[str]:
    """All failures of a record: those that have one cause together, with a count. `saved` and `option` as in
    `summary_lines`.
    """
    named = {adapter["name"]: adapter for adapter in record.header["adapters"]}
    device = record.header.get("device")
    found = record.causes
    lines = list(_cause_lines(found[:_MOST_CAUSES], named, device, record.level))
    if len(found) > _MOST_CAUSES:
        lines += [f"and {len(found) - _MOST_CAUSES} further causes; {_where(saved, option)}", ""]
    failing = dict.fromkeys(cause.adapter for cause in found)
    return [*lines, *(line for name in failing for line in arithmetic_lines(named[name]))]


def arithmetic_lines(adapter: dict[str, Any]) -> list[str]:
    """What was measured of an adapter's arithmetic and is not declared, a line each, from its object in the header."""
    if adapter.get("fingerprint") is None:
        return []
    declared = {dtype: Arithmetic(**one) for dtype, one in adapter["arithmetic"].items()}
    sentences = explain_by_arithmetic(Fingerprint.from_json(adapter["fingerprint"]), declared)
    return [printable(f"{adapter['name']}: measured, and not declared: {sentence}") for sentence in sentences]


def _cause_lines(
    found: Sequence[Cause],
    named: Mapping[str, dict[str, Any]],
    device: str | None,
    level: Level,
    is_searched: bool = True,
) -> Iterator[str]:
    """The lines of causes, with an empty line after each, and a heading above those that are only componentwise."""
    first = next((cause for cause in found if cause.severity.level == "componentwise"), None)
    for cause in found:
        if cause is first:
            yield from (heading(level), "")
        yield from (*describe_cause(cause, named[cause.adapter], device, is_searched), "")


def expected_lines(record: Record) -> list[str]:
    """The known divergences that the run met, each with its reason and how often."""
    reasons: Counter[tuple[str, str]] = Counter()
    known = {name: reason_of(entry) for name, entry in record.expectations.items()}
    for (adapter, _), verdicts in record.verdicts.items():
        reasons.update({(adapter, known[v.expectation]) for v in verdicts if v.expectation})
    return [
        printable(f"expected in {count(number, 'case')} of {adapter}: {reason}")
        for (adapter, reason), number in sorted(reasons.items())
    ]


def describe_cause(cause: Cause, adapter: dict[str, Any], device: str | None, is_searched: bool = True) -> list[str]:
    """A cause in a few lines: what failed, what explains it, one case, and the commands that show more of it."""
    shown, lines = cause.worst, [headline(cause)]
    lines += diagnosis_lines(cause) if is_searched else ["  the end of the run says what is known of the cause"]
    lines += size_lines(cause.severity, cause.cases)
    lines.append(f"  {'smallest' if cause.cases > 1 else 'case'}: {shown.case}")
    lines += finding_lines(shown)
    lines += [f"  {line}" for line in command_lines(shown.case, adapter, device)]
    return [*map(printable, lines)]


class CheckTable:
    """A table of checks by adapters, rendered by rich: in how many cases each check passed, failed, and so on."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One row a check, one column an adapter; a table for each adapter, if they do not fit beside each other."""
        adapters = [adapter["name"] for adapter in self._record.header["adapters"]]
        table = self._make_table(adapters)
        if natural_width(console, table) <= options.max_width:
            yield table
            return
        for number, adapter in enumerate(adapters):
            if number:
                yield Text("")
            yield Text(printable(adapter), style="bold")
            yield self._make_table([adapter], ["cases"])

    def _make_table(self, adapters: Sequence[str], heads: Sequence[str] = ()) -> Table:
        columns = [Column(Text(printable(name))) for name in heads or adapters]
        table = Table("check", *columns, box=None, pad_edge=False, header_style="bold")
        for check, counts in count_by_check(self._record, adapters):
            table.add_row(check, *map(_cell, counts))
        return table


def count_by_check(record: Record, adapters: Sequence[str]) -> Iterator[tuple[str, list[dict[str, int]]]]:
    """For each check that one of these adapters has: for each of them, how many cases have each status in it."""
    counts = record.footer["checks"]
    for check in (*CHECKS, *RUN_CHECKS):
        found = [counts.get(name, {}).get(check, {}) for name in adapters]
        if any(found):
            yield check, found


_STYLES = {"passed": "green", "failed": "red", "errored": "red", "blocked": "yellow", "expected": "cyan"}


def _cell(counts: dict[str, int]) -> Text:
    parts = list[Text]()
    for name in STATUSES:
        if counts.get(name):
            parts.append(Text(f"{counts[name]:,} {name}", _STYLES.get(name, "dim")))
    return Text(", ").join(parts)
