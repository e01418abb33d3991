"""Records and their pages for the tests, and a reader of pages that is none of the suite's own."""

import base64
import gzip
import json
from collections import defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ....support.here import kterm_here

MUTANT = "no-slope-hidden"
VOID = {"meta", "link", "input", "br", "img", "hr"}
Rows = list[dict[str, Any]]


def make_run(folder: Path) -> Path:
    """The record of a run on numpy, in which a mistake is planted in the last of two adapters."""
    record = folder / "run.jsonl"
    done = kterm_here(
        "check", "numpy", "--profile", "quick", "--mutant", MUTANT, "-n", "0", "-o", str(record),
        "--activation", "tanh", "--activation", "relu", "--activation", "identity", folder=folder,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return record


def write_page(folder: Path, *records: Path, name: str = "index.html") -> str:
    """The text of a page of `kterm report`."""
    done = kterm_here("report", *map(str, records), "-o", "report", folder=folder)
    assert done.returncode == 0, done.stderr
    return (folder / "report" / name).read_text("utf-8")


def lines_of(record: Path) -> Rows:
    """The lines of a record as they are."""
    return [json.loads(line) for line in record.read_text("utf-8").splitlines()]


@dataclass
class Element:
    """An element of a page with the elements and texts in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list["Element | str"] = field(default_factory=list)

    def every(self, tag: str, **attributes: str) -> list["Element"]:
        """All elements below it of this kind, with these attributes."""
        found = []
        for one in self.parts:
            if isinstance(one, Element):
                if one.tag == tag and all(one.attributes.get(k) == v for k, v in attributes.items()):
                    found.append(one)
                found += one.every(tag, **attributes)
        return found

    def first(self, tag: str, **attributes: str) -> "Element":
        """The first of them."""
        return self.every(tag, **attributes)[0]

    @property
    def text(self) -> str:
        """All text in it, with blanks as one."""
        raw = " ".join(one if isinstance(one, str) else one.text for one in self.parts)
        return " ".join(raw.split())

    def rows(self) -> list[list[str]]:
        """The cells of the body of a table below it."""
        return [
            [one.text for one in row.parts if isinstance(one, Element)]
            for body in self.every("tbody")
            for row in body.every("tr")
        ]


class Reader(HTMLParser):
    """Reads a page as a tree."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("root")
        self._open = [self.root]
        self.tags: dict[str, int] = defaultdict(int)
        self.feed(text)
        self.close()
        assert self._open == [self.root], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        assert len({name for name, _ in attrs}) == len(attrs), "an attribute occurs twice"
        one = Element(tag, {name: value or "" for name, value in attrs})
        self.tags[tag] += 1
        self._open[-1].parts.append(one)
        if tag not in VOID:
            self._open.append(one)

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self._open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        """No page has one."""
        raise AssertionError(f"a comment: {data[:80]}")


def read_page(text: str) -> Element:
    """A page as a tree."""
    return Reader(text).root


def cases_in(page: Element) -> list[list[Any]]:
    """The cases that the script of a page works on."""
    packed = page.first("script", id="case-data").text
    return [json.loads(line) for line in gzip.decompress(base64.b64decode(packed)).splitlines()]


def specs_in(page: Element) -> dict[str, dict[str, Any]]:
    """The charts of a page, by id."""
    return {one["id"]: one["spec"] for one in json.loads(page.first("script", id="chart-data").text)}
