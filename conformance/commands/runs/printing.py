"""A record on the terminal: the verdict, then the causes of failures, then details."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...checks.verdict import Verdict
from ...records.form.console import TextConsole
from ...records.form.text import count, printable
from ...records.record import Record
from ...records.report import (
    CheckTable,
    cause_lines,
    expected_lines,
    finding_lines,
    summary_lines,
    verdict_lines,
    versioned,
)
from .detail import Detail


def print_record(
    record: Record,
    detail: Detail,
    saved: Path | None = None,
    option: str = "--report",
    stopped: bool = False,
    seconds: Mapping[str, float] | None = None,
) -> None:
    """Print what a record says of a run. `saved`, `option` and `stopped` as in `summary_lines`; `seconds` is how long
    the groups of each adapter took, if that is known.
    """
    console = TextConsole()
    for line, passes in verdict_lines(record):
        console.print(line, style="bold green" if passes else "bold red")
    if detail == "quiet":
        return
    console.print()
    for line in cause_lines(record, saved, option):
        console.print(line)
    console.print(CheckTable(record))
    console.print()
    for line in (*expected_lines(record), *summary_lines(record, saved, option, stopped)):
        console.print(line)
    if detail == "verbose":
        for line in detail_lines(record, seconds or {}):
            console.print(line)


def detail_lines(record: Record, seconds: Mapping[str, float]) -> Iterator[str]:
    """Every finding in full, the environment of the run, and how long each adapter took, as plain lines."""
    yield ""
    for (adapter, case), verdicts in record.verdicts.items():
        for verdict in verdicts:
            if verdict.is_finding or verdict.expectation or verdict.grade == "errored":
                yield f"{adapter}: {case}: {_summarize(verdict)}"
                yield from finding_lines(verdict)
    header = record.header
    yield f"{header['platform']}, Python {header['python']}"
    for name, value in header["environment"].items():
        shown = ", ".join(f"{n} {v}" for n, v in value.items()) if isinstance(value, dict) else str(value)
        yield f"{name.replace('_', ' ')}: {shown or 'none'}"
    groups = Counter(_group_of(adapter, case) for adapter, case in record.cases)
    for adapter in header["adapters"]:
        if (took := seconds.get(printable(adapter["name"]))) is not None:
            number = sum(name == adapter["name"] for name, _ in groups)
            yield f"{versioned(adapter)}: {took:.1f} s in {count(number, 'group')}"


def _summarize(verdict: Verdict) -> str:
    expected = f", expected: {verdict.expectation}" if verdict.expectation else ""
    return f"{verdict.check} {verdict.grade}{expected}"


def _group_of(adapter: str, case: str) -> tuple[str, str]:
    return adapter, case.rpartition("-")[0]
