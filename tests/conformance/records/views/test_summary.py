"""The page of Markdown says what the record says, and what adapters and users wrote means nothing in it."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.records.form.markdown import code, fenced, inert, table
from kterm.conformance.records.form.text import printable, shorten
from kterm.conformance.records.record import read
from kterm.conformance.records.views.summary import join_parts, summarize

from ....support.hostile.views import ALLOWED, HOSTILE, assert_inert, hostile_record, make_record, parsed, shown

TEXTS = [
    HOSTILE, *HOSTILE.split(" "), "1. a", "- a", "# a", "    a", "=", "a ", "`", "``` ", "a|b", "\\", "\\|", "|",
    "www.a.b", "a_b_c", "**a**", "e@f.gh", "http://a.b", "1e-05 → 2.3e+14", "no f' in hidden layers", "&copy;", "---",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_text_is_shown_as_it_is(text: str) -> None:
    for page in (
        inert(text),
        code(text),
        f"**a {inert(text)}**",
        f"- {inert(text)}",
        "\n".join(table(["a"], [[text]])),
    ):
        blocks = [one for one in parsed(page) if one.type == "inline"]
        said = "".join(piece for piece, _ in shown(blocks[-1]))
        said = said.removeprefix("a ") if page.startswith("**") else said
        assert said.strip() == printable(text).strip(), page
        if "<" not in text:
            assert {one.type for one in parsed(page)} <= ALLOWED
    (block,) = (one for one in parsed(fenced([text, "more"])) if one.type != "inline")
    assert block.content == f"{printable(text)}\nmore\n"


def test_what_is_plain_is_no_code() -> None:
    assert inert("PASS torch 2.13.0: 21,272 cases, 0 failures") == "PASS torch 2.13.0: 21,272 cases, 0 failures"
    assert inert("weight_gradients") == r"weight\_gradients"


def test_a_long_text_is_cut_and_its_length_is_said() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("a\n\n", 3) == r"a\n... (3 characters)"
    assert shorten("a" * 10**6, 3) == "aaa... (1,000,000 characters)"
    assert len(inert("a" * 10**6)) < 2100
    assert len(fenced(["a" * 10**6])) < 2100


def test_what_an_adapter_wrote_is_inert_in_a_summary(tmp_path: Path) -> None:
    page = summarize(hostile_record(tmp_path))
    assert_inert(page)
    headings = [after.content for before, after in pairwise(parsed(page)) if before.type == "heading_open"]
    assert headings[1:] == ["Checks", "Causes", "Known divergences", "Accounting"]
    assert len(page) < 50_000
    assert "characters)" in page
    cells = Counter(one.type for one in parsed(page) if one.type in ("tr_open", "td_open", "th_open"))
    assert cells["th_open"] + cells["td_open"] == 2 * cells["tr_open"]


def test_a_page_holds_what_fits(tmp_path: Path) -> None:
    record = make_record(tmp_path, [[Verdict("4x3-tanh-b2-none-f64-normal-s7", "forward", "z_1", "pass", 0.5)]])
    whole = summarize(record)
    assert whole.startswith("## kterm: conforms (componentwise)\n\n- **PASS a 1: 1 case, 0 failures**\n\n")
    for most in range(0, len(whole.encode()) + 2, 7):
        page = summarize(record, None, most)
        assert len(page.encode()) <= most
        assert page == whole if most >= len(whole.encode()) + 1 else not page or "further parts are left out" in page
        assert page.count("```") % 2 == 0
    assert join_parts(["é" * 600], 1000) == (
        "1 further parts are left out: a summary may be no longer; the record has all.\n"
    )


def test_the_table_counts_what_the_lines_of_the_record_say(tmp_path: Path) -> None:
    one, two = "4x3-tanh-b2-none-f64-normal-s0", "4x3-tanh-b2-none-f64-normal-s1"
    make_record(
        tmp_path,
        [
            [Verdict(one, "forward", "z_1", "pass", 0.5, power=9e9), Verdict(one, "error", "E", "inconclusive", 0.1)],
            [
                Verdict(two, "forward", "z_1", "wrong", 3.0, (0, 0), 1e5, 1.0, 2.0, 0.5, activation="tanh"),
                Verdict(two, "error", "E", "blocked", message="behind forward"),
            ],
        ],
    )
    path = tmp_path / "record.jsonl"
    assert table_of(summarize(read(path, against_plan=False))) == {"a": counts_in(path)["a"]}


def counts_in(path: Path) -> dict[str, dict[str, Counter[str]]]:
    """In how many cases each check ended how, by adapter, from the lines of cases alone."""
    found: dict[str, dict[str, Counter[str]]] = {}
    group: dict[str, object] = {}
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if line["kind"] == "group":
            group = line
        if line["kind"] == "case":
            own = found.setdefault(str(group["adapter"]), {})
            checks = [*line.get("checks", group["checks"]), *(name for name in ("descent", "batch") if name in line)]
            ends = {**dict.fromkeys(checks, "passed"), **line.get("statuses", {})}
            ends |= dict.fromkeys(line.get("blocked", ()), "blocked")
            for check, end in ends.items():
                own.setdefault(check, Counter())[end] += 1
    return found


def table_of(page: str) -> dict[str, dict[str, Counter[str]]]:
    """The table of checks on a page, as counts by adapter and check."""
    rows: list[list[str]] = []
    blocks = parsed(page)
    for before, one in pairwise(blocks):
        if before.type == "tr_open":
            rows.append([])
        if one.type == "inline" and before.type in ("td_open", "th_open"):
            rows[-1].append("".join(text for text, _ in shown(one)))
    (_, *names), *others = rows
    found: dict[str, dict[str, Counter[str]]] = {name: {} for name in names}
    for check, *cells in others:
        for name, cell in zip(names, cells, strict=True):
            if cell:
                words = cell.replace(",", "").split()
                found[name][check] = Counter(dict(zip(words[1::2], map(int, words[::2]), strict=True)))
    return found
