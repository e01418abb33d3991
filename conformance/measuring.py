"""What the commands that measure share: worker processes, and a file for the figures."""

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from .plan import ChoiceError


def processes(workers: str) -> Executor:
    """So many processes that share nothing, "auto" for one a core; for 0 a thread of this one, which needs no start."""
    if workers == "0":
        return ThreadPoolExecutor(1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = cores if workers == "auto" else int(workers)
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def opened(path: Path) -> TextIO:
    """The file of figures, to be written. Raises ChoiceError, in one line."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ChoiceError(f"--json {path}: {error.strerror}; name a file that can be written") from None
