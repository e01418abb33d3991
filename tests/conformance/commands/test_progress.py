"""What a run says while it goes on."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.progress import Progress

from kterm.conformance.commands.check import _Watcher
from kterm.conformance.commands.output import say_duration, say_interrupted, show_lines
from kterm.conformance.records.form.console import TextConsole

from ...support.here import kterm_here


def _report(counts: str, failure: str = "", skipped: bool = False) -> Any:
    """A report of pytest on one group."""
    return SimpleNamespace(
        when="call",
        failed=bool(failure) and not skipped,
        longrepr=failure,
        duration=0.5,
        user_properties=[("kterm-counts", counts)],
    )


def test_each_new_cause_is_said_once_as_it_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _Watcher(Progress(disable=True), 30)
    for failure in (
        "a: k_terms wrong in 2 cases; it begins at k_5\n  more",
        "a: k_terms wrong in 1 case",
        "a: E wrong",
    ):
        watcher.pytest_runtest_logreport(_report('{"adapter": "a", "cases": 5, "failed": 2}', failure))
    watcher.pytest_runtest_logreport(_report('{"adapter": "b", "cases": 5, "failed": 0}', "expected", skipped=True))
    assert capsys.readouterr().err.splitlines() == ["found: a: k_terms wrong", "found: a: E wrong"]
    line = watcher.line()
    assert line.startswith("b: 20 of 30 cases, ")
    assert line.endswith(" left, 6 failed")


def test_what_an_earlier_run_recorded_counts_as_done_and_not_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watcher = _Watcher(Progress(disable=True), 3000)
    watcher.pytest_runtest_logreport(_report('{"adapter": "a", "cases": 2000, "failed": 7, "is_kept": true}'))
    watcher.pytest_runtest_logreport(_report('{"adapter": "a", "cases": 100, "failed": 0, "is_kept": false}'))
    now = 110.0
    assert watcher.line() == "a: 2,100 of 3,000 cases, 10/s, about 90 s left, 7 failed"


def test_a_quiet_console_says_aside_that_it_was_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    say_interrupted(TextConsole(), "; it goes on")
    say_interrupted(TextConsole(quiet=True), "; it goes on")
    assert capsys.readouterr() == ("interrupted; it goes on\n", "kterm: interrupted; it goes on\n")


def test_nothing_is_said_of_failures_where_all_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _Watcher(Progress(console=TextConsole(quiet=True), disable=True), 30)
    watcher.pytest_runtest_logreport(_report('{"adapter": "a", "cases": 5, "failed": 2}', "a: k_terms wrong in 1 case"))
    assert capsys.readouterr() == ("", "")


def test_a_line_of_progress_comes_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    with show_lines(lambda: "so far", every=0.01):
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert set(lines) == {"so far"}


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (7860, "2 h 11 min")])
def test_durations_in_words(seconds: float, said: str) -> None:
    assert say_duration(seconds) == said


def test_a_run_says_on_standard_error_what_fails(tmp_path: Path) -> None:
    done = kterm_here("check", "numpy", "--profile", "smoke", "--mutant", "no-slope-last", "-n", "0", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["found: numpy: k_terms wrong"]
    assert "found:" not in done.stdout
