"""Workflow commands say what keeps a run from conforming, each in one line that says nothing else to a runner."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.record import Record
from kterm.conformance.records.views.annotations import Annotation, annotate, to_commands
from kterm.conformance.records.views.junit import to_junit

from ....support.frameworks.biased import made_moments
from ....support.hostile.views import ADAPTER, HOSTILE, hostile_record, make_record

CASE = "4x3-tanh-b2-none-f64-normal-s"
HERE = Path("/home/runner/work/r/r")
PASS = [Verdict(f"{CASE}0", "forward", "z_1", "pass", 0.5, power=99.0)]
WRONG = [Verdict(f"{CASE}1", "k_terms", "k_1", "wrong", 3.0, (0, 0), 1e5, 1.0, 2.0, 0.5, activation="tanh")]
COARSE = [Verdict(f"{CASE}0", "error", "E", "inconclusive")]


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """What GitHub's runner reads in a line: the command, its properties, and the text after it, each unescaped."""
    assert line.startswith("::")
    head, _, data = line[2:].partition("::")
    name, _, rest = head.partition(" ")
    properties = dict(one.split("=", 1) for one in rest.split(","))
    return name, {key: _unescaped(one, ":,") for key, one in properties.items()}, _unescaped(data)


def _unescaped(text: str, also: str = "") -> str:
    for c in f"\r\n{also}%":
        text = text.replace(f"%{ord(c):02X}", c)
    return text


def commands(record: Record) -> list[tuple[str, dict[str, str], str]]:
    return [read_command(line) for line in to_commands(annotate(record, HERE, HERE))]


def test_a_failing_run_has_an_error_for_each_cause_and_its_verdict_as_a_notice(tmp_path: Path) -> None:
    record = make_record(tmp_path, [PASS, WRONG], missing=[f"{CASE}2"])
    (_, first, text), (_, second, more), (kind, _, verdict) = (
        one for one in commands(record) if one[0] != "warning"
    )  # the adapter declares more than these cases have
    assert first == {"title": "a: k_terms wrong in 1 case"}
    assert f"  kterm replay {CASE}1 numpy" in text.splitlines()
    assert (second, more) == ({"title": "no result for 1 of 3 cases"}, f"such as {CASE}2 on a")
    assert (kind, verdict) == ("notice", "FAIL a 1: 3 cases, 1 failure, 1 without a result")


@pytest.mark.parametrize("entries", [[], [Expectation("1", adapter="a", reason="r", check="forward")]])
@pytest.mark.parametrize("verdicts", [[PASS], [PASS, WRONG], [WRONG], [COARSE]])
@pytest.mark.parametrize("missing", [[], [f"{CASE}9"]])
@pytest.mark.parametrize("outward", [0.0, -0.72])
def test_there_is_an_error_exactly_if_the_run_does_not_conform(
    entries: list[Expectation],
    verdicts: list[list[Verdict]],
    missing: list[str],
    outward: float,
    tmp_path: Path,
) -> None:
    adapter = replace(ADAPTER, dtypes=("f64", "f32"))
    record = make_record(tmp_path, verdicts, adapter, missing, entries, moments=made_moments(outward))
    errors = [one for one in annotate(record, HERE, HERE) if one.kind == "error"]
    assert bool(errors) is not record.conforms
    assert "the output of the run says why" not in str(errors)


@pytest.mark.parametrize("state", ["stale", "unmatched", "met", "open"])
def test_an_expectation_that_fails_the_run_is_an_error(state: str, tmp_path: Path) -> None:
    record = make_record(tmp_path, [PASS], entries=[Expectation("1", adapter="a", reason="r", check="error")])
    audited = {"id": "1", "cases": 1, "findings": 0, "state": state, "message": "entry 1: remove it"}
    record = replace(record, footer={**record.footer, "expectations": [audited]})
    errors = [one for one in commands(record) if one[0] == "error"]
    due = [("error", {"title": f"an expectation is {state}"}, "entry 1: remove it")]
    assert errors == ([] if state in ("met", "open") else due)
    assert record.conforms is not bool(errors)
    ends = {
        one.get("name"): one[0].get("type") for one in Xml.fromstring(to_junit(record)).iter("testcase") if len(one)
    }
    assert ends == ({} if state in ("met", "open") else {"expectation 1": state})


