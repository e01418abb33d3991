"""The console that every command prints on: text is text, and it fits the terminal."""

import shutil
import sys
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .text import fit, printable

NO_LIMIT = 100_000
"""The width of what is no terminal: no line of a pipe or a file is broken."""

_LEAST_WIDTH = 20


class TextConsole(Console):
    """A console on which strings are plain text: no markup, no emoji codes, and nothing that ends a line or controls a
    terminal, in tables too. On a terminal, lines are broken between words, and a table that is wider than it is
    printed row by row. Elsewhere no line is broken.
    """

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        """Print to `file`, else to standard output; `options` are those of rich."""
        self.is_narrow = (sys.stdout if file is None else file).isatty()
        size = shutil.get_terminal_size()
        width = max(size.columns, _LEAST_WIDTH) if self.is_narrow else NO_LIMIT
        # rich takes a dumb terminal for 80 columns wide unless it is given both.
        options = {"width": width, "height": size.lines, **options}
        super().__init__(file=file, markup=False, emoji=False, highlight=False, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it may be printed."""
        shown = printable(text)
        return super().render_str(fit(shown, self.width) if self.is_narrow else shown, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Any:
        """The segments of something; of a table that does not fit, those of its rows, one below the other."""
        if isinstance(renderable, Table) and self._is_too_wide(renderable):
            renderable = self._by_rows(renderable)
        return super().render(renderable, options)

    def _is_too_wide(self, table: Table) -> bool:
        return self.is_narrow and _is_text(table) and natural_width(self, table) > self.width

    def _by_rows(self, table: Table) -> RenderableType:
        """Each row as a line: its first cell, and the others behind the heads of their columns."""
        heads = [_plain(column.header) for column in table.columns]
        lines = [Text(fit(printable(_plain(table.title)), self.width), "bold")] if table.title else []
        for row, cells in zip(table.rows, zip(*(column.cells for column in table.columns), strict=True), strict=True):
            first, *rest = map(_plain, cells)
            said = "; ".join(f"{h} {c}".strip() for h, c in zip(heads[1:], rest, strict=True) if c)
            lines.append(Text(fit(printable(f"{first}: {said}" if first else said), self.width), row.style or ""))
        return Group(*lines)


def natural_width(console: Console, table: Table) -> int:
    """The width of a table without a broken cell."""
    return Measurement.get(console, console.options.update(max_width=NO_LIMIT), table).maximum


def _is_text(table: Table) -> bool:
    """Whether all cells of a table are text, unlike those of a progress bar."""
    return all(isinstance(cell, str | Text) for column in table.columns for cell in column.cells)


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
