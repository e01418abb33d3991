"""What the commands that measure share: worker processes, and a file for the figures."""

import math
import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from ..cases.plan import OptionError
from ..runners.cache import use_cache_here


def processes(workers: str) -> Executor:
    """So many processes that share nothing, "auto" for one a core; for 0 a thread of this one, which needs no start."""
    if workers == "0":
        return ThreadPoolExecutor(1)
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count(workers), mp_context=spawn, initializer=use_cache_here)


def count(workers: str) -> int:
    """How many work at the same time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if workers == "auto" else max(1, int(workers))


def opened(path: Path, option: str = "--json") -> TextIO:
    """The file of figures that an option names, to be written. Raises ChoiceError, in one line."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"{option} {path}: {error.strerror}; name a file that can be written") from None


def plain(value: Any) -> Any:
    """As plain JSON types; what JSON has no number for is a string that float() reads."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
