"""The prose in Python files: comments, docstrings and all other strings, as the tokenizer finds them."""

import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# From Python 3.12 on, the text of an f-string is a token of its own.
_TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@cache
def prose_of(path: Path) -> tuple[tuple[int, str], ...]:
    """Every comment and string of a Python file, with the number of its first line."""
    return tuple(_tokens(path.read_text(encoding="utf-8")))


def _tokens(source: str) -> Iterator[tuple[int, str]]:
    """Comments and strings. Comments on lines that follow each other are one text, as are strings that do: phrases run
    on from one to the next.
    """
    kind, first, text = -1, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NL, tokenize.NEWLINE):
            continue
        if token.type in _TEXT and token.type == kind:
            text += " " + token.string.strip("#\"' ")
            continue
        if text:
            yield first, text
        kind, first, text = token.type, token.start[0], token.string if token.type in _TEXT else ""
    if text:
        yield first, text
