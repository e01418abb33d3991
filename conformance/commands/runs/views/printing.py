"""A record on the terminal: the verdict, then the causes of failures, then details."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ....checks.verdict import Verdict
from ....records.form.console import TextConsole
from ....records.form.text import count
from ....records.form.timings import GroupTiming
from ....records.form.words import finding_lines, versioned
from ....records.record import Record
from ....records.report import CheckTable, cause_lines, expected_lines, summary_lines, verdict_lines
from .detail import Detail


def print_record(
    record: Record,
    detail: Detail,
    saved: Path | None = None,
    option: str = "--report",
    stopped: bool = False,
    timings: Sequence[GroupTiming] = (),
) -> None:
    """Print what a record says of a run. `saved`, `option` and `stopped` as in `summary_lines`; `timings` say how
    long the groups took, as far as that is known.
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
        for line in detail_lines(record, timings):
            console.print(line)


def detail_lines(record: Record, timings: Sequence[GroupTiming]) -> Iterator[str]:
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
    for adapter in header["adapters"]:
        if own := [one.seconds for one in timings if one.adapter == adapter["name"]]:
            yield f"{versioned(adapter)}: {sum(own):.1f} s in {count(len(own), 'group')}"


def _summarize(verdict: Verdict) -> str:
    expected = f", expected: {verdict.expectation}" if verdict.expectation else ""
    return f"{verdict.check} {verdict.grade}{expected}"
