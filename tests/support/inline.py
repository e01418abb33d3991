"""Running the kterm command in this process, which takes a fraction of a second less than starting one."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

from kterm.conformance.commands.cli import main


def kterm_inline(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The `kterm` command, called in `folder`: its exit code and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["kterm", *arguments]),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return subprocess.CompletedProcess(["kterm", *arguments], code, out.getvalue(), err.getvalue())
