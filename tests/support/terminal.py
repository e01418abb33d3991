"""Running a command on a pseudo-terminal, as a person does."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")


@dataclass(frozen=True)
class Shown:
    """What came to a terminal, and the exit code of the command."""

    raw: str
    code: int

    @property
    def lines(self) -> list[str]:
        """The lines without colours and moves of the cursor, and without what was overwritten."""
        return [_CONTROL.sub("", line).rsplit("\r", 1)[-1].rstrip() for line in self.raw.split("\r\n")]


def on_terminal(
    *arguments: str,
    folder: Path,
    columns: int,
    environment: Mapping[str, str] | None = None,
    interrupt_at: str = "",
    script: str = "from kterm.conformance.commands.cli import main; main()",
) -> Shown:
    """The `kterm` command, or another script, on a terminal with so many columns. Ctrl-C is pressed once `interrupt_at`
    was printed.
    """
    main, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    run = subprocess.Popen(
        [sys.executable, "-c", _START + script, *arguments],
        cwd=folder,
        env={**kept, "TERM": "xterm-256color", **(environment or {})},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    raw, is_pressed = bytearray(), False
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        raw += part
        if interrupt_at and not is_pressed and interrupt_at.encode() in raw:
            is_pressed = True
            os.write(main, b"\x03")
    os.close(main)
    return Shown(raw.decode(errors="replace"), run.wait(timeout=60))


# The terminal becomes the controlling one of the session, so that Ctrl-C reaches every process.
_START = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
