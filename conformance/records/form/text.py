"""Text that came from adapters and users, as it may be printed."""

import os
import re
import shutil
import sys
import textwrap

from ...runners.link.text import replace_hidden

MOST_CHARACTERS = 10_000
"""So many characters of one line are printed."""

_WORKFLOW = re.compile(r"^( *):(?=:)|#(?=#\[)")
"""How a line begins that GitHub's runner takes for a command, and what such a command has anywhere in a line."""
_COMMAND = re.compile(r"\s*kterm [a-z]")
_WORD = re.compile(r"(?:[^\s'\"]|'[^']*'|\"[^\"]*\")+")
"""A word of a shell, with its quotes."""


def printable(text: str) -> str:
    """`text` with every character escaped that ends a line, controls a terminal or the log of GitHub Actions, or shows
    nothing, and at most MOST_CHARACTERS of it.
    """
    if len(text) > MOST_CHARACTERS:
        return f"{printable(text[:MOST_CHARACTERS])}... and {len(text) - MOST_CHARACTERS:,} more characters"
    if not (text.isascii() and text.isprintable()):
        text = replace_hidden(text, lambda c: c.encode("unicode_escape", "surrogatepass").decode())
    return _WORKFLOW.sub(lambda one: f"{one[1] or ''}\\x{ord(one[0][-1]):02x}", text)


def shorten(text: str, most: int) -> str:
    """`text` as `printable` makes it; of more than `most` characters the beginning, and how many `text` has."""
    shown = printable(text[:most])
    return shown if len(text) <= most >= len(shown) else f"{shown[:most]}... ({len(text):,} characters)"


def fit(line: str, width: int) -> str:
    """A line broken between words into lines of at most `width` characters, those after the first indented. A word
    that is longer stays whole. A command of kterm is broken as a shell takes it, so that it can be copied.
    """
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    if _COMMAND.match(line):
        return line if os.name == "nt" else _fit_command(line, width, indent)
    return textwrap.fill(line, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)


def _fit_command(line: str, width: int, indent: str) -> str:
    lines = [indent]
    for word in _WORD.findall(line):
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else f"{lines[-1]}{word}"
        if len(longer) <= width - 2 or not lines[-1].strip():
            lines[-1] = longer
        else:
            lines.append(f"{indent}  {word}")
    return " \\\n".join(lines)


def print_aside(line: str) -> None:
    """Print a line on standard error at once: an error, or how far a run is."""
    shown = printable(line)
    width = shutil.get_terminal_size().columns
    print(fit(shown, width) if sys.stderr.isatty() else shown, file=sys.stderr, flush=True)


def count(number: int, what: str) -> str:
    """A number of things: 1 case, 1,200 cases."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
