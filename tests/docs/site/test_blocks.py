"""Every block on a page is run, read by the types that it is of, or compared with what is printed.

Marked blocks are looked after by the test that reads the mark, commands by `test_commands.py`, and all others here. A
block that nothing looks after fails a test.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import kterm

from .. import PAGES, ROOT, page
from ..test_commands import PRINTED
from ..test_own_model import STORIES
from .blocks import CHECKS, Block

MARKED = {
    "runnable": "tests/test_docs.py",
    "include": "tests/test_docs.py",
    "executed": "tests/docs/test_walkthrough.py",
    "prints": "tests/docs/test_walkthrough.py",
    "failure": "tests/docs/test_commands.py",
    "printed": "tests/docs/test_commands.py",
    "cause": "tests/docs/test_commands.py",
    "github": "tests/docs/test_ci.py",
    "gitlab": "tests/docs/test_ci.py",
    "package": "tests/docs/test_ci.py",
    "transcript": "tests/conformance/runners/link/test_transcript.py",
    "reproducer": "tests/conformance/commands/test_reproduce.py",
    "shrunk": "tests/conformance/commands/test_shrink.py",
    "wrong": "tests/conformance/commands/test_vectors.py",
    "output of a script": "tests/conformance/interfaces/models/reproduce/test_scripts.py",
}
"""What stands in a comment above a block, up to a colon, and the test that reads it there."""
SCRIPTS = {f"python examples/own_model/{name}.py" for name in (*STORIES, "trace_from_numpy")}
"""What test_own_model.py runs."""


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page."""
    return tuple(one for path in PAGES for one in _blocks_of(str(path.relative_to(ROOT)), path.read_text("utf-8")))


def _blocks_of(name: str, text: str) -> Iterator[Block]:
    for found in re.finditer(
        r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", text, re.M | re.S
    ):
        yield Block(name, found["mark"] or "", found["kind"], found["text"])


def _is_story(block: Block) -> bool:
    """Whether test_own_model.py compares it with what the judge prints."""
    return block.page == "docs/judge-your-model.md" and block.text.startswith("trace of ")


def _keeper(block: Block) -> str:
    """What looks after a block; empty if nothing does."""
    if block.mark:
        return MARKED.get(re.split(":| with ", block.mark)[0], "")
    if block.kind == "sh":
        return "commands" if set(block.text.splitlines()) <= {*PRINTED, *SCRIPTS} else ""
    if _is_story(block):
        return "stories"
    return "here" if block.key in CHECKS else ""


def test_every_block_is_looked_after() -> None:
    assert len(blocks()) > 90
    assert [f"{one.page}: {one.first}" for one in blocks() if not _keeper(one)] == []


def test_every_check_has_its_block() -> None:
    assert set(CHECKS) == {one.key for one in blocks() if _keeper(one) == "here"}


@pytest.mark.parametrize(("mark", "module"), MARKED.items(), ids=lambda one: one.rpartition("/")[2])
def test_a_mark_is_read_by_its_test(mark: str, module: str) -> None:
    assert re.search(rf"<!-- {mark}|_table\(.*\"{mark}\"|workflow\(\"{mark}\"\)", page(module))
    assert any(re.split(":| with ", one.mark)[0] == mark for one in blocks())


@pytest.mark.parametrize(
    "block", [one for one in blocks() if _keeper(one) == "here"], ids=lambda one: f"{one.page}: {one.first[:40]}"
)
def test_a_block_is_as_it_should_be(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CHECKS[block.key](block.text, tmp_path)


MISTAKES = [
    ("README", "kterm 0.1.0", "planned 43,378", "planned 43,379"),
    ("README", "kterm 0.1.0", "torch's softplus is the identity", "torch's softplus is linear"),
    ("adapters", "check ", "20 passed", "21 passed"),
    ("adapters", "kterm: adapter", "is one string", "is a string"),
    ("adapters", "[project", "kterm.adapters", "kterm.adapter"),
    ("arithmetic", "class", "tf32", "tf33"),
    ("expectations", "[[expectation]]", "framework", "frame"),
    ("expectations", "formula", "exp(-clip", "exq(-clip"),
    ("judge-your-model", "with", "trace.end_step()", "trace.end()"),
    ("record", '{"kind": "header"', '"planned": 2314', '"planned": "2314"'),
    ("record", '{"kind":"group"', '"draw":0', '"draw":-1'),
    ("record", '{"kind":"verdict"', '"grade"', '"mark"'),
    ("record", '{"kind": "footer"', '"by_adapter"', '"by_framework"'),
    ("record", '{"id"', '"state"', '"status"'),
    ("record", "record =", "record.statuses()", "record.status()"),
    ("reproducers", "for _", "range(299)", "range(300)"),
    ("trace", '"format"', '"layout": "out_in"', '"layout": "in_out"'),
    ("trace", "builder =", '"z", z)', '"z", z + 1)'),
]


@pytest.mark.parametrize(("name", "first", "right", "wrong"), MISTAKES)
def test_a_mistake_in_a_block_is_found(
    name: str, first: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = next(one for one in blocks() if one.key[0] == name and one.first.startswith(first) and not one.mark)
    assert right in block.text
    with pytest.raises((AssertionError, TypeError, AttributeError, KeyError, ValueError, kterm.ExpectationError)):
        CHECKS[block.key](block.text.replace(right, wrong), tmp_path)


@dataclass(frozen=True)
class _Planted:
    text: str
    is_kept: bool


@pytest.mark.parametrize(
    "planted",
    [
        _Planted("```python\nprint(1)\n```\n", False),
        _Planted("<!-- runnable -->\n```python\nprint(1)\n```\n", True),
        _Planted("<!-- no such mark -->\n```python\nprint(1)\n```\n", False),
        _Planted("```sh\nkterm check\n```\n", True),
        _Planted("```sh\nkterm check\nrm -r /\n```\n", False),
        _Planted("```json\n{}\n```\n", False),
    ],
    ids=lambda one: one.text.split("\n")[-4],
)
def test_a_block_that_nothing_looks_after_is_found(planted: _Planted) -> None:
    (block,) = _blocks_of("docs/checks.md", f"Text.\n\n{planted.text}")
    assert bool(_keeper(block)) is planted.is_kept
