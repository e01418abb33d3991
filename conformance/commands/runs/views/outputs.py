"""What a command makes of a run beside what it prints: a page of Markdown, JUnit XML, and annotations on GitHub."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....cases.plan import OptionError
from ....records.record import Record
from ....records.views.annotations import OnGitHub, annotate, to_commands
from ....records.views.junit import to_junit
from ....records.views.summary import MOST_BYTES, summarize


@dataclass(frozen=True)
class Outputs:
    """What the options --summary, --junit and --github ask for."""

    summary: Path | None = None
    junit: Path | None = None
    github: bool = False


@contextmanager
def collect_outputs(outputs: Outputs) -> Iterator[Callable[[Record, Path | None], object]]:
    """Give the block a function that takes its record, and where the user has it; write what is asked for at the end.

    Raises OptionError for a file that cannot be written: before the block, as far as that can be seen.
    """
    _require_writable(outputs)
    kept: list[tuple[Record, Path | None]] = []
    with annotate_at_end(outputs.github) as shown:
        yield lambda record, saved: kept.append((record, saved))
        for record, saved in kept:
            if outputs.summary is not None:
                _write("--summary", outputs.summary, summarize(record, saved).encode())
            if outputs.junit is not None:
                _write("--junit", outputs.junit, to_junit(record))
            if outputs.github:
                shown.append(_on_github(record, saved))


def _require_writable(outputs: Outputs) -> None:
    for option, path in (("--summary", outputs.summary), ("--junit", outputs.junit)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise OptionError(f"{option} {path}: is no file in a folder that exists; name one that can be written")


def _on_github(record: Record, saved: Path | None) -> OnGitHub:
    here = Path.cwd()
    repository = Path(os.environ.get("GITHUB_WORKSPACE") or here)
    return OnGitHub(tuple(annotate(record, here, repository)), lambda most: summarize(record, saved, most))


@contextmanager
def annotate_at_end(is_asked: bool) -> Iterator[list[OnGitHub]]:
    """Give the block a list, and show on GitHub what is in it at the end.

    Until then GitHub's runner reads no commands, so that nothing that an adapter or its framework writes is one. A word
    that nobody can guess ends the pause.

    Raises OptionError where the summary of the step cannot be written.
    """
    shown: list[OnGitHub] = []
    if not is_asked:
        yield shown
        return
    word = secrets.token_hex(16)
    print(f"::stop-commands::{word}", flush=True)
    try:
        yield shown
    finally:
        print(f"::{word}::", flush=True)
    for one in shown:
        for line in to_commands(one.annotations):
            print(line)
        if name := os.environ.get("GITHUB_STEP_SUMMARY"):
            path = Path(name)
            held = path.stat().st_size if path.is_file() else 0
            _write("GITHUB_STEP_SUMMARY", path, one.make_page(MOST_BYTES - held).encode(), "ab")


def _write(option: str, path: Path, data: bytes, mode: str = "wb") -> None:
    try:
        with path.open(mode) as out:
            out.write(data)
    except OSError as error:
        raise OptionError(f"{option} {path}: {error.strerror}; name a file that can be written") from None
