"""Markdown as GitHub and GitLab render it, in which text of adapters and users means nothing.

Text stands as it is if it has letters, digits and a few other characters only. All other text is code: in code neither
renderer looks for markup, links, mentions, references to issues, mathematics or the names of emoji.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from .text import shorten

MOST_CHARACTERS = 2000
"""So much of one text is shown."""

_PLAIN = re.compile(r"(?![\s=]|\d+[.)](?:\s|$)|.*(?:www\.|\bgh-))(?:[\w .,;%'=()+→…≤≥√σ±-]|:(?= ))*(?<!\s)", re.I)
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$-])")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def inert(text: str) -> str:
    """Text for a paragraph or the cell of a table, shown as it is, in one line and in at most 2,000 characters."""
    shown = shorten(text, MOST_CHARACTERS)
    return _MARKUP.sub(r"\\\1", shown) if _PLAIN.fullmatch(shown) else code(shown)


def code(text: str) -> str:
    """Text as code, within a line."""
    shown = shorten(text, MOST_CHARACTERS)
    if shown == shown.strip() and shown and not re.search(r"[`|\\]", shown):
        return f"`{shown}`"
    # A table ends a cell at a bar also in code, and code has no escape for a backtick. Entities are no markup.
    return f"<code>{_PUNCTUATION.sub(lambda one: f'&#{ord(one[0])};', shown)}</code>"


def fenced(lines: Iterable[str]) -> str:
    """Lines as a block of code."""
    shown = [shorten(line, MOST_CHARACTERS) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, given the text of its cells."""
    yield f"| {' | '.join(map(inert, columns))} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(map(inert, row))} |" for row in rows)
