"""The pytest plugin. In a run that names no adapter it only adds its options, and imports nothing that takes time.

pytest --pyargs kterm.conformance --kterm-adapter torch --kterm-adapter jax -n auto
"""

import argparse
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..records.folder import RunFolder
    from ..records.record import Record
    from ..records.run import Run, RunRequest, Worker

_SUITE = Path(__file__).resolve().with_name("suite.py")
_FOLDERS = (_SUITE.parent, _SUITE.parents[1])
_FOLDER = "kterm_folder"


@dataclass
class _Session:
    """One pytest session that checks adapters. `folder` is there in the process that began the run, and only there."""

    worker: "Worker"
    folder: "RunFolder | None" = None
    record: "Record | None" = None
    trouble: str = ""
    """Why the run had to stop, or why its record could not be written; one line."""
    is_stopped: bool = False


_SESSION: pytest.StashKey[_Session] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """All options begin with --kterm-."""
    group = parser.getgroup("kterm", "kterm: cross-check of backward passes")
    add = group.addoption
    add("--kterm-adapter", action="append", default=[], metavar="NAME", help="adapter to check; may be repeated")
    add("--kterm-profile", default="standard", metavar="NAME", help="smoke, quick, standard (default) or thorough")
    add("--kterm-seed", type=int, default=0, metavar="S", help="seed of structures and draws (default 0)")
    add("--kterm-dtype", action="append", default=[], metavar="NAME", help="only this dtype; may be repeated")
    add("--kterm-activation", action="append", default=[], metavar="NAME", help="only this activation; repeatable")
    add("--kterm-regime", action="append", default=[], metavar="NAME", help="only this regime; may be repeated")
    add("--kterm-level", default="componentwise", metavar="NAME", help="componentwise (default) or normwise")
    add("--kterm-report", default=None, metavar="FILE", help="write the record (JSON Lines) to this file")
    add("--kterm-expectations", default=None, metavar="FILE", help="known divergences (TOML) instead of the shipped")
    add("--kterm-device", default=None, metavar="NAME", help="device the adapters run on (default: theirs)")
    add("--kterm-timeout", type=float, default=None, metavar="S", help="seconds after which an adapter counts as hung")
    add("--kterm-python", default=None, metavar="PATH", help="Python interpreter that the adapters run under")
    add("--kterm-mutant", default=None, metavar="NAME", help="plant this known mistake in the adapters")
    add("--kterm-no-cache", action="store_true", help="use no compilation cache for JAX")
    # kterm check passes the folder of a run that it has described itself.
    add("--kterm-run", default=None, help=argparse.SUPPRESS)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Describe the run, in the process that begins it; in a worker, read the description."""
    config = session.config
    shared: str | None = getattr(config, "workerinput", {}).get(_FOLDER) or config.option.kterm_run
    if not config.option.kterm_adapter and not shared:
        return
    from ..runners.cache import turn_off_here
    from ..runners.threads import pin_here

    pin_here()
    if config.option.kterm_no_cache:
        turn_off_here()
    from ..records import run as runs
    from .suite import WORKER

    is_worker = hasattr(config, "workerinput")
    name = getattr(config, "workerinput", {}).get("workerid", f"p{os.getpid()}")
    if shared:
        path = Path(shared)
        state = _Session(runs.Worker(runs.load(path), path, name))
    else:
        run, folder = _begun(config)
        runs.save(run, folder.path)
        state = _Session(runs.Worker(run, folder.path, name), folder)
    config.stash[_SESSION], config.stash[WORKER] = state, state.worker
    if not is_worker:
        config.pluginmanager.register(_Stop(state), "kterm-stop")


def _begun(config: pytest.Config) -> "tuple[Run, RunFolder]":
    """The run that the options ask for, and its folder, which is removed at the end of the session, however it ends."""
    from ...adapters.registry import AdapterError
    from ..cases.plan import OptionError
    from ..expectations.expectation import ExpectationError
    from ..records.folder import RunFolder
    from ..records.run import prepare

    try:
        request = _request(config)
        folder = RunFolder(None if config.option.collectonly else request.report)
        config.add_cleanup(folder.close)
        return prepare(request), folder
    except (AdapterError, OptionError, ExpectationError) as error:
        raise pytest.UsageError(f"kterm: {error}") from None


def _request(config: pytest.Config) -> "RunRequest":
    from ..cases.plan import make_options
    from ..records.run import RunRequest
    from ..runners.process import TIMEOUT

    option = config.option
    return RunRequest(
        adapters=tuple(option.kterm_adapter),
        options=make_options(
            option.kterm_profile,
            option.kterm_seed,
            option.kterm_dtype,
            option.kterm_activation,
            option.kterm_level,
            option.kterm_regime,
        ),
        expectations=Path(option.kterm_expectations) if option.kterm_expectations else None,
        device=option.kterm_device,
        timeout=TIMEOUT if option.kterm_timeout is None else option.kterm_timeout,
        mutant=option.kterm_mutant,
        report=Path(option.kterm_report).absolute() if option.kterm_report else None,
        uses_cache=not option.kterm_no_cache,
        python=option.kterm_python,
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the folder of the run to a worker of pytest-xdist, and to one that replaces a crashed worker. A worker has
    the options of the command line only.
    """
    state = node.config.stash.get(_SESSION, None)
    if state is not None and state.folder is not None:
        node.workerinput[_FOLDER] = str(state.folder.path)


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The suite's own folders are no test packages: nothing in them is searched or imported by path."""
    if path.name not in ("conformance", "interfaces") or parent.config.stash.get(_SESSION, None) is None:
        return None
    if path.resolve() not in _FOLDERS:
        return None
    from .suite import SuiteFolder

    return SuiteFolder.from_parent(parent, path=path)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The suite, where its file is named."""
    if file_path.name != _SUITE.name or parent.config.stash.get(_SESSION, None) is None:
        return None
    if file_path.resolve() != _SUITE:
        return None
    from .suite import Suite

    return Suite.at(file_path, parent)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Record which groups were selected, by -k or a node id: the others are not accounted for."""
    state = session.config.stash.get(_SESSION, None)
    if state is None or session.config.pluginmanager.hasplugin("dsession"):
        return  # workers collect, and not the process that controls them
    from .suite import GroupItem

    state.worker.selected([item.number for item in session.items if isinstance(item, GroupItem)])


