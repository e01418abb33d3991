"""The glossary is short, its terms are in use, and the words that it advises against are not."""

import re

import pytest

from . import NAMES, ROOT, page
from .prose import prose_of

GLOSSARY = "docs/glossary.md"
_ROWS = [row.strip("|").split("|") for row in page(GLOSSARY).splitlines() if row.startswith("| ")][1:]
TERMS = {row[0].strip(): [word.strip() for word in row[2].strip(" -").split(",")] for row in _ROWS}
_AVOIDED = [word for words in TERMS.values() for word in words if word]


def test_the_glossary_is_short() -> None:
    assert 10 <= len(TERMS) <= 25
    assert all(len(row[1]) <= 240 for row in _ROWS)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_used_in_docs_or_messages(term: str) -> None:
    pages = "\n".join(page(name) for name in NAMES if name != GLOSSARY)
    assert len(re.findall(rf"\b{re.escape(term)}", pages, re.I)) >= 2


@pytest.mark.parametrize("avoided", _AVOIDED)
def test_a_word_that_the_glossary_advises_against_is_not_used(avoided: str) -> None:
    pattern = re.compile(rf"\b{re.escape(avoided)}\b", re.I)
    pages = [name for name in NAMES if name != GLOSSARY and pattern.search(page(name))]
    rooms = ("reference", "adapters", "conformance")
    modules = (path for room in rooms for path in (ROOT / room).rglob("*.py"))
    used = [*pages, *(str(path) for path in modules if any(pattern.search(text) for _, text in prose_of(path)))]
    assert used == []
