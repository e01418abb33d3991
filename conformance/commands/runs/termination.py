"""SIGTERM, which ends a run as Ctrl-C does, with an exit code of its own."""

import signal
import threading
from collections.abc import Callable

from ...records.form.text import print_aside
from ..exit_codes import INTERRUPTED, TERMINATED


def end_on_termination(work: Callable[[], int]) -> int:
    """The exit code of `work`, in which SIGTERM raises KeyboardInterrupt as Ctrl-C does, where signals can be handled.
    After SIGTERM the code is 143, whether `work` ends with 130 or lets the interrupt through.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        return work()
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        code = work()
    except KeyboardInterrupt:
        if not came:
            raise
        print_aside("kterm: terminated")
        return TERMINATED
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    return TERMINATED if code == INTERRUPTED and came else code
