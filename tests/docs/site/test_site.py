"""The site is built without a warning, loads nothing from elsewhere, and shows what the pages say."""

import re
import shutil
from functools import cache
from pathlib import Path

import pytest

import kterm

from .. import ROOT, page
from . import FROM_THE_ROOT, addresses, trouble_with
from .built import COUNTED, Html, build, css_loads, is_elsewhere, place, read_html

pytest.importorskip("material", reason="the extra docs is not installed")
pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")

PAGES = sorted({path.stem for path in (ROOT / "docs").glob("*.md")} | set(FROM_THE_ROOT))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Html]:
    """What is in each page of the site, by its path."""
    return {path.relative_to(site).as_posix(): read_html(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_on_the_site(pages: dict[str, Html]) -> None:
    assert set(pages) == {f"{name}.html" for name in (*PAGES, "404")}


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[str, Html]) -> None:
    loaded = {one for found in pages.values() for one in found.loads}
    sheets = {path: css_loads(path.read_text("utf-8")) for path in site.rglob("*.css")}
    assert len(loaded) > 3
    assert [one for one in loaded if is_elsewhere(one)] == []
    assert [(path.name, one) for path, some in sheets.items() for one in some if is_elsewhere(one)] == []
    # What the theme's script would ask the host of a repository, and load to draw diagrams, if a page had either.
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert 'data-md-component="source"' not in text
        assert 'class="mermaid"' not in text


def test_every_file_that_a_page_loads_is_there(site: Path, pages: dict[str, Html]) -> None:
    for name, found in pages.items():
        if name != "404.html":  # it is shown for any path, and its own are absolute
            for one in found.loads:
                assert one.startswith("data:") or (site / place(one, name)[0]).is_file(), f"{name} loads {one}"


def test_every_link_leads_to_a_page_and_an_anchor_or_to_a_file(site: Path, pages: dict[str, Html]) -> None:
    trouble: list[str] = []
    for name, found in pages.items():
        for one in found.links:
            if is_elsewhere(one):
                trouble += [f"{name}: {what}" for own in addresses(one) if (what := trouble_with(own))]
            elif name != "404.html" and not one.startswith("mailto:"):
                where, fragment = place(one, name)
                if not (site / where).is_file():
                    trouble.append(f"{name}: there is no {one}")
                elif fragment and where in pages and fragment not in pages[where].anchors:
                    trouble.append(f"{name}: there is no anchor {one}")
    assert trouble == []


@cache
def _as_commonmark(name: str) -> Html:
    from markdown_it import MarkdownIt

    text = page(FROM_THE_ROOT.get(name, f"docs/{name}.md"))
    return read_html(MarkdownIt("commonmark").enable("table").render(text), is_article=True)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "api"])
def test_a_page_has_the_same_parts_as_on_the_host_of_the_repository(name: str, pages: dict[str, Html]) -> None:
    # Python's Markdown differs from CommonMark, such as in what is a list or belongs to one.
    shown = pages[f"{name}.html"].counts
    assert {tag: shown[tag] for tag in COUNTED} == {tag: _as_commonmark(name).counts[tag] for tag in COUNTED}


def test_every_public_name_is_described(pages: dict[str, Html]) -> None:
    named = re.findall(r"^::: kterm\.(\w+)$", page("docs/api.md"), re.M)
    assert sorted(named) == sorted(set(kterm.__all__) - {"__version__"})
    assert {f"kterm.{name}" for name in named} <= pages["api.html"].anchors


def test_every_public_name_has_a_description(site: Path) -> None:
    text = (site / "api.html").read_text("utf-8")
    for name in sorted(set(kterm.__all__) - {"__version__"}):
        _, _, after = text.partition(f'id="kterm.{name}"')
        assert re.search(r"<p>[A-Z`<]", after.partition('<div class="doc doc-object')[0]), f"kterm.{name}"


def test_mistakes_in_a_page_end_the_build(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for name in ("docs", "reference", "adapters", "conformance", "src"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", *FROM_THE_ROOT.values()):
        shutil.copy(ROOT / name, copy)
    planted = {
        "[a](no-such-page.md)": "glossary.md links to no-such-page.md",
        "[a](../reference/no_such_file.py)": "glossary.md links to ../reference/no_such_file.py",
        "[a](../../elsewhere.py)": "glossary.md links to ../../elsewhere.py",
        "::: kterm.no_such_name": "kterm.no_such_name could not be found",
    }
    with (copy / "docs" / "glossary.md").open("a", encoding="utf-8") as file:
        file.write("\n" + "\n\n".join(planted) + "\n")
    (copy / "docs" / "orphan.md").write_text("# A page that no menu has\n", encoding="utf-8")
    done = build(tmp_path / "site", copy)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert [words for words in planted.values() if words not in said] == []
    # An object that does not exist ends the build at once, before sections and menus are looked at.
    (copy / "docs" / "glossary.md").write_text("[a](checks.md#no-such-heading)\n", encoding="utf-8")
    done = build(tmp_path / "site", copy)
    assert done.returncode == 1
    assert "does not contain an anchor '#no-such-heading'" in done.stderr
    assert "orphan.md" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://a.b/c.js"></script>',
        '<link rel="preconnect" href="//a.b">',
        '<img alt="" srcset="x.png 1x, https://a.b/c.png 2x"/>',
        '<div style="background: url(https://a.b/c.png)"></div>',
        '<style>@import "https://a.b/c.css";</style>',
        '<object data="https://a.b/c.svg"></object>',
    ],
)
def test_what_would_be_loaded_from_elsewhere_is_found(text: str) -> None:
    assert any(map(is_elsewhere, read_html(text).loads))
    assert not any(map(is_elsewhere, read_html('<a href="https://a.b">a</a><img src="b.png">').loads))
