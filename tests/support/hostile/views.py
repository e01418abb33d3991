"""Records of made-up verdicts, text that no view may obey, and pages of Markdown as a parser reads them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.plan import Options
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.checks.whole_run.moments import Moments
from kterm.conformance.diagnosis.causes import causes
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.parts import finish, write_part
from kterm.conformance.records.record import Record, read

HOSTILE = (
    "::error title=t::x\r\n::set-env name=a::b\n[bold red]m[/] \x1b[2J\x1b]0;t\x07 \x00 \u202e\u2066 \ud800 \ufffe "
    "<script>alert(1)</script> ]]> &amp; | `a``b` [x](http://e.vil) ![](http://e.vil/a.png) @user #1 www.e.vil a@b.cc "
    "$x$ :smile: *b* _i_ ~~s~~ \\| <!-- GH-1 ##[error]x %0A::error::y"
)
"""Rich's markup, control and bidi characters, half a character, workflow commands, Markdown, HTML and XML."""

ADAPTER = replace(describe(Numpy(), "numpy"), name="a", version="1")


def make_record(
    folder: Path,
    verdicts: Sequence[Sequence[Verdict]],
    adapter: Description = ADAPTER,
    missing: Sequence[str] = (),
    entries: Sequence[Expectation] = (),
    level: str = "componentwise",
    moments: Moments | None = None,
) -> Record:
    """A record, in `folder`, of the verdicts on each case of one adapter. `missing` are cases without a result."""
    header = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": [], "level": level}
    described = {**adapter.to_json(), "structures": 1, "unsupported": []}
    for number, some in enumerate(verdicts):
        write_part(folder, number, adapter.name, [some], entries, None if number else moments)
    cases = [(adapter.name, case) for case in (*(some[0].case for some in verdicts), *missing)]
    audit = ExpectationAudit(tuple(entries), (adapter,), Options(), False)
    found = causes((adapter.name, some) for some in verdicts)
    finish(folder / "record.jsonl", folder, {**header, "adapters": [described]}, cases, audit, found)
    return read(folder / "record.jsonl", against_plan=False)


def hostile_record(folder: Path) -> Record:
    """A record in which whatever an adapter or a user writes is hostile, and some of it a megabyte long: a name, a
    version, a spec, messages of failures and errors, and the reason of an expectation.
    """
    name = HOSTILE.replace("\ud800", "\\ud800")  # as a host of an adapter sends it
    adapter = replace(ADAPTER, name=name, version=HOSTILE, spec=HOSTILE, mutant=HOSTILE, device=HOSTILE)
    known = Expectation("1", framework="numpy", reason=f"{HOSTILE} {'r' * 10**6}", check="error")
    case = "4x3-tanh-b2-none-f64-normal-s"
    wrong = Verdict(f"{case}0", "contract", "observation", "wrong", message=HOSTILE)
    died = Verdict(f"{case}1", "contract", "program", "errored", message=f"{HOSTILE} {'m' * 10**6}")
    expected = Verdict(f"{case}2", "error", "E", "wrong", 5.0, (), 1e5, 1.0, 2.0, 0.5, expectation="1")
    verdicts = [[wrong], [died], [expected], [Verdict(f"{case}3", "contract", "observation", "pass")]]
    return make_record(folder, verdicts, adapter, [f"{case}4"], [known])


ALLOWED = {
    "heading_open", "heading_close", "paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close",
    "list_item_open", "list_item_close", "inline", "fence", "table_open", "table_close", "thead_open", "thead_close",
    "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close",
}  # fmt: skip
CODE = ("<code>", "</code>")
LINKED = re.compile(r"@|#\w|://|www\.|GH-|\$|:\w+:|[<>`~]")
"""What GitHub and GitLab make something of in text, and not in code."""


def parsed(page: str) -> list[Token]:
    """The blocks of a page, by a parser that is not the suite's own."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)


def shown(token: Token) -> Iterator[tuple[str, bool]]:
    """The text of a block as a reader sees it, each piece with whether it is code."""
    is_code = False
    for one in token.children or ():
        if one.type == "html_inline":
            assert one.content in CODE
            is_code = one.content == CODE[0]
        elif one.type in ("text", "code_inline"):
            yield one.content, is_code or one.type == "code_inline"
        else:
            assert one.type in ("strong_open", "strong_close", "softbreak"), one.type


def assert_inert(page: str) -> None:
    """That a page has no links, images, HTML, mentions or workflow commands, and no character that is not printed."""
    assert all(line.isprintable() for line in page.split("\n"))
    blocks = parsed(page)
    assert {one.type for one in blocks} <= ALLOWED
    pieces = [piece for one in blocks if one.type == "inline" for piece in shown(one)]
    assert pieces
    assert [text for text, is_code in pieces if not is_code and LINKED.search(text)] == []
    assert not re.search(r"^\s*::", page, re.M)
