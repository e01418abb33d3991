"""Text that came from adapters and users, as it may be printed."""

import re

_COMMAND = re.compile(r"^( *):(?=:)|#(?=#\[)")
"""How a line begins that GitHub's runner takes for a command, and what such a command has anywhere in a line."""


def printable(text: str) -> str:
    """`text` with every character escaped that ends a line, or controls a terminal or the log of GitHub Actions."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return _COMMAND.sub(lambda one: f"{one[1] or ''}\\x{ord(one[0][-1]):02x}", shown)


def shorten(text: str, most: int) -> str:
    """`text` as `printable` makes it; of more than `most` characters the beginning, and how many `text` has."""
    shown = printable(text[:most])
    return shown if len(text) <= most >= len(shown) else f"{shown[:most]}... ({len(text):,} characters)"


def count(number: int, what: str) -> str:
    """A number of things: 1 case, 1,200 cases."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
