"""What `kterm check` does: a pytest run of the suite, independent of the folder it is called in, and a report."""

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.progress import Progress

from ..interfaces.suite import COUNTS, STOP
from ..records import run as runs
from ..records.folder import RunFolder
from ..records.form.console import TextConsole
from ..records.form.text import print_aside
from ..records.form.timings import GroupTiming, format_timings, read_seconds
from ..records.record import Record, RecordError, read
from ..records.report import title
from ..records.run import RunRequest
from ..runners.cache import cache_line, turn_off_here
from ..runners.threads import pin_here
from .exit_codes import CONFORMS, DOES_NOT, INTERRUPTED
from .output import is_live, make_progress, open_output, say_duration, say_interrupted, show_lines
from .runs.resume import resume_run
from .runs.termination import end_on_termination
from .runs.views.detail import Detail
from .runs.views.printing import print_record

_HERE = Path(__file__).resolve().parents[1] / "interfaces"


def run_check(
    request: RunRequest,
    detail: Detail = "normal",
    keep: Callable[[Record, Path | None], object] = lambda *_: None,
    timings: Path | None = None,
) -> int:
    """Check, print as much as `detail` says, give the record and the place of its file to `keep`, write the seconds of
    each group to `timings`, and give the exit code: 0 conforms, 1 does not, 130 where the user interrupted it,
    143 where SIGTERM did.

    Raises AdapterError, OptionError and ExpectationError before any work, and RecordError where the results cannot be
    written.
    """
    # A file that cannot be written is refused before any work.
    with nullcontext() if timings is None else open_output(timings, "--timings") as file:
        return end_on_termination(lambda: _run_check(request, detail, keep, file))


def _run_check(
    request: RunRequest, detail: Detail, keep: Callable[[Record, Path | None], object], file: TextIO | None
) -> int:
    started, report, is_quiet = time.monotonic(), request.report, detail == "quiet"
    pin_here()
    if not request.uses_cache:
        turn_off_here()
    with RunFolder(request.report, request.resumes) as folder:
        console = TextConsole(quiet=is_quiet)
        run = _load(request, folder, is_quiet)
        console.print(title(run.header()))
        if line := cache_line(adapter.spec for adapter in run.adapters):
            console.print(line)
        try:
            watcher, code = _pytest(run, request, folder, console)
            _require_written(watcher, folder)
            record = read(runs.conclude(run, folder))
        except KeyboardInterrupt:
            if request.report is not None:
                print_aside(f"kterm: the results so far are kept in {folder.keep()}")
            raise
        if watcher.is_interrupted and request.report is not None:
            folder.keep()  # so that the run can go on
        timings = _read_timings(run, folder.path)
        print_record(record, detail, report, stopped=watcher.is_interrupted, timings=timings)
        if watcher.is_interrupted:
            goes_on = f"; what was checked until then is in {report}; kterm check --resume {report} goes on"
            say_interrupted(console, goes_on if report else "")
        seconds = time.monotonic() - started
        console.print(f"{seconds:.1f} s; seed {run.options.seed}")
    keep(record, report)
    if file is not None:
        file.write(format_timings(timings, request.workers, seconds))
    if watcher.is_interrupted:
        return INTERRUPTED
    return CONFORMS if record.conforms and code == pytest.ExitCode.OK else DOES_NOT


def _load(request: RunRequest, folder: RunFolder, is_quiet: bool) -> runs.Run:
    """The run with its adapters loaded, which takes seconds where a framework is imported."""
    with nullcontext() if is_quiet else show_lines(lambda: "still loading ..."):
        return resume_run(folder.path, request.timeout) if request.resumes else runs.prepare(request)


def _require_written(watcher: "_Watcher", folder: RunFolder) -> None:
    if watcher.trouble:
        kept = f"; the results so far are kept in {folder.keep()}" if folder.report is not None else ""
        raise RecordError(f"{watcher.trouble}{kept}")


def _read_timings(run: runs.Run, folder: Path) -> list[GroupTiming]:
    taken = read_seconds(folder)
    return [
        GroupTiming(adapter.name, group.id, len(group.cases), taken[number])
        for number, (adapter, group) in enumerate(run.groups)
        if number in taken
    ]


