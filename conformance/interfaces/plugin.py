"""The pytest plugin. In a run that names no adapter it adds its options and does nothing else, importing nothing of
weight.

pytest --pyargs kterm.conformance --kterm-adapter torch --kterm-adapter jax -n auto
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..records.run import Worker

_HERE = Path(__file__).resolve().parent
_CONFORMANCE = _HERE.parent
_WORKER: pytest.StashKey["Worker"] = pytest.StashKey()
_REPORT: pytest.StashKey[Path] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """All options begin with --kterm-."""
    group = parser.getgroup("kterm", "kterm: cross-check of backward passes")
    add = group.addoption
    add("--kterm-adapter", action="append", default=[], metavar="NAME", help="adapter to check; may be repeated")
    add("--kterm-profile", default="standard", metavar="NAME", help="quick, standard (default) or thorough")
    add("--kterm-seed", type=int, default=0, metavar="S", help="seed of structures and draws (default 0)")
    add("--kterm-dtype", action="append", default=[], metavar="NAME", help="keep to this dtype; may be repeated")
    add("--kterm-activation", action="append", default=[], metavar="NAME", help="keep to this activation; repeatable")
    add("--kterm-report", default=None, metavar="FILE", help="write the record (JSON Lines) here")
    add("--kterm-expectations", default=None, metavar="FILE", help="known divergences (TOML) in place of the shipped")
    add("--kterm-device", default=None, metavar="NAME", help="device the adapters run on (default: theirs)")
    add("--kterm-timeout", type=float, default=None, metavar="S", help="seconds after which an adapter counts as hung")
    add("--kterm-mutant", default=None, metavar="NAME", help="have the adapters make this known mistake")
    add("--kterm-no-cache", action="store_true", help="use no compilation cache for JAX")
    add("--kterm-run", default=None, metavar="FOLDER", help="a run that is already described; used by kterm check")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the run, in the controlling process; in a worker, read what it described."""
    if not config.option.kterm_adapter and not config.option.kterm_run:
        return
    from ..runners.cache import turn_off_here
    from ..runners.threads import pin_here

    pin_here()
    if config.option.kterm_no_cache:
        turn_off_here()
    from ..records import run as runs

    if config.option.kterm_run is None:
        report = config.option.kterm_report and Path(config.option.kterm_report).absolute()
        run = _described(config)
        try:
            folder = runs.new_folder(report)
        except OSError as error:
            raise pytest.UsageError(f"kterm: {report}: {error.strerror}; name a file that can be written") from None
        runs.save(run, folder)
        # Workers are given the controller's options, and with them the folder.
        config.option.kterm_run = str(folder)
    folder = Path(config.option.kterm_run)
    worker = runs.Worker(
        runs.load(folder), folder, getattr(config, "workerinput", {}).get("workerid", f"p{os.getpid()}")
    )
    config.stash[_WORKER] = worker


def _described(config: pytest.Config) -> Any:
    from ...adapters.registry import AdapterError
    from ..cases.plan import OptionError, make_options
    from ..expectations.expectation import ExpectationError
    from ..records.run import prepare
    from ..runners.process import TIMEOUT

    option = config.option
    expectations = option.kterm_expectations and Path(option.kterm_expectations)
    try:
        options = make_options(option.kterm_profile, option.kterm_seed, option.kterm_dtype, option.kterm_activation)
        timeout = option.kterm_timeout or TIMEOUT
        adapters, device = option.kterm_adapter, option.kterm_device
        return prepare(adapters, options, expectations, device, timeout, option.kterm_mutant)
    except (AdapterError, OptionError, ExpectationError) as error:
        raise pytest.UsageError(f"kterm: {error}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The suite's own folder is no test package: nothing in it is imported by path."""
    if parent.config.stash.get(_WORKER, None) is not None and path.resolve() in (_CONFORMANCE, _HERE):
        return pytest.Dir.from_parent(parent, path=path)
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The suite's items, in place of Python test functions."""
    worker = parent.config.stash.get(_WORKER, None)
    if worker is None or file_path.resolve() != _HERE / "suite.py":
        return None
    from .suite import Suite

    suite = Suite.from_parent(parent, path=file_path)
    suite.worker = worker
    return suite


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which groups were selected, by -k or a node id: what the accounting is held to."""
    worker = session.config.stash.get(_WORKER, None)
    if worker is None or _controls_workers(session.config):
        return
    from .suite import GroupItem

    worker.selected([item.number for item in session.items if isinstance(item, GroupItem)])


def _controls_workers(config: pytest.Config) -> bool:
    return bool(config.getoption("tx", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the hosts; in the controlling process assemble the record, and fail the run where it does not conform."""
    config = session.config
    worker = config.stash.get(_WORKER, None)
    if worker is None:
        return
    worker.close()
    if hasattr(config, "workerinput"):
        return
    from ..records.record import read
    from ..records.run import conclude

    report = config.option.kterm_report and Path(config.option.kterm_report).absolute()
    path = conclude(worker.run, Path(config.option.kterm_run), report)
    config.stash[_REPORT] = path
    if (
        session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        and not read(path, passes=False).conforms
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_report_header(config: pytest.Config) -> list[str] | None:
    """What is being checked, so that a typo shows, and which compilation cache is in use."""
    worker = config.stash.get(_WORKER, None)
    if worker is None:
        return None
    from ..records.report import title
    from ..runners.cache import cache_line

    line = cache_line(adapter.spec for adapter in worker.run.adapters)
    return [title(worker.run.header()), *([line] if line else [])]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The accounting, from the record."""
    path = config.stash.get(_REPORT, None)
    if path is None:
        return
    from ..records.record import read
    from ..records.report import summary_lines

    terminalreporter.section("kterm")
    for line in summary_lines(read(path, passes=False)):
        terminalreporter.write_line(line)
