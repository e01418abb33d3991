"""What commands share: a progress bar or lines of progress, and files to write figures to."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ..cases.plan import OptionError
from ..records.form.text import print_aside

_BAR_WIDTH = 100
"""Terminals of this width have room for a bar."""


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


def say_interrupted(console: Console, rest: str) -> None:
    """Say that the user interrupted a run, and in `rest` what becomes of it. A quiet console says it on stderr."""
    if console.quiet:
        print_aside(f"kterm: interrupted{rest}")
    else:
        console.print(f"interrupted{rest}")


def say_duration(seconds: float) -> str:
    """A duration in words, to the second, minute or hour: 40 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def make_progress(console: Console, disable: bool = False) -> Progress:
    """A progress bar with a text, or the text alone where the terminal has no room for both; what is still too long is
    cut.
    """
    text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = (BarColumn(20), text) if console.width >= _BAR_WIDTH else (text,)
    return Progress(*columns, console=console, transient=True, disable=disable)


@contextmanager
def show_progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show while the block runs how far it is, and give the function that says that one more is done. If the output is
    no terminal, a line comes every 30 s; if the console is quiet, nothing.
    """
    started, done = time.monotonic(), 0

    def line() -> str:
        return f"{done:,} of {total:,} {what}, {say_duration(time.monotonic() - started)}"

    is_shown = is_live(console) and not console.quiet
    with make_progress(console, disable=not is_shown) as progress:
        task = progress.add_task(line(), total=total)

        def advance() -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, description=line())

        with nullcontext() if is_shown or console.quiet else show_lines(line):
            yield advance


def open_output(path: Path, option: str = "--json") -> TextIO:
    """Open the file that an option names, for writing text. Raises OptionError where that fails."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"{option} {path}: {error.strerror}; name a file that can be written") from None
