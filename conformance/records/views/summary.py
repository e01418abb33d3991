"""A run as a page of Markdown: the verdict, a table of checks by adapter, causes, and known divergences."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...checks.verdict import STATUSES
from ..form.markdown import code, fenced, inert, table
from ..record import Record
from ..report import cause_lines, count_by_check, expected_lines, summary_lines, title, verdict_lines

MOST_BYTES = 2**20
"""GitHub shows no summary of a step that is longer."""


def summarize(record: Record, saved: Path | None = None, most_bytes: int = MOST_BYTES) -> str:
    """The page, ending with a line break. `saved` is where the user has the record.

    A page that would be longer than `most_bytes` in UTF-8 has the parts that fit, and says how many are left out.
    """
    return join_parts([*_parts(record, saved)], most_bytes)


def join_parts(parts: Sequence[str], most_bytes: int) -> str:
    """Paragraphs, tables and blocks of code as a page, as many as fit, and how many do not."""
    sizes = [len(part.encode()) + 2 for part in parts]
    if sum(sizes) <= most_bytes:
        return "".join(f"{part}\n\n" for part in parts)[:-1]
    left, kept = most_bytes - 100, 0
    while kept < len(parts) and sizes[kept] <= left:
        left -= sizes[kept]
        kept += 1
    note = f"{len(parts) - kept:,} further parts are left out: a summary may be no longer; the record has all.\n"
    page = "".join(f"{part}\n\n" for part in parts[:kept]) + note
    return page if len(page.encode()) <= most_bytes else ""


def _parts(record: Record, saved: Path | None) -> Iterator[str]:
    verdict = "conforms" if record.conforms else "does not conform"
    yield f"## kterm: {verdict} ({record.level})"
    yield "\n".join(f"- **{inert(line)}**" for line, _ in verdict_lines(record))
    yield inert(title(record.header))
    yield "### Checks"
    names = [adapter["name"] for adapter in record.header["adapters"]]
    rows = ((check, *map(_cell, counts)) for check, counts in count_by_check(record, names))
    yield "\n".join(table(("check", *names), rows))
    if lines := cause_lines(record, saved):
        yield "### Causes"
        yield fenced(lines[:-1] if not lines[-1] else lines)
    if lines := expected_lines(record):
        yield "### Known divergences"
        yield "\n".join(f"- {inert(line)}" for line in lines)
    yield "### Accounting"
    yield fenced(summary_lines(record, saved))
    if saved is not None:
        yield f"The record is {code(str(saved))}."


def _cell(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in STATUSES if counts.get(name))
