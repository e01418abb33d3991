"""A run that was killed goes on, and its record is that of an undisturbed one, byte for byte."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kterm.conformance.records.folder import left_folders
from kterm.conformance.records.record import read

from ...support.command import assert_one_line, group_is_gone, interrupt, kterm, start_kterm
from ...support.here import kterm_here

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes are killed by their group")
# A mutant, so that causes have to be found from what was kept before the kill.
ASKED = ("numpy", "--profile", "smoke", "--mutant", "no-slope-last")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = kterm("check", *ASKED, "-n", "0", "-o", "run.jsonl", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return (folder / "run.jsonl").read_bytes()


def _begin(folder: Path, parts: int, workers: str) -> subprocess.Popen[str]:
    """A run that has written this many parts, or has ended."""
    run = start_kterm("check", *ASKED, "-n", workers, "-o", "run.jsonl", folder=folder)
    while run.poll() is None and len(list(folder.glob(".run.jsonl.*.parts/[0-9]*.jsonl"))) < parts:
        time.sleep(0.01)
    return run


@pytest.mark.parametrize(
    ("parts", "workers", "then"),
    [
        (9, "2", "0"),
        pytest.param(1, "0", "0", marks=pytest.mark.heavy),
        pytest.param(15, "0", "2", marks=pytest.mark.heavy),
    ],
)
def test_a_run_that_is_killed_goes_on(parts: int, workers: str, then: str, undisturbed: bytes, tmp_path: Path) -> None:
    run = _begin(tmp_path, parts, workers)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (tmp_path / "run.jsonl").exists()
    done = kterm("check", "--resume", "run.jsonl", "-n", then, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "equals the rule with no f' at the output layer" in done.stdout
    assert (tmp_path / "run.jsonl").read_bytes() == undisturbed
    assert not left_folders(tmp_path / "run.jsonl")


def test_a_run_that_is_interrupted_says_how_to_go_on(undisturbed: bytes, tmp_path: Path) -> None:
    run = _begin(tmp_path, 5, "0")
    interrupt(run)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 130
    report = tmp_path / "run.jsonl"
    assert f"interrupted; what was checked until then is in {report}; kterm check --resume {report} goes on" in said
    assert kterm("check", "--resume", str(report), "-n", "0", folder=tmp_path).returncode == 1
    assert report.read_bytes() == undisturbed


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.heavy), "2"])
def test_a_run_that_is_terminated_keeps_what_there_is(workers: str, undisturbed: bytes, tmp_path: Path) -> None:
    run = _begin(tmp_path, 5, workers)
    os.kill(run.pid, signal.SIGTERM)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 143, said
    assert group_is_gone(run)
    report = tmp_path / "run.jsonl"
    assert sum(map(len, read(report).verdicts.values())) > 0
    assert kterm("check", "--resume", str(report), "-n", "0", folder=tmp_path).returncode == 1
    assert report.read_bytes() == undisturbed


def test_what_was_checked_is_not_checked_again(tmp_path: Path) -> None:
    run = _begin(tmp_path, 9, "0")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    (folder,) = left_folders(tmp_path / "run.jsonl")
    before = {part.name: part.stat().st_mtime_ns for part in folder.glob("[0-9]*.jsonl")}
    again = _begin_again(tmp_path, len(before) + 3)
    os.killpg(again.pid, signal.SIGKILL)
    again.communicate()
    after = {part.name: part.stat().st_mtime_ns for part in folder.glob("[0-9]*.jsonl")}
    assert before.items() <= after.items()
    assert len(after) > len(before)


def _begin_again(folder: Path, parts: int) -> subprocess.Popen[str]:
    run = start_kterm("check", "--resume", "run.jsonl", "-n", "0", folder=folder)
    while run.poll() is None and len(list(folder.glob(".run.jsonl.*.parts/[0-9]*.jsonl"))) < parts:
        time.sleep(0.01)
    return run


def test_without_an_interrupted_run_one_line_says_so(tmp_path: Path) -> None:
    done = kterm_here("check", "--resume", "run.jsonl", folder=tmp_path)
    assert_one_line(done, 2, "there is no interrupted run to go on with")
    done = kterm_here("check", "torch", "--resume", "run.jsonl", folder=tmp_path)
    assert_one_line(done, 2, "name its record alone")


def test_another_version_of_anything_is_refused(tmp_path: Path) -> None:
    run = _begin(tmp_path, 1, "0")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    (folder,) = left_folders(tmp_path / "run.jsonl")
    data = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    data["adapters"][0]["version"] = "1.0"
    data["place"]["kterm"] = "0.0.1"
    (folder / "run.json").write_text(json.dumps(data), encoding="utf-8")
    done = kterm_here("check", "--resume", "run.jsonl", folder=tmp_path)
    assert_one_line(done, 2, "kterm was 0.0.1, and is ")
    assert "numpy is declared otherwise; begin a new one" in done.stderr
    assert left_folders(tmp_path / "run.jsonl")


def test_a_new_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    run = _begin(tmp_path, 1, "0")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert left_folders(tmp_path / "run.jsonl")
    done = kterm_here("check", "numpy", "--profile", "smoke", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    assert done.returncode == 0
    assert not left_folders(tmp_path / "run.jsonl")


@pytest.mark.parametrize(
    "text", ["", '{"adapters": ', "[]", '{"place": {}}', '{"place": {"kterm": "1"}, "adapters": 3}']
)
def test_a_damaged_description_is_one_line_and_nothing_is_removed(text: str, tmp_path: Path) -> None:
    folder = tmp_path / ".run.jsonl.abc.parts"
    folder.mkdir()
    (folder / "run.json").write_text(text, encoding="utf-8")
    done = kterm_here("check", "--resume", "run.jsonl", folder=tmp_path)
    assert_one_line(done, 2, "the interrupted run cannot go on: its description in ")
    assert folder.exists()


def test_a_run_that_is_terminated_while_it_loads_ends_so(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    run = start_kterm("check", "slow.py:Slow", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    while run.poll() is None and not list(tmp_path.glob(".run.jsonl.*.parts")):
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGTERM)
    said, errors = run.communicate(timeout=60)
    assert (run.returncode, said) == (143, "")
    assert errors.splitlines()[-1] == "kterm: terminated"
    assert len(errors.splitlines()) <= 2  # behind what is loaded
    assert group_is_gone(run)
    assert not list(tmp_path.glob(".run.jsonl.*.parts"))


def test_a_folder_without_a_description_holds_nothing_and_is_removed(tmp_path: Path) -> None:
    """A run may be killed before it is described."""
    folder = tmp_path / ".run.jsonl.abc.parts"
    folder.mkdir()
    assert_one_line(kterm_here("check", "--resume", "run.jsonl", folder=tmp_path), 2, "there is no interrupted run")
    done = kterm_here("check", "numpy", "--profile", "smoke", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    assert done.returncode == 0
    assert not folder.exists()
