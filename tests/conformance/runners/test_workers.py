"""The value of `-n`, the default adapters, and waiting for worker processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from kterm.adapters.registry import AdapterError
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.runners import workers
from kterm.conformance.runners.runner import NoAnswer


def test_a_number_of_workers_is_read() -> None:
    assert [workers.parse_workers(text) for text in ("0", "1", "12")] == [0, 1, 12]
    assert workers.parse_workers("auto") == workers.core_count() >= 1


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5", "²", "٣", " 2", "2e3", "1025", "9" * 5000])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OptionError, match=r"-n .*: give .* workers") as caught:
        workers.parse_workers(text)
    assert "\n" not in str(caught.value)


def test_the_default_adapters_are_those_installed_and_never_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "is_installed", lambda name: name in ("jax", "numpy"))
    assert workers.choose_adapters(()) == ("jax",)
    assert workers.choose_adapters(("numpy", "torch", "numpy")) == ("numpy", "torch")
    monkeypatch.setattr(workers, "is_installed", lambda name: name == "numpy")
    with pytest.raises(AdapterError, match=r"pip install 'kterm\[torch\]' or pip install 'kterm\[jax\]'"):
        workers.choose_adapters(())


def test_waiting_raises_what_a_task_raised_and_counts_those_that_ended() -> None:
    ended: list[int] = []
    with workers.make_executor(0) as executor:
        workers.wait_for([executor.submit(int, "1"), executor.submit(int, "2")], lambda: ended.append(1))
        assert len(ended) == 2
        bad: Future[int] = executor.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            workers.wait_for([bad], poll=lambda: None)


def test_a_worker_process_that_ends_is_no_answer() -> None:
    with workers.make_executor(1) as executor, pytest.raises(NoAnswer, match="a worker process ended"):
        workers.wait_for([executor.submit(os._exit, 3)])


_QUEUED = """
import fcntl, signal, time
from kterm.conformance.runners.workers import open_executor, wait_for
def work(number):
    file = open(f"task-{number}", "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", file=file, flush=True)
    time.sleep(300)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where these tests run in the background, it is ignored
    with open_executor(1) as executor:
        wait_for([executor.submit(work, number) for number in range(4)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor these locks")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_worker_processes_end_with_the_process_that_started_them(name: str, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "queued.py").write_text(_QUEUED, encoding="utf-8")
    task = tmp_path / "task-0"
    with subprocess.Popen([sys.executable, "queued.py"], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        _wait_until(lambda: task.exists() and task.read_text(encoding="utf-8") == "locked\n")
        process.send_signal(signal.Signals[name])
        try:
            assert process.wait(60) == -signal.Signals[name]
        finally:
            process.kill()

    def is_unlocked() -> bool:
        with task.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    _wait_until(is_unlocked)
    assert not (tmp_path / "task-1").exists()


def _wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
