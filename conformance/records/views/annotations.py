"""A run as annotations of GitHub Actions: workflow commands, one line each, that its runner reads from the output."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ...diagnosis.causes import Cause
from ...expectations.audit import FAILING
from ..coverage import uncovered_lines
from ..form.text import shorten
from ..record import Record
from ..report import arithmetic_lines, describe_cause, verdict_lines
from ..severity import below_line
from ..whole_run import finding_lines

Kind = Literal["error", "warning", "notice"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST = 10
"""GitHub shows so many annotations of each kind for a step."""
_MOST_TITLE, _MOST_LINE, _MOST_MESSAGE = 200, 2000, 10_000


@dataclass(frozen=True)
class Annotation:
    """What GitHub shows beside a run: a title and the lines of a message, and where a file is to blame its path in the
    repository and, if it is known, the line.
    """

    kind: Kind
    title: str
    message: tuple[str, ...]
    file: str = ""
    line: int | None = None


@dataclass(frozen=True)
class OnGitHub:
    """What GitHub shows of one thing: annotations, and a page for the summary of the step. `make_page` makes one of at
    most so many bytes.
    """

    annotations: tuple[Annotation, ...]
    make_page: Callable[[int], str]


def annotate(record: Record, here: Path, repository: Path) -> list[Annotation]:
    """The annotations of a run: an error for each thing that keeps it from conforming, a warning for what it could not
    say, and each verdict as a notice. `here` is the folder that the adapters' files are named in.
    """
    found = [*_errors(record, here, repository), *_warnings(record, here, repository)]
    if not record.conforms and not any(one.kind == "error" for one in found):
        found.append(Annotation("error", "kterm: does not conform", ("the output of the run says why",)))
    return [*found, *(Annotation("notice", "kterm", (line,)) for line, _ in verdict_lines(record))]


def _errors(record: Record, here: Path, repository: Path) -> Iterator[Annotation]:
    yield from (_of_cause("error", one, record, here, repository) for one in record.causes if one.worst.fails)
    for name, judged in record.judged.items():
        if any(verdict.fails for verdict in record.of_run[name]):
            yield Annotation("error", f"{name}: the run as a whole", (*finding_lines(name, judged),))
    for one in record.audited:
        if one.state in FAILING:
            yield Annotation("error", f"an expectation is {one.state}", (one.message,))
    if without := record.footer["unanswered"]:
        name, case = without[0]
        counts = f"no result for {len(without):,} of {record.footer['accounting']['planned']:,} cases"
        yield Annotation("error", counts, (f"such as {case} on {name}",))
    for name in record.unchecked:
        yield Annotation("error", f"nothing was checked of {name}", ("the accounting of the run says why",))


def _warnings(record: Record, here: Path, repository: Path) -> Iterator[Annotation]:
    yield from (_of_cause("warning", one, record, here, repository) for one in record.causes if not one.worst.fails)
    for adapter in record.header["adapters"]:
        lines = [*uncovered_lines(adapter["name"], adapter, record.header, record.footer["judged"][adapter["name"]])]
        lines += arithmetic_lines(adapter)
        yield from (Annotation("warning", adapter["name"], (line,)) for line in lines)
    if below := record.below_level:
        cases = sum(any(v.below_level for v in some) for some in record.verdicts.values())
        yield Annotation("warning", "componentwise only", (below_line(below, cases),))


def _of_cause(kind: Kind, cause: Cause, record: Record, here: Path, repository: Path) -> Annotation:
    adapter = next(one for one in record.header["adapters"] if one["name"] == cause.adapter)
    first, *lines = describe_cause(cause, adapter, record.header.get("device"))
    path = _path_of(adapter["spec"])
    # A message ends with the place where an exception was raised, such as (adapter.py:12). It may be a megabyte long.
    place = re.search(r"([^/\\(\s]+\.py):(\d+)\)$", cause.worst.message[-_MOST_TITLE:])
    line = int(place[2]) if place and path and place[1] == path.name else None
    return Annotation(kind, first, tuple(lines), "" if path is None else _inside(path, here, repository), line)


def _path_of(spec: str) -> Path | None:
    """The file of an adapter that is named path/to/file.py:Class; None for any other."""
    path, _, name = spec.rpartition(":")
    return Path(path) if path.endswith(".py") and name.isidentifier() else None


def _inside(path: Path, here: Path, repository: Path) -> str:
    """The path of a file from the top of the repository, with slashes; empty for a file elsewhere."""
    whole = Path(os.path.normpath(here / path))
    return whole.relative_to(repository).as_posix() if whole.is_relative_to(repository) else ""


def to_commands(annotations: Iterable[Annotation]) -> Iterator[str]:
    """The lines that GitHub's runner reads: of each kind as many as it shows. If there are more, the last of them says
    how many.
    """
    given = [*annotations]
    for kind in KINDS:
        some = [one for one in given if one.kind == kind]
        shown = some if len(some) <= MOST else some[: MOST - 1]
        yield from map(_to_command, shown)
        if more := len(some) - len(shown):
            text = "GitHub shows no more for a step; the output of the run has all"
            yield _to_command(Annotation(kind, f"and {more:,} more", (text,)))


def _to_command(one: Annotation) -> str:
    properties = {"file": one.file} if one.file else {}
    properties |= {"line": str(one.line)} if one.line is not None else {}
    properties["title"] = shorten(one.title, _MOST_TITLE)
    message = _joined(one.message)
    named = ",".join(f"{name}={_escape(value, ':,')}" for name, value in properties.items())
    return f"::{one.kind} {named}::{_escape(message)}"


def _joined(lines: Iterable[str]) -> str:
    """As many whole lines as there is room for."""
    shown, left = list[str](), _MOST_MESSAGE
    for line in lines:
        shown.append(shorten(line, _MOST_LINE))
        left -= len(shown[-1])
        if left < 0:
            return "\n".join([*shown[:-1], "..."])
    return "\n".join(shown)


def _escape(text: str, also: str = "") -> str:
    """Text in a workflow command; `also` are the characters that end a property."""
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{also}" else c for c in text)
