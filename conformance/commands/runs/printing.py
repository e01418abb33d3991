"""A record as a command prints it."""

from pathlib import Path

from rich.console import Console

from ...records.record import Record
from ...records.report import CheckTable, cause_lines, expected_lines, summary_lines, verdict_lines


def print_record(record: Record, report: Path | None, is_interrupted: bool, console: Console) -> None:
    """Print a run: the verdicts, the table of checks, causes, and what was left out."""
    for line, passes in verdict_lines(record):
        console.print(line, markup=False, style="bold green" if passes else "bold red")
    console.print()
    console.print(CheckTable(record))
    console.print()
    lines = [*cause_lines(record, report), *expected_lines(record)]
    lines += summary_lines(record, report, stopped=is_interrupted)
    for line in lines:
        console.print(line, markup=False)
    if is_interrupted:
        kept = f"; what was checked until then is in {report}; kterm check --resume {report} goes on" if report else ""
        console.print(f"interrupted{kept}", markup=False)
