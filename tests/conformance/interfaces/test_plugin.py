"""The pytest plugin: the same plan and the same verdicts with any number of workers, and no silence when one dies."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kterm.conformance.records.record import read

from ...support import miniatures
from ...support.command import pytest_run

MINIATURES = Path(miniatures.__file__)
SUITE = ("--pyargs", "kterm.conformance", "-p", "no:cacheprovider", "-q")


def _suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return pytest_run(*SUITE, *arguments, folder=folder)


def test_the_same_plan_and_the_same_bits_with_any_number_of_workers(tmp_path: Path) -> None:
    records = []
    for workers in ("0", "1", "2"):
        report = tmp_path / f"record-{workers}.jsonl"
        done = _suite(
            tmp_path, "--kterm-adapter", "numpy", "--kterm-adapter", f"{MINIATURES}:Silent", "--kterm-profile", "quick",
            "--kterm-dtype", "f32", "--kterm-report", str(report), "-n", workers,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "conforms" in done.stdout
        records.append(report.read_bytes())
    assert records[0] == records[1] == records[2]
    assert len(list(tmp_path.iterdir())) == len(records)  # nothing but the records is left behind


def test_a_killed_worker_is_not_passed_over(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    run = subprocess.Popen(
        [
            sys.executable, "-m", "pytest", *SUITE, "--kterm-adapter", "numpy", "--kterm-profile", "standard",
            "--kterm-dtype", "f64", "--kterm-report", str(report), "-n", "2", "--max-worker-restart", "0",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    parts = report.with_name("record.jsonl.parts")
    end = time.monotonic() + 120
    while len(list(parts.glob("[0-9]*.jsonl"))) < 5:
        assert run.poll() is None, "the run ended before a worker could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(_worker_of(run.pid), signal.SIGKILL)
    said, _ = run.communicate(timeout=300)
    assert run.returncode != 0, said
    record = read(report)
    unanswered = [case for _, case in record.footer["unanswered"]]
    assert unanswered
    assert f"not answered for: {unanswered[0]} on numpy" in said
    assert "does not conform" in said
    assert len(record.verdicts) + len(unanswered) == record.footer["accounting"]["planned"]


def _worker_of(pid: int) -> int:
    """A process that xdist started: a child of the run that is not an adapter's host."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
            words = entry.with_name("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[1]) == pid and not any(b"kterm.conformance.runners.host" in word for word in words):
            return int(entry.parent.name)
    raise AssertionError("no worker was found")


if not Path("/proc/self/stat").exists():
    # Finding another process's children needs /proc.
    test_a_killed_worker_is_not_passed_over = pytest.mark.skip("needs /proc")(test_a_killed_worker_is_not_passed_over)


def test_only_what_is_selected_is_accounted_for(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    done = _suite(
        tmp_path, "--kterm-adapter", "numpy", "--kterm-profile", "quick", "-k", "degenerate and f32", "--kterm-report",
        str(report), "-n", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = read(report)
    assert record.verdicts
    assert all("-f32-degenerate-" in case for _, case in record.verdicts)


def test_a_run_that_checks_nothing_fails(tmp_path: Path) -> None:
    done = _suite(tmp_path, "--kterm-adapter", "numpy", "--kterm-dtype", "bf16", "-n", "0")
    assert done.returncode != 0
    assert "nothing was checked" in done.stdout


def test_a_failure_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = _suite(
        tmp_path, "--kterm-adapter", f"{MINIATURES}:WeightDecay", "--kterm-profile", "quick", "--kterm-dtype", "f64",
        "-k", "square", "-n", "0",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"\.py:\d+", done.stdout)
    assert re.search(
        r"dE/dW_\d+\[\d+, \d+\] \(\w+\): the framework gives \S+, the rule \S+; \S+ σ, \S+ times the tolerance",
        done.stdout,
    )
    assert re.search(rf"kterm replay \S+ {re.escape(str(MINIATURES))}:WeightDecay", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kterm-adapter", "tensorflop"), "tensorflop"),
        (("--kterm-adapter", "numpy", "--kterm-profile", "quik"), "did you mean quick?"),
        (("--kterm-adapter", "numpy", "--kterm-expectations", "none.toml"), "none.toml"),
    ],
)
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = _suite(tmp_path, *arguments, "-n", "0")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_without_an_adapter_the_plugin_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import sys\n"
        "def test_one():\n"
        "    assert 'kterm.conformance.interfaces.plugin' in sys.modules\n"
        "    heavy = {'numpy', 'scipy', 'torch', 'jax', 'rich', 'typer', 'kterm.reference'}\n"
        "    heavy.add('kterm.conformance.records.run')\n"
        "    assert not heavy & set(sys.modules)\n",
        encoding="utf-8",
    )
    done = pytest_run("-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "kterm" not in done.stdout


def test_the_plugin_costs_next_to_nothing_without_an_adapter(tmp_path: Path) -> None:
    """Counted in imported modules, not in seconds: its own two, and nothing else that pytest has not imported
    already.
    """
    script = (
        "import sys, pytest, _pytest.config\n"
        "before = set(sys.modules)\n"
        "import kterm.conformance.interfaces.plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('__editable__')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['kterm', 'kterm.conformance', 'kterm.conformance.interfaces.plugin']"
