"""The site, built as `.ci/run` builds it, and what a browser would find in its pages."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from .. import ROOT

LOADING_RELATIONS = {
    "apple-touch-icon", "dns-prefetch", "icon", "manifest", "modulepreload", "preconnect", "prefetch", "preload",
    "stylesheet",
}  # fmt: skip
"""The relations of a <link> for which a browser asks its host for something."""
LOADING_ATTRIBUTES = {"background", "data", "poster", "src"}
COUNTED = ("blockquote", "h1", "h2", "h3", "h4", "img", "li", "ol", "p", "pre", "table", "td", "tr", "ul")


def build(folder: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout into a folder. A warning is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@dataclass
class Html:
    """What a page holds: the anchors, the links, what it loads, and how often each element occurs in its article."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class _Reader(HTMLParser):
    def __init__(self, found: Html, is_article: bool) -> None:
        super().__init__()
        self._found, self._inside = found, is_article

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "article" and "md-content__inner" in given.get("class", ""):
            self._inside = True
        if self._inside and tag in COUNTED:
            self._found.counts[tag] += 1
        self._found.anchors |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        if tag == "a" and "href" in given:
            self._found.links.append(given["href"])
        if tag == "link" and LOADING_RELATIONS & set(given.get("rel", "").split()):
            self._found.loads.append(given.get("href", ""))
        self._found.loads += [given[name] for name in LOADING_ATTRIBUTES if name in given and tag != "a"]
        self._found.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self._found.loads += css_loads(given.get("style", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._inside = False


def read_html(text: str, is_article: bool = False) -> Html:
    """What is in the HTML of a page, or of an article alone."""
    found = Html()
    _Reader(found, is_article).feed(text)
    for style in re.findall(r"<style[^>]*>(.*?)</style>", text, re.S):
        found.loads += css_loads(style)
    return found


def css_loads(text: str) -> list[str]:
    """The addresses that a style sheet loads."""
    return re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(r"@import\s+[\"']([^\"']+)", text)


def is_elsewhere(address: str) -> bool:
    """Whether a browser would ask another host for this."""
    return bool(re.match(r"(https?:)?//|ftp:|wss?:", address))


def place(address: str, page: str) -> tuple[str, str]:
    """The file of the site and the fragment that a link on a page leads to."""
    where, fragment = urldefrag(urljoin(f"http://site/{page}", address))
    return where.removeprefix("http://site/") or "index.html", fragment
