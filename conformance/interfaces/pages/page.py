"""One page: what it holds, and its text as HTML."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from ...records.form.text import printable
from .charts import Chart, can_draw, load_scripts
from .failures import Failure
from .overview import Matrix, describe_counts
from .tables import Table

_PACKAGE = __name__.rpartition(".")[0]
_GLYPHS = {"fail": "✗", "known": "≈", "pass": "✓", "undecided": "?", "none": "·"}
"""A grade is shown by a sign too, for who does not see colours."""


@dataclass(frozen=True)
class Link:
    """A link to another page of the same folder."""

    text: str
    file: str


@dataclass(frozen=True)
class Page:
    """What a page shows. `verdicts` are lines with whether they are good news. `data` is what its script works on: the
    cases, compressed, and what names each adapter to a command.
    """

    title: str
    verdicts: tuple[tuple[str, bool], ...] = ()
    facts: str = ""
    links: tuple[Link, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    failures: tuple[Failure, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    cases: int = 0
    shown_cases: int = 0
    packed: str = ""
    commands: Mapping[str, str] | None = None
    targets: Mapping[int, str] = field(default_factory=dict)
    """The pages that verdicts lead to, by the index of the verdict."""


def render(page: Page) -> str:
    """The page as HTML. Nothing of a record is markup in it, and its scripts are the only ones that a browser runs: its
    policy names them by their hashes, and allows no request.
    """
    scripts = [_read("page.js")]
    if page.charts:
        scripts.insert(0, load_scripts())
    # A script ends at the first </script, wherever it stands.
    scripts = [re.sub("</(?=script)", r"<\\/", text, flags=re.IGNORECASE) for text in scripts]
    hashes = " ".join(map(_hash, scripts))
    return _environment().get_template("page.html.j2").render(
        page=page,
        policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'",
        scripts=[Markup(text) for text in scripts],
        style=Markup(_read("style.css")),
        charts=Markup(_to_script([{"id": one.id, "spec": one.spec} for one in page.charts])),
        commands=Markup(_to_script({printable(name): printable(one) for name, one in (page.commands or {}).items()})),
        packed=Markup(page.packed),
        glyphs=_GLYPHS,
        describe=describe_counts,
        can_draw=can_draw(),
    )  # fmt: skip


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _to_script(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element, or begins another."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return files(_PACKAGE).joinpath("static", name).read_text("utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files(_PACKAGE).joinpath("templates", name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"link": _with_links, "quote": _quote}
    return environment


def _finalize(value: Any) -> Any:
    """Text as a page may have it: without characters that control, hide or turn the text around them."""
    return printable(value) if type(value) is str else value


def _quote(text: str) -> str:
    return quote(printable(text), safe="")


_ADDRESS = re.compile(r"https?://[^\s()<>\"']+")


def _with_links(text: str) -> Any:
    """Text in which addresses are links. All of it is escaped."""
    shown, parts, at = printable(text), [], 0
    for found in _ADDRESS.finditer(shown):
        parts.append(escape(shown[at : found.start()]))
        parts.append(Markup('<a href="{0}" rel="noreferrer noopener">{0}</a>').format(found[0]))
        at = found.end()
    return Markup("").join([*parts, escape(shown[at:])])
