"""What commands share: a progress bar or lines of progress, and files to write figures to."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..cases.plan import OptionError
from ..records.form.text import print_aside


def is_live(console: Console) -> bool:
    """Whether a progress bar can be drawn: the output is a terminal, not a pipe that FORCE_COLOR makes rich take for
    one.
    """
    return console.is_terminal and sys.stdout.isatty()


@contextmanager
def show_lines(make_line: Callable[[], str], every: float = 30.0) -> Iterator[None]:
    """Print a line of progress on standard error every so many seconds while the block runs, for who reads a log."""
    ended = threading.Event()

    def print_lines() -> None:
        while not ended.wait(every):
            print_aside(make_line())

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def say_duration(seconds: float) -> str:
    """A duration in words, to the second, minute or hour: 40 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def show_progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None] | None]:
    """Show a progress bar while the block runs, and give the function that advances it by one; None, without a bar,
    if the output is no terminal.
    """
    if not is_live(console):
        yield None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def open_output(path: Path, option: str = "--json") -> TextIO:
    """Open the file that an option names, for writing text. Raises OptionError where that fails."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"{option} {path}: {error.strerror}; name a file that can be written") from None
