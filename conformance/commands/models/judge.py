"""What `kterm judge` does."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...cases.level import parse_level
from ...cases.plan import OptionError
from ...interfaces.models.judgement import Judgement, Options, verdict_line
from ...interfaces.models.lines import coverage_lines, finding_lines, run_lines, table_of_layers
from ...interfaces.models.read import read_trace
from ...interfaces.models.record import deliver_record
from ...interfaces.models.run import judge_with, read_expectations
from ...records.folder import RunFolder
from ...records.form.console import TextConsole
from ...runners.workers import parse_workers
from ..exit_codes import CONFORMS, DOES_NOT
from ..output import show_progress
from ..runs.views.detail import Detail

_LEAST_BYTES = 2**25
"""Below this, starting workers takes longer than judging."""


@dataclass(frozen=True)
class JudgeOptions:
    """The options of the command, as given."""

    steps: str = ""
    layers: tuple[str, ...] = ()
    workers: str = "auto"
    level: str = "componentwise"
    expectations: Path | None = None
    report: Path | None = None
    detail: Detail = "normal"


def run_judge(path: Path, asked: JudgeOptions) -> int:
    """Judge a trace, print the judgement, and write its record if that is asked for. The exit code is 0 if the trace
    conforms, else 1.

    Raises TraceError, OptionError, ExpectationError and RecordError.
    """
    started = time.monotonic()
    workers = parse_workers(asked.workers)
    level = parse_level(asked.level)
    trace = read_trace(path)
    options = Options(level, asked.layers, parse_steps(asked.steps))
    if asked.workers == "auto" and trace.bytes < _LEAST_BYTES:
        workers = 0
    console = TextConsole(quiet=asked.detail == "quiet")
    expected = read_expectations(trace, asked.expectations)
    console.print(f"{trace} in {path}")
    with ExitStack() as stack:
        # A report that cannot be written is refused before any work.
        folder = None if asked.report is None else stack.enter_context(RunFolder(asked.report))
        with ExitStack() as shown:

            def begin(total: int) -> Callable[[], None]:
                return shown.enter_context(show_progress(console, "pieces", total))

            judgement = judge_with(trace, path, options, expected, workers, begin)
        print_judgement(judgement, asked.detail)
        console.print(f"{time.monotonic() - started:.1f} s")
        if folder is not None:
            deliver_record(judgement, expected, asked.expectations is not None, folder)
    return CONFORMS if judgement.conforms else DOES_NOT


def print_judgement(judgement: Judgement, detail: Detail) -> None:
    """Print the verdict; unless quiet, then the findings, the layers, and what was not judged."""
    TextConsole().print(verdict_line(judgement))
    if detail == "quiet":
        return
    console = TextConsole()
    for lines in (finding_lines(judgement, None if detail == "verbose" else 8), run_lines(judgement)):
        if lines:
            console.print()
        for line in lines:
            console.print(line)
    if judgement.verdicts:
        console.print()
        console.print("largest errors in σ; a finding is above 10 and has a !")
        console.print(table_of_layers(judgement))
    lines = coverage_lines(judgement)
    if lines:
        console.print()
    for line in lines:
        console.print(line)


def parse_steps(text: str) -> tuple[int, ...]:
    """The numbers in a text such as 0,4-7. Raises OptionError."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None or (match[2] and not int(match[1]) <= int(match[2]) < int(match[1]) + 10**6):
            raise OptionError(f"--steps {text:.60}: give numbers and ranges such as 0,4-7")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(found))
