"""Running the kterm command and pytest as a user does, in a process of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# A process that starts in the background ignores interrupts, and so does what it starts, as these tests might.
_HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
_MAIN = f"{_HEED}; from kterm.conformance.commands.cli import main; main()"


def kterm(
    *arguments: str, folder: Path, timeout: float = 300, environment: Mapping[str, str] | None = None, first: str = ""
) -> subprocess.CompletedProcess[str]:
    """The `kterm` command, called in `folder`, with changes of the environment, and Python statements run `first`."""
    return _run([sys.executable, "-c", f"{first}\n{_MAIN}", *arguments], folder, timeout, environment)


def pytest_run(
    *arguments: str, folder: Path, timeout: float = 300, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """pytest, called in `folder`, with changes of the environment."""
    return _run([sys.executable, "-m", "pytest", *arguments], folder, timeout, environment)


def _run(
    command: list[str], folder: Path, timeout: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    done.stderr = without_loading(done.stderr)
    return done


def without_loading(errors: str) -> str:
    """What a command wrote to standard error, without the line that says at once what is loaded: tests of mistakes
    look at what comes after it.
    """
    first, _, rest = errors.partition("\n")
    return rest if first.startswith("loading ") and first.endswith(" ...") else errors


def start_kterm(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """The `kterm` command in a process group of its own, not waited for."""
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def interrupt(run: subprocess.Popen[str]) -> None:
    """What Ctrl-C at a terminal does: SIGINT for every process of the group."""
    os.killpg(run.pid, signal.SIGINT)


def group_is_gone(run: subprocess.Popen[str], within: float = 20) -> bool:
    """Whether no process of the group of `run` is left after so many seconds at most."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """That a command ended with this exit code and said one line, with these words in it."""
    said = done.stdout + without_loading(done.stderr)
    assert done.returncode == code, said
    assert words in said
    assert len(said.strip().splitlines()) == 1, said
