"""What `kterm campaign` does: run as many cases as wanted over seeds and workers, and say what they show together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from pathlib import Path

from rich.progress import Progress

from ...cases.plan import OptionError
from ...evaluation.campaign.drive import Goal, drive, due
from ...evaluation.campaign.line import decode
from ...evaluation.campaign.outcome import Conclusion, conclude, summary_lines, to_json, verdict_lines
from ...evaluation.campaign.store import Store
from ...evaluation.campaign.units import SECOND, UNIT_COST, Unit, make_units
from ...records import run as runs
from ...records.form.console import TextConsole
from ...records.form.text import print_aside
from ...records.report import title
from ...records.run import RunRequest
from ...runners.cache import turn_off_here
from ...runners.threads import pin_here
from ..exit_codes import CONFORMS, DOES_NOT, INTERRUPTED
from ..output import is_live, make_progress, say_duration, say_interrupted, show_lines
from .termination import end_on_termination
from .views.detail import Detail

MISSING = "dask.distributed is not installed; pip install 'kterm[dask]'"


@dataclass(frozen=True)
class CampaignOptions:
    """The options of `kterm campaign`: what to check, how much of it, and where.

    It ends after `cases` cases of all adapters together or after so many `hours`, whichever is first. `scheduler` is
    the address of an existing scheduler; without one, `request.workers` processes of this machine do the work. A unit
    takes about `unit_seconds`.
    """

    request: RunRequest
    folder: Path
    cases: int | None = None
    hours: float | None = None
    scheduler: str | None = None
    unit_seconds: float = UNIT_COST / SECOND
    detail: Detail = "normal"

    @property
    def unit_cost(self) -> float:
        """The estimated cost of a unit."""
        return self.unit_seconds * SECOND


def run_campaign(options: CampaignOptions) -> int:
    """Run, print, and give the exit code: 0 if all adapters pass, 1 if not, 130 where the user interrupted it,
    143 where SIGTERM did.

    Raises AdapterError, OptionError and ExpectationError before any work, and RecordError where a result cannot be
    written down.
    """
    if options.cases is None and options.hours is None:
        raise OptionError("say how much to run: --cases N, --hours H or both")
    if options.cases is not None and options.cases < 1:
        raise OptionError(f"--cases {options.cases}: give at least 1")
    if options.hours is not None and not 0 < options.hours < 1e6:
        raise OptionError(f"--hours {options.hours:g}: give a positive number of hours")
    if not 0 < options.unit_seconds < 1e6:
        raise OptionError(f"--unit-seconds {options.unit_seconds:g}: give a positive number of seconds")
    _require_dask()
    return end_on_termination(lambda: _run_campaign(options))


def _run_campaign(options: CampaignOptions) -> int:
    started = time.monotonic()
    pin_here()
    if not options.request.uses_cache:
        turn_off_here()
    console = TextConsole(quiet=options.detail == "quiet")
    with Store(options.folder) as store:
        run = runs.prepare(options.request)
        store.begin(run, options.unit_cost)
        console.print(title(run.header()))
        is_interrupted = False
        try:
            _work(options, run, store, started, console)
        except KeyboardInterrupt:
            is_interrupted = True
            store.reread()
        found = conclude(run, store, options.unit_cost)
        path = store.write_summary(to_json(found))
        _print(found, options, console)
        seconds = time.monotonic() - started
        console.print(f"{path}; {store.size:,} bytes for {found.cases:,} cases; {seconds:.1f} s")
        if is_interrupted:
            say_interrupted(console, f"; {options.folder} keeps what was done, and the same command goes on")
            return INTERRUPTED
    return CONFORMS if found.conforms else DOES_NOT


def _require_dask() -> None:
    try:
        import_module("distributed")
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise OptionError(MISSING) from None


def _work(options: CampaignOptions, run: runs.Run, store: Store, started: float, console: TextConsole) -> None:
    until = None if options.hours is None else started + 3600 * options.hours
    goal = Goal(options.cases, until)
    watcher = _Watcher(options, run, store)
    if all(unit.number in store.done for unit in _due(options, run)):
        return
    from ...evaluation.campaign.cluster import open_pool

    with watcher.shown(console), open_pool(run, options.request.workers, options.scheduler) as pool:
        drive(pool, make_units(run, options.unit_cost), goal, store, watcher.count)


def _due(options: CampaignOptions, run: runs.Run) -> Iterator[Unit]:
    return due(make_units(run, options.unit_cost), options.cases)


class _Watcher:
    """Shows how far a campaign is, and each new kind of failure."""

    def __init__(self, options: CampaignOptions, run: runs.Run, store: Store) -> None:
        self._wanted, self._started = options.cases, time.monotonic()
        last = max(store.done, default=-1)
        earlier = takewhile(lambda unit: unit.number <= last, _due(options, run))
        self._before = self._done = sum(unit.cases for unit in earlier if unit.number in store.done)
        self._failed, self._is_quiet = 0, options.detail == "quiet"
        self._seen: set[str] = set()
        self._progress: Progress | None = None

    def line(self) -> str:
        """Cases done and wanted, the rate, the time left, and failures so far."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = (self._done - self._before) / elapsed
        wanted = "" if self._wanted is None else f" of {self._wanted:,}"
        left = f", about {say_duration(max(self._wanted - self._done, 0) / rate)} left" if self._wanted and rate else ""
        failed = f", {self._failed:,} failed" if self._failed else ""
        return f"{self._done:,}{wanted} cases, {rate:,.0f}/s{left}{failed}"

    def count(self, unit: Unit, text: bytes) -> None:
        """Count a unit that ended."""
        self._done += unit.cases
        line = decode(text)
        self._failed += len({verdict.case for verdict in line.verdicts})
        for verdict in line.verdicts:
            kind = f"{unit.adapter}: {verdict.check} {verdict.grade}"
            if kind not in self._seen:
                self._seen.add(kind)
                self._say(f"found: {kind}, {verdict.case}")
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, description=self.line())

    def _say(self, line: str) -> None:
        if self._progress is not None:
            self._progress.console.print(line)
        elif not self._is_quiet:
            print_aside(line)

    @contextmanager
    def shown(self, console: TextConsole) -> Iterator[None]:
        """Show a bar at a terminal, and otherwise a line every 30 seconds, while the block runs."""
        if console.quiet or not is_live(console):
            with nullcontext() if console.quiet else show_lines(self.line):
                yield
            return
        with make_progress(console) as progress:
            self._task = progress.add_task("starting workers ...", total=self._wanted)
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None


def _print(found: Conclusion, options: CampaignOptions, console: TextConsole) -> None:
    for line, passes in verdict_lines(found):
        TextConsole().print(line, style="bold green" if passes else "bold red")
    if options.cases is not None and found.cases < options.cases:
        console.print(f"{found.cases:,} of {options.cases:,} cases were run")
    console.print()
    for line in summary_lines(found):
        console.print(line)
