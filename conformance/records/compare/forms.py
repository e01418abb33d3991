"""Titled tables as text for a terminal, as Markdown, and a comparison as JSON."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ..form.markdown import fenced, inert, table
from ..form.text import printable
from .comparison import Comparison
from .tables import Section, verdict_line


class Tables:
    """Sections, rendered by rich on a console that takes strings as plain text."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self._sections = sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Each title, its table and its note."""
        for section in self._sections:
            yield Text("")
            yield Text(printable(section.title), style="bold")
            if section.columns == ("",):
                yield from (line for (line,) in section.rows)  # commands, which no table may break
            elif section.rows:
                table = Table(box=None, pad_edge=False, show_header=any(section.columns))
                for name in section.columns:
                    table.add_column(name)
                for row in section.rows:
                    table.add_row(*row)
                yield table
            if section.note:
                yield section.note


def to_markdown(comparison: Comparison, sections: Iterable[Section]) -> Iterator[str]:
    """The lines of a page: the verdict, and a table for each section. All text in it is inert."""
    yield f"**{inert(verdict_line(comparison))}**"
    for section in sections:
        yield ""
        yield f"### {inert(section.title)}"
        yield ""
        if section.columns == ("",):
            yield fenced(line for (line,) in section.rows)
        elif section.rows:
            yield from table(section.columns, section.rows)
        if section.note:
            yield from ("", inert(section.note)) if section.rows else (inert(section.note),)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in plain JSON types."""
    data = {**asdict(comparison), "regressions": comparison.regressions, "improvements": comparison.improvements}
    data |= {"differs": comparison.differs, "verdict": verdict_line(comparison)}
    for one, cases in zip(data["cases"], comparison.cases, strict=True):
        one["new_causes"] = [cause.to_json() for cause in cases.new_causes]
        one["gone_causes"] = [cause.to_json() for cause in cases.gone_causes]
    return json.loads(json.dumps(data, default=str))
