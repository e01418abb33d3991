"""Starting an adapter's process in a group of its own, and ending it with all that it started.

This keeps a run tidy; it is no sandbox. An adapter that means harm runs with the rights of the user.
"""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "KTERM_HOST"
"""The environment variable that marks an adapter's process and all that it starts. On Linux, processes that left the
group are found by it.
"""

_ROUNDS = 5
_LAST_WAIT = 10.0  # seconds


def start(command: Sequence[str], environment: Mapping[str, str], mark: str) -> subprocess.Popen[bytes]:
    """Start a program with pipes, in a session or, on Windows, a process group of its own. Raises OSError."""
    windows = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, MARK: mark},
        bufsize=0,
        start_new_session=sys.platform != "win32",
        creationflags=windows,
    )


def new_mark() -> str:
    """A mark that no other process has."""
    return uuid.uuid4().hex


def end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End a process that `start` started, its group, and on Linux all else that it started. Its children are ended
    although it is gone itself.
    """
    if sys.platform == "win32":
        # A tree can be found only as long as its root is there.
        if process.poll() is None:
            tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # a process in a system call that cannot be interrupted
        process.wait(_LAST_WAIT)
    _end_marked(f"{MARK}={mark}".encode())


def _end_marked(entry: bytes) -> None:
    if sys.platform != "linux":
        return  # nothing says which processes have the mark
    # A process may start another while it is looked for.
    for _ in range(_ROUNDS):
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_marked(pid, entry)]
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _is_marked(pid: int, entry: bytes) -> bool:
    try:
        return entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def describe_end(code: int | None) -> str:
    """How a process ended, given its return code; None stands for one that runs on without its pipe."""
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-code}"