def _pytest(run: runs.Run, request: RunRequest, folder: RunFolder, console: TextConsole) -> tuple["_Watcher", int]:
    """One pytest session over the suite, without the plugins, options and files of the folder it is called in."""
    if not request.resumes:
        runs.save(run, folder.path)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    # Workers start as `python -c`, with the current directory at the head of their path: a logging.py there would hide
    # the standard library's.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = [str(_HERE), "-c", str(_HERE / "check.ini"), "--rootdir", str(_HERE), "--noconftest"]
    arguments += ["-p", "kterm.conformance.interfaces.plugin", "-p", "no:terminal", "-p", "no:cacheprovider"]
    arguments.append(f"--kterm-run={folder.path}")
    if request.workers:
        arguments += ["-p", "xdist", "-n", str(request.workers), "--max-worker-restart", "1000"]
    # FORCE_COLOR asks for colours in a pipe too, and not for every frame of the bar.
    is_shown = is_live(console)
    with make_progress(console, disable=not is_shown) as progress:
        watcher = _Watcher(progress, len(run.cases(run.chosen)))
        with nullcontext() if is_shown or console.quiet else show_lines(watcher.line):
            code = pytest.main(arguments, plugins=[watcher])
    for text in watcher.internal:
        for line in text.splitlines():
            print_aside(line)
    return watcher, int(code)


class _Watcher:
    """Shows how far the run is, and keeps what pytest reports of a crash, of a full disk and of an interrupt."""

    def __init__(self, progress: Progress, planned: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=planned)
        self._planned, self._started = planned, time.monotonic()
        self._done, self._kept, self._failed, self._adapter = 0, 0, 0, ""
        self._seen: set[str] = set()
        self.internal: list[str] = []
        self.trouble = ""
        self.is_interrupted = False

    def line(self) -> str:
        """How far the run is: the adapter that answered last, cases, rate, time left, and failures so far."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = (self._done - self._kept) / elapsed
        left = f", about {say_duration((self._planned - self._done) / rate)} left" if rate else ""
        failed = f", {self._failed:,} failed" if self._failed else ""
        name = f"{self._adapter}: " if self._adapter else ""
        return f"{name}{self._done:,} of {self._planned:,} cases, {rate:,.0f}/s{left}{failed}"

    def _count(self, counts: dict[str, Any], failure: object) -> None:
        """Count a group that ended, and print what it failed with if that is new."""
        self._done += counts["cases"]
        self._kept += counts["cases"] if counts.get("is_kept") else 0
        self._failed += counts["failed"]
        self._adapter = counts["adapter"]
        self._progress.update(self._task, completed=self._done, description=self.line())
        if isinstance(failure, str):
            first = failure.partition("\n")[0]
            # The check and the adapter: the numbers of cases differ from group to group.
            kind = re.sub(r" in [0-9,]+ cases?.*", "", first)
            if kind not in self._seen:
                self._seen.add(kind)
                self._print(f"found: {kind}")

    def _print(self, line: str) -> None:
        """A line above the progress bar, or on standard error where there is none; nothing where all is quiet."""
        if self._progress.console.quiet:
            return
        if self._progress.disable:
            print_aside(line)
        else:
            self._progress.console.print(line)

    def pytest_runtest_logreport(self, report: Any) -> None:
        counts = next((value for name, value in report.user_properties if name == COUNTS), None)
        if counts is not None and (report.when == "call" or report.failed):
            self._count(json.loads(counts), report.longrepr if report.failed else None)
        self.trouble = next((str(v) for name, v in report.user_properties if name == STOP), self.trouble)
        # Findings come as text and are in the record; anything else is a fault of the suite, or a worker that died.
        if report.failed and not isinstance(report.longrepr, str):
            self.internal.append(f"{report.nodeid}: {report.longrepr}")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest's own ways of stopping are subclasses.
        self.is_interrupted = excinfo.type is KeyboardInterrupt

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.internal.append(str(excrepr))
