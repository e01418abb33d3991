"""Running the kterm command in the process of the tests, where what it starts and imports is shared."""

import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from kterm.conformance.commands.cli import app

from .command import without_loading


def kterm_here(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The `kterm` command, called in `folder`. Give it `-n 0`, so that it starts no workers."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with restored_environment(), chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            app(list(arguments), prog_name="kterm")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(["kterm", *arguments], code, out.getvalue(), without_loading(err.getvalue()))


@contextmanager
def restored_environment() -> Iterator[None]:
    """Undo what the block does to the environment variables: commands pin the threads of their process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
