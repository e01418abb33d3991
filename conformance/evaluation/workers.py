"""What the commands that measure share: worker processes, and a file for the figures."""

import math
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TextIO

from ..cases.plan import OptionError
from ..runners.workers import make_executor, parse_workers


def processes(workers: str) -> Executor:
    """The executor that `-n` asks for. Raises OptionError."""
    return make_executor(parse_workers(workers))


def count(workers: str) -> int:
    """How many tasks run at the same time. Raises OptionError."""
    return max(1, parse_workers(workers))


def opened(path: Path, option: str = "--json") -> TextIO:
    """The file of figures that an option names, open for writing. Raises OptionError, in one line."""
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
