"""Text from an adapter's process, cleaned where it enters the suite."""

import unicodedata
from collections.abc import Callable
from typing import Any

MOST_CHARACTERS = 1000
"""The characters that are kept of a name, a version or a message."""

_MOST_SOURCE = 1_000_000

_MOST_MARKS = 4
"""So many combining marks may follow one character: more than any language writes."""

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that count as printable, and show nothing."""


def replace_hidden(text: str, replace: Callable[[str], str]) -> str:
    """`text` with `replace` applied to each character that ends a line, controls a terminal, shows nothing or is one of
    too many marks on another.
    """
    shown, marks = list[str](), 0
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") or "\u1160" <= c <= "\u11ff" else 0
        is_shown = c.isprintable() and marks <= _MOST_MARKS and c not in _BLANK
        shown.append(c if is_shown else replace(c))
    return "".join(shown)


def clean_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text as one line of at most `most` printable characters: each run of spaces, line breaks and characters that
    cannot be printed or hide, lone surrogates among them, becomes one space.
    """
    # What is cut off is not looked at: a message may have millions of characters.
    some = text[: 4 * most]
    return " ".join(replace_hidden(some, lambda c: " ").split())[:most]


def clean_source(text: str) -> str:
    """Source code with its line breaks, without other characters that cannot be printed."""
    kept = (c if c == "\n" or c.isprintable() else " " for c in text[:_MOST_SOURCE])
    return "".join(kept)


def clean_lines_of(value: Any) -> Any:
    """Plain JSON data with every string cleaned as `clean_line` does, keys included."""
    if isinstance(value, str):
        return clean_line(value)
    if isinstance(value, list | tuple):
        return [clean_lines_of(one) for one in value]
    if isinstance(value, dict):
        return {clean_lines_of(key): clean_lines_of(one) for key, one in value.items()}
    return value