class _Stop:
    """Stops the whole run where its results cannot be written; registered where all reports arrive."""

    def __init__(self, state: _Session) -> None:
        self._state = state

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        why = next((value for name, value in report.user_properties if name == "kterm-stop"), None)
        if why is not None and not self._state.trouble:
            self._state.trouble = str(why)
            pytest.exit("kterm: the results cannot be written", returncode=2)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the host processes; in the process that began the run, assemble the record, and fail a run that does not
    conform.
    """
    config = session.config
    state = config.stash.get(_SESSION, None)
    if state is None:
        return
    state.worker.close()
    if state.folder is None or config.option.collectonly or session.exitstatus == pytest.ExitCode.USAGE_ERROR:
        return
    if state.trouble:
        if state.folder.report is not None:
            state.trouble += f"; the results so far are kept in {state.folder.keep()}"
        return
    from ..records.record import RecordError, read
    from ..records.run import conclude

    stopped = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    state.is_stopped = bool(session.shouldstop or session.shouldfail) or session.exitstatus in stopped
    try:
        with _uncaptured(config):
            path = conclude(state.worker.run, state.folder)
        state.record = read(path)
    except RecordError as error:
        state.trouble = str(error)
        session.exitstatus = 2
        return
    passing = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if session.exitstatus in passing and not state.record.conforms:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """/dev/stdout as a report is what the user sees, and not what pytest captures."""
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    return manager.global_and_fixture_disabled() if manager else nullcontext()


def pytest_report_header(config: pytest.Config) -> list[str] | None:
    """What is being checked, so that a typo shows, and which compilation cache is in use."""
    state = config.stash.get(_SESSION, None)
    if state is None:
        return None
    from ..records.report import title
    from ..runners.cache import cache_line

    line = cache_line(adapter.spec for adapter in state.worker.run.adapters)
    return [title(state.worker.run.header()), *([line] if line else [])]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The accounting, from the record."""
    state = config.stash.get(_SESSION, None)
    if state is None or (state.record is None and not state.trouble):
        return
    from ..records.report import cause_lines, summary_lines

    terminalreporter.section("kterm")
    if state.record is None:
        terminalreporter.write_line(f"kterm: {state.trouble}", red=True)
        return
    saved = state.folder and state.folder.report
    lines = cause_lines(state.record, saved, "--kterm-report")
    for line in [*lines, *summary_lines(state.record, saved, "--kterm-report", state.is_stopped)]:
        terminalreporter.write_line(line)
