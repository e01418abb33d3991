"""Where a printed address leads: to a page of the site and a heading on it, or to a file of the repository."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import typer

from kterm.conformance.commands.cli import app
from kterm.conformance.records.views.links import DOCUMENTATION, REPOSITORY

from .. import ROOT

FROM_THE_ROOT = {"index": "README.md", "contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""The pages of the site that are files at the root of the repository, by their names on the site."""


def addresses(text: str) -> list[str]:
    """The addresses in a text that are the project's own."""
    found = re.findall(r"https?://[^\s\"'`<>)\]]+", text)
    return [one.rstrip(".,:;") for one in found if one.startswith((DOCUMENTATION.rstrip("/"), REPOSITORY))]


def anchors(page: str) -> set[str]:
    """The fragments that the host of the repository, and the site, give to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def trouble_with(address: str) -> str:
    """What is wrong with one of the project's own addresses; empty if it leads somewhere."""
    where, _, fragment = address.partition("#")
    if where.startswith(REPOSITORY):
        rest = where.removeprefix(REPOSITORY).strip("/")
        found = re.fullmatch(r"(blob|tree)/main/(.+)", rest)
        if found is None:
            return "" if rest in ("", "issues") else f"{address}: neither the repository nor a file of it"
        path = ROOT / unquote(found[2])
        return "" if path.exists() and path.is_dir() == (found[1] == "tree") else f"{address}: there is no {found[2]}"
    name = where.removeprefix(DOCUMENTATION)
    if name in ("", DOCUMENTATION.rstrip("/")):
        return f"{address}: the first page has no such heading" if fragment else ""
    if name.startswith("images/"):
        return "" if (ROOT / "docs" / name).is_file() else f"{address}: the site has no such image"
    if not name.endswith(".html"):
        return f"{address}: a page ends with .html"
    page = name.removesuffix(".html")
    path = ROOT / FROM_THE_ROOT.get(page, f"docs/{page}.md")
    if not path.exists():
        return f"{address}: the site has no such page"
    if fragment and fragment not in anchors(path.read_text(encoding="utf-8")):
        return f"{address}: the page has no such heading"
    return ""


def command_names() -> list[tuple[str, ...]]:
    """The names of all commands, each with those of its groups before it."""
    return sorted(_names(typer.main.get_command(app)))


def _names(group: Any, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _names(command, *names, name)
        else:
            yield (*names, name)