def test_what_a_level_lets_pass_is_a_warning(tmp_path: Path) -> None:
    coarse = replace(WRONG[0], normwise=0.25, relative=4e-9, below_level=True)
    found = commands(make_record(tmp_path, [PASS, [coarse]], level="normwise"))
    titles = {(kind, properties["title"]) for kind, properties, _ in found}
    assert not any(kind == "error" for kind, _ in titles)
    assert {("warning", "a: k_terms wrong in 1 case"), ("warning", "componentwise only")} <= titles


def test_what_an_adapter_wrote_is_no_command(tmp_path: Path) -> None:
    lines = [*to_commands(annotate(hostile_record(tmp_path), HERE, HERE))]
    assert all(line.isprintable() for line in lines)
    for line in lines:
        name, properties, text = read_command(line)
        assert name in ("error", "warning", "notice")
        assert properties.keys() == {"title"}
        assert len(line) < 20_000
        assert all(one.isprintable() for one in text.splitlines())
    # What is escaped is what was said: no text ends a property, and none is cut at a sign of its own.
    said = "\n".join(text for _, _, text in map(read_command, lines))
    assert "%0A::error::y" in said
    assert HOSTILE.split("\r")[0].removeprefix(":") in said


@pytest.mark.parametrize("text", ["a%b:c,d\r\ne", "%0A", "%25", "x::y", "a=b, file=/etc/x"])
def test_an_escaped_text_reads_back(text: str) -> None:
    (line,) = to_commands([Annotation("error", text.replace("\r\n", " "), (*text.splitlines(),), "a,b:c.py", 3)])
    assert "\n" not in line
    assert read_command(line) == (
        "error",
        {"file": "a,b:c.py", "line": "3", "title": text.replace("\r\n", " ")},
        text.replace("\r\n", "\n"),
    )


def test_what_github_does_not_show_is_counted() -> None:
    for count, shown in ((10, 10), (11, 10), (30, 10)):
        lines = [*to_commands([Annotation("error", f"t{i}", ("m",)) for i in range(count)])]
        assert len(lines) == shown
        last = read_command(lines[-1])
        more = count - 9
        expected = ("t9", "m") if count == 10 else (f"and {more} more", last[2])
        assert (last[1]["title"], last[2]) == expected


@pytest.mark.parametrize(
    ("spec", "message", "due"),
    [
        ("ports/adapter.py:Port", "ValueError: no (ports/adapter.py:12)", ("ports/adapter.py", 12)),
        ("ports/adapter.py:Port", "ValueError: no (torch/nn.py:12)", ("ports/adapter.py", None)),
        ("../adapter.py:Port", "ValueError: no (adapter.py:12)", ("", 12)),
        (f"{HERE}/adapter.py:Port", "it died", ("adapter.py", None)),
        ("numpy", "ValueError: no (adapter.py:12)", ("", None)),
        ("command:adapter.py", "it died", ("", None)),
    ],
)
def test_a_file_is_named_where_there_is_one(
    spec: str, message: str, due: tuple[str, int | None], tmp_path: Path
) -> None:
    died = [Verdict(f"{CASE}1", "contract", "program", "errored", message=message)]
    record = make_record(tmp_path, [PASS, died], replace(ADAPTER, spec=spec))
    (error,) = (one for one in annotate(record, HERE, HERE) if one.kind == "error")
    assert (error.file, error.line) == due


def test_no_command_is_without_its_kind() -> None:
    (line,) = to_commands([Annotation("notice", "kterm", ("PASS",))])
    assert re.fullmatch(r"::notice title=kterm::PASS", line)
