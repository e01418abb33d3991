"""What `kterm check` does: a pytest run of the suite, hermetic against the folder it is called in, and a readable
report.
"""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...adapters.registry import is_installed
from ..cases.plan import OptionError, make_options
from ..records import run as runs
from ..records.record import read
from ..records.report import CheckTable, cause_lines, expected_lines, summary_lines, title
from ..runners.cache import cache_line, turn_off_here
from ..runners.process import TIMEOUT
from ..runners.threads import pin_here

_HERE = Path(__file__).resolve().parents[1] / "interfaces"
DEFAULT = ("torch", "jax")
_FALLBACK = ("numpy",)


def run_check(
    specs: Sequence[str],
    profile: str,
    seed: int,
    workers: str,
    dtypes: Sequence[str],
    activations: Sequence[str],
    report: Path | None,
    expectations: Path | None,
    device: str | None,
    timeout: float | None,
    mutant: str | None = None,
    no_cache: bool = False,
) -> int:
    """Check, print, and give the exit code: 0 conforms, 1 does not."""
    started = time.monotonic()
    pin_here()
    if no_cache:
        turn_off_here()
    options = make_options(profile, seed, dtypes, activations)
    specs = list(specs) or [name for name in DEFAULT if is_installed(name)] or list(_FALLBACK)
    run = runs.prepare(specs, options, expectations, device, timeout or TIMEOUT, mutant)
    console = Console(highlight=False, soft_wrap=True)
    console.print(title(run.header()), markup=False)
    if line := cache_line(specs):
        console.print(line, markup=False)
    report = report and report.absolute()
    try:
        folder = runs.new_folder(report)
    except OSError as error:
        raise OptionError(f"--report {report}: {error.strerror}; name a file that can be written") from None
    try:
        runs.save(run, folder)
        code = _pytest(run, folder, report, workers, console)
        record = read(report or folder / "record.jsonl", passes=False)
        console.print(CheckTable(record))
        console.print()
        for line in (*cause_lines(record), *expected_lines(record)):
            console.print(line, markup=False)
        for line in summary_lines(record):
            console.print(line, markup=False)
        console.print(f"{time.monotonic() - started:.1f} s; seed {seed}", markup=False)
    finally:
        if report is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if record.conforms and code == pytest.ExitCode.OK else 1


def _pytest(run: runs.Run, folder: Path, report: Path | None, workers: str, console: Console) -> int:
    """One pytest session over the suite, without the plugins, options and files of the folder it is called in."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    # Workers start as `python -c`, with the current directory at the head of their path: a logging.py there would hide
    # the standard library's.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = [
        str(_HERE),
        "-c",
        str(_HERE / "pytest.ini"),
        "--rootdir",
        str(_HERE),
        "--noconftest",
        "-p",
        "kterm.conformance.interfaces.plugin",
    ]
    arguments += ["-p", "no:terminal", "-p", "no:cacheprovider", f"--kterm-run={folder}"]
    arguments += [f"--kterm-report={report}"] if report else []
    if workers != "0":
        arguments += ["-p", "xdist", "-n", workers, "--max-worker-restart", "1000"]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        watcher = _Watcher(progress, len(run.groups))
        code = pytest.main(arguments, plugins=[watcher])
    for text in watcher.internal:
        print(text, file=sys.stderr)
    return int(code)


class _Watcher:
    """Moves the progress bar, and keeps what pytest itself has to say of a crash."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("structures", total=total)
        self.internal: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.failed:
            self._progress.advance(self._task)
        # Findings come as text and are in the record; anything else is a fault of the suite, or a worker that died.
        if report.failed and not isinstance(report.longrepr, str):
            self.internal.append(f"{report.nodeid}: {report.longrepr}")

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.internal.append(str(excrepr))
