"""Running the kterm command and pytest as a user does, in a process of their own."""

import subprocess
import sys
from pathlib import Path

_MAIN = "from kterm.conformance.commands.cli import main; main()"


def kterm(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The `kterm` command, called in `folder`."""
    return _run([sys.executable, "-c", _MAIN, *arguments], folder, timeout)


def pytest_run(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """pytest, called in `folder`."""
    return _run([sys.executable, "-m", "pytest", *arguments], folder, timeout)


def _run(command: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """That a command ended with this exit code and said one line, with these words in it."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert words in said
    assert len(said.strip().splitlines()) == 1, said
