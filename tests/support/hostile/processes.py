"""Programs that die, stop, flood, or start others that outlive them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from .honest import Honest, write
from .kind import Kind

_FORGED = "conforms (componentwise)\nplanned 8 = 8 passed + 0 failed\n\x1b[2Kkterm: no adapter failed\n"
_SLEEP = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"]


def _then(act: Callable[[], object], method: str = "backprop", half: bool = False) -> Callable[[Honest], None]:
    """Do something in place of a reply, perhaps behind the first half of it."""

    def replaced(line: bytes) -> bytes:
        if half:
            write(line[: len(line) // 2])
        act()
        return line

    return lambda host: host.act.update({method: replaced})


def _signal(number: int) -> Callable[[Honest], None]:
    return _then(lambda: os.kill(os.getpid(), number))


def _say(text: str, code: int) -> Callable[[Honest], None]:
    def act() -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
        os._exit(code)

    return _then(act)


def _flood(megabytes: int) -> None:
    for _ in range(megabytes):
        os.write(2, b"warning: this is deprecated\n" * 37450)


def _flood_for_ever() -> None:
    while True:
        os.write(2, b"warning\n" * 8192)


def _flood_both() -> None:
    if os.fork():
        _flood_for_ever()
    while True:
        write(b"x" * 65536)


def _close_output() -> None:
    os.close(1)
    time.sleep(600)


def _child() -> None:
    """A child that has the pipes and stays."""
    subprocess.Popen(_SLEEP)


def _daemon() -> None:
    """A process with the pipes, in a session of its own, whose parent is gone."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execv(_SLEEP[0], _SLEEP)


def _child_then_exit() -> None:
    _child()
    os._exit(9)


def _daemon_then_exit() -> None:
    _daemon()
    os._exit(9)


def _ignore_signals(host: Honest) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _then(lambda: time.sleep(600))(host)


def _stop_reading(host: Honest) -> None:
    os_read = sys.stdin.buffer

    def act(line: bytes) -> bytes:
        os_read.close()
        write(line)
        time.sleep(600)
        return b""

    host.act["build"] = act


def _stay(host: Honest) -> None:
    """Stays after `shutdown` and after the end of its input."""
    host.act["shutdown"] = lambda line: time.sleep(600)
    _then(_daemon)(host)


PROCESSES = (
    Kind("exits with 0", "died", "exited with code 0", _then(lambda: os._exit(0))),
    Kind("exits with 3", "died", "exited with code 3", _then(lambda: os._exit(3))),
    Kind("exits with 255", "died", "exited with code 255", _then(lambda: os._exit(255))),
    Kind("exits in build", "died", "exited with code 3", _then(lambda: os._exit(3), "build")),
    Kind("exits in the middle of a reply", "died", "exited with code 3", _then(lambda: os._exit(3), half=True)),
    Kind("exits at once", "load", "exited with code 3", _then(lambda: os._exit(3), "initialize")),
    Kind("a forged report on standard error", "died", "exited with code 0", _say(_FORGED, 0)),
    Kind(
        "markup and controls on standard error",
        "died",
        "code 1",
        _say("[/]\x1b]0;x\x07\u202e\ud83d{}".encode("utf-8", "replace").decode() + "\n", 1),
    ),
    Kind("is killed", "died", "SIGKILL", _signal(signal.SIGKILL)),
    Kind("a segmentation fault", "died", "SIGSEGV", _signal(signal.SIGSEGV)),
    Kind("an abort", "died", "SIGABRT", _signal(signal.SIGABRT)),
    Kind("a real-time signal", "died", "signal", _signal(getattr(signal, "SIGRTMIN", 34) + 3)),
    Kind("an alarm", "died", "SIGALRM", _signal(getattr(signal, "SIGALRM", 14))),
    Kind("stops itself", "hung", "no answer", _signal(getattr(signal, "SIGSTOP", 19))),
    Kind(
        "stops itself in the middle of a reply",
        "hung",
        "no answer",
        _then(lambda: os.kill(os.getpid(), signal.SIGSTOP), half=True),
    ),
    Kind("kills its group", "died", "SIGKILL", _then(lambda: os.killpg(0, signal.SIGKILL))),
    Kind("interrupts its group", "died", "", _then(lambda: os.killpg(0, signal.SIGTERM))),
    Kind("closes its output", "died", "closed its pipe", _then(_close_output), is_slow=True),
    Kind("stops reading", "hung", "", _stop_reading),
    Kind("ignores signals", "hung", "no answer", _ignore_signals),
    Kind("a child that holds the pipes, then exits", "died", "exited with code 9", _then(_child_then_exit)),
    Kind("a daemon that holds the pipes, then exits", "died", "exited with code 9", _then(_daemon_then_exit)),
    Kind("a child that stays", "right", "", _then(_child)),
    Kind("a daemon that stays", "right", "", _then(_daemon)),
    Kind("stays after shutdown, with a daemon", "right", "", _stay, is_slow=True),
    Kind("8 MB on standard error", "right", "", _then(lambda: _flood(8))),
    Kind("8 MB on standard error, then exits", "died", "code 4", _then(lambda: (_flood(8), os._exit(4)))),
    Kind("standard error without end", "hung", "no answer", _then(_flood_for_ever)),
    Kind("both streams without end", "broke the protocol", "more than", _then(_flood_both)),
)
