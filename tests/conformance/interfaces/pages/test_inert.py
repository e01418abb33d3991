"""Nothing that an adapter, a user or a trace wrote is markup, script or a control character on a page."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.traces.manifest import MANIFEST

from ....support.here import kterm_here
from ....support.hostile.text import HOSTILE, make_hostile, trouble_in
from ....support.mistakes.models.faults import FAULTS
from .made import Element, Reader, cases_in, make_run, read_page, write_page

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

MARKUP = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&quot;</td></style><!--<script>{{7*7}}{%raw%}javascript:"
)
ALLOWED = {
    "a", "article", "body", "button", "caption", "code", "dd", "details", "div", "dl", "dt", "form", "h1", "h2", "h3",
    "head", "header", "html", "input", "label", "li", "link", "main", "meta", "nav", "noscript", "option", "p", "pre",
    "script", "section", "select", "span", "style", "summary", "table", "tbody", "td", "th", "thead", "title", "tr",
    "ul",
}  # fmt: skip
"""The elements of a page."""
ATTRIBUTES = re.compile(
    r"(aria-\w+|class|content|charset|data-\w+|for|hidden|href|http-equiv|id|lang|name|placeholder|rel|role|scope|"
    r"spellcheck|autocomplete|tabindex|title|type|value)"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("plain")
    record = make_run(folder)
    return record, write_page(folder, record)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, plain: tuple[Path, str]) -> str:
    """The page of a copy of a record in which names, versions, messages and reasons are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    make_hostile(plain[0], folder / "some.jsonl", "numpy")
    text = (folder / "some.jsonl").read_text("utf-8")
    text = text.replace(json.dumps(HOSTILE)[1:-1], json.dumps(MARKUP + HOSTILE)[1:-1])
    (folder / "run.jsonl").write_text(text, "utf-8")
    return write_page(folder, folder / "run.jsonl")


def _walk(one: Element) -> Iterator[Element]:
    for part in one.parts:
        if isinstance(part, Element):
            yield part
            yield from _walk(part)


def _assert_inert(text: str) -> Element:
    reader = Reader(text)
    page = reader.root
    assert set(reader.tags) <= ALLOWED
    for one in _walk(page):
        for name, value in one.attributes.items():
            assert ATTRIBUTES.fullmatch(name), name
            if name == "href":
                assert value.startswith(("#", "data:,", "https://", "http://")) or re.fullmatch(r"[\w-]+\.html", value)
        shown = "".join(part for part in one.parts if isinstance(part, str))
        if one.tag not in ("script", "style"):
            assert [line for line in trouble_in(shown) if line.strip()] == []
            assert all(trouble_in(value) == [] for value in one.attributes.values())
    return page


def test_a_plain_page_is_of_these_elements(plain: tuple[Path, str]) -> None:
    _assert_inert(plain[1])


def test_hostile_text_adds_no_element(plain: tuple[Path, str], hostile: str) -> None:
    page = _assert_inert(hostile)
    assert "alert(1)" in page.text  # it is there, as text
    before, after = Reader(plain[1]).tags, Reader(hostile).tags
    assert before == after


def test_the_scripts_are_those_of_any_page(plain: tuple[Path, str], hostile: str) -> None:
    def scripts(text: str) -> list[str]:
        return [one.text for one in read_page(text).every("script") if "type" not in one.attributes]

    assert scripts(hostile) == scripts(plain[1])
    assert len(scripts(hostile)) == 2
    policy = read_page(hostile).first("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_the_cases_of_a_hostile_record_have_plain_text(hostile: str) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | dict):
            for one in value.items() if isinstance(value, dict) else value:
                yield from texts(list(one) if isinstance(one, tuple) else one)

    found = {text for case in cases_in(read_page(hostile)) for text in texts(case)}
    assert any("alert(1)" in text for text in found)
    assert [text[:80] for text in found if trouble_in(text)] == []


def test_the_page_of_a_hostile_trace_is_inert(tmp_path: Path) -> None:
    FAULTS[0].trace().save(tmp_path / "trace")
    path, name = tmp_path / "trace" / MANIFEST, MARKUP + HOSTILE
    text = json.loads(path.read_text())
    text |= {"framework": name, "framework_version": name, "notes": [name]}
    for step in text["steps"]:
        for number, layer in enumerate(step["layers"]):
            layer |= {"name": f"{number}{name}", "not_captured": [name]}
    path.write_text(json.dumps(text))
    done = kterm_here("judge", "trace", "--report", "trace.jsonl", "-n", "0", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    page = _assert_inert(write_page(tmp_path, tmp_path / "trace.jsonl"))
    assert "alert(1)" in page.text


def test_names_of_files_are_text(tmp_path: Path, plain: tuple[Path, str]) -> None:
    names = ["<img src=x>.jsonl", "b&quot;'.jsonl"]
    for name in names:
        shutil.copy(plain[0], tmp_path / name)
    text = write_page(tmp_path, *(tmp_path / name for name in names))
    page = _assert_inert(text)
    assert [one.text for one in page.first("nav").every("a")][:2] == names
