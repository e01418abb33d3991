"""Running the kterm command and pytest as a user does, in a process of their own."""

import subprocess
import sys
from pathlib import Path

_MAIN = "from kterm.conformance.cli import main; main()"


def kterm(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The `kterm` command, called in `folder`."""
    return _run([sys.executable, "-c", _MAIN, *arguments], folder, timeout)


def pytest_run(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """pytest, called in `folder`."""
    return _run([sys.executable, "-m", "pytest", *arguments], folder, timeout)


def _run(command: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
