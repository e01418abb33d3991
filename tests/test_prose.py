"""Docs, docstrings, comments and messages are plain English: words and phrases that read like riddles do not occur."""

import re
from itertools import chain
from pathlib import Path

import pytest

from .docs.prose import prose_of

ROOT = Path(__file__).resolve().parents[1]
AVOIDED = re.compile(
    r"\bmend(?:s|ed|ing)?\b|\btold\b|\b(?:wears?|wearing|worn|wore)\b|\bbut\s+for\b|\bof\s+which\b"
    r"|\b(?:came|comes?|coming)\s+of\b|\bpassed\s+over\b|\bheld\s+to\b|\bgoes\s+without\s+saying\b"
    r"|\bin\s+the\s+place\s+of\b",
    re.I,
)
_FOLDERS = ("reference", "adapters", "conformance", "examples", "benchmarks", "docs", "tests/support", "tests/docs")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
DATA = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.toml")]
MODULES = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")]
MODULES += (ROOT / "src" / "kterm").glob("*.py")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sorted([*PAGES, *DATA]), ids=_name)
def test_a_page_is_in_plain_words(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [f"{text[: found.start()].count(chr(10)) + 1}: {found[0]}" for found in AVOIDED.finditer(text)] == []


@pytest.mark.parametrize("path", sorted(MODULES), ids=_name)
def test_a_module_is_in_plain_words(path: Path) -> None:
    found = chain.from_iterable((f"{line}: {word}" for word in AVOIDED.findall(text)) for line, text in prose_of(path))
    assert list(found) == []


@pytest.mark.parametrize("text", ["# as it is told", 'x = "what it" " wears"', '"""All but\n    for one."""\n'])
def test_an_avoided_word_is_found(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    assert any(AVOIDED.search(prose) for _, prose in prose_of(path))
