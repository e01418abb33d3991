"""Text from an adapter's process, cleaned where it enters the suite."""

from typing import Any

MOST_CHARACTERS = 1000
"""The characters that are kept of a name, a version or a message."""

_MOST_SOURCE = 1_000_000


def clean_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text as one line of at most `most` printable characters: each run of spaces, line breaks and characters that
    cannot be printed, lone surrogates among them, becomes one space.
    """
    # What is cut off is not looked at: a message may have millions of characters.
    some = text[: 4 * most]
    return " ".join("".join(c if c.isprintable() else " " for c in some).split())[:most]


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
