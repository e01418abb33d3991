"""JUnit XML has a test for each case, counts as the record does, and is valid whatever adapters wrote."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.record import Record
from kterm.conformance.records.views.junit import to_junit

from ....support.frameworks.biased import made_moments
from ....support.hostile.views import ADAPTER, hostile_record, make_record

CASE = "4x3-tanh-b2-none-f64-normal-s"
# The elements of Jenkins' schema, junit-10.xsd of its xUnit plugin: what may be in each, and its attributes.
INSIDE = {
    "testsuites": {"testsuite"},
    "testsuite": {"testsuite", "properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
NEEDED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "property": {"name", "value"},
    "testcase": {"name"},
}
ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    "testcase": {"time", "classname", "group"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
}


def valid(record: Record) -> Xml.Element:
    """The document, once each of its elements is one that Jenkins' schema allows where it stands."""
    root = Xml.fromstring(to_junit(record))
    assert root.tag == "testsuites"
    for one in root.iter():
        assert {child.tag for child in one} <= INSIDE.get(one.tag, set())
        needed = NEEDED.get(one.tag, set())
        assert needed <= {*one.attrib} <= needed | ALLOWED.get(one.tag, set())
        assert one.tag in ("failure", "error", "skipped") or not (one.text or "").strip()
        assert not (one.tail or "").strip()
    return root


def ends_in(path: Path) -> Counter[str]:
    """How the cases ended, from the lines of a record alone."""
    order = ("errored", "failed", "blocked", "expected", "unsupported", "inconclusive", "passed")
    found: Counter[str] = Counter()
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if line["kind"] == "case":
            ends = {*line.get("statuses", {}).values(), *(["blocked"] if line.get("blocked") else ()), "passed"}
            found[min(ends, key=order.index)] += 1
        if line["kind"] == "footer":
            found["missing"] = len(line["unanswered"])
    return found


def assert_counts(root: Xml.Element, found: Counter[str]) -> None:
    """That the tests in the suites of groups end as these cases, and each suite says how many do."""
    *groups, _ = root
    tests = [test for suite in groups for test in suite.iter("testcase")]
    assert len(tests) == sum(found.values())
    ends = Counter(one[0].tag if len(one) else "passed" for one in tests)
    skipped = sum(found[name] for name in ("expected", "inconclusive", "unsupported", "blocked"))
    assert ends["failure"] == found["failed"]
    assert ends["error"] == found["errored"] + found["missing"]
    assert ends["skipped"] == skipped
    assert ends["passed"] == found["passed"]
    assert len({(one.get("classname"), one.get("name")) for one in tests}) == len(tests)
    for suite in root.iter():
        if suite.tag in ("testsuite", "testsuites"):
            inside = Counter(one.tag for one in suite.iter())
            counts = [inside[name] for name in ("testcase", "failure", "error")]
            assert [int(suite.attrib[name]) for name in ("tests", "failures", "errors")] == counts
            assert suite.get("skipped") in (None, str(inside["skipped"]))


def facts_of(suite: Xml.Element) -> dict[str, str]:
    """The properties of a suite."""
    return {one.attrib["name"]: one.attrib["value"] for one in suite.findall("properties/property")}


def test_each_way_to_end_is_shown(tmp_path: Path) -> None:
    wrong = Verdict(f"{CASE}1", "k_terms", "k_1", "wrong", 3.0, (0, 0), 1e5, 1.0, 2.0, 0.5, activation="tanh")
    known = Expectation("1", framework="numpy", reason="it adds twice", issue="http://i.s", check="error")
    verdicts = [
        [Verdict(f"{CASE}0", "forward", "z_1", "pass", 0.5, power=99.0)],
        [wrong, Verdict(f"{CASE}1", "batch", "batch", "blocked", message="behind k_terms")],
        [replace(wrong, case=f"{CASE}2", check="error", quantity="E", expectation="1")],
        [Verdict(f"{CASE}3", "contract", "program", "errored", message="it died")],
        [Verdict(f"{CASE}4", "forward", "z_1", "inconclusive", 0.1)],
        [Verdict(f"{CASE}5", "contract", "program", "unsupported", message="no such layer")],
        [Verdict(f"{CASE}6", "layout", "layout", "blocked", message="behind contract")],
        [Verdict("2x3-relu.elu-b4-pre-f32-tails-s7.1", "error", "E", "pass", 0.25, power=99.0)],
    ]
    root = valid(make_record(tmp_path, verdicts, missing=[f"{CASE}7"], entries=[known]))
    assert_counts(root, ends_in(tmp_path / "record.jsonl"))
    shown = {test.attrib["name"]: test[0] for test in root.iter("testcase") if len(test)}
    assert shown[f"{CASE}1"].attrib == {
        "type": "failed",
        "message": "k_terms wrong: k_1[0, 0] (tanh): the framework gives 1.0, the rule 2.0; 30 σ, 3 times the "
        "tolerance 0.5",
    }
    assert f"kterm replay {CASE}1 numpy" in (shown[f"{CASE}1"].text or "").splitlines()
    messages = {name.removeprefix(CASE): one.get("message") for name, one in shown.items() if name.startswith(CASE)}
    assert messages == {
        "1": shown[f"{CASE}1"].get("message"),
        "2": "known divergence: it adds twice (http://i.s)",
        "3": "contract errored: program: it died",
        "4": "undecided, the tolerance is too wide: z_1",
        "5": "no such layer",
        "6": "layout: behind contract",
        "7": "the run ended before this case was answered",
    }
    first, second = root[0].findall("testsuite")
    assert {
        name: facts_of(first)[name] for name in ("check", "replay", "worst margin", "worst margin in", "cases")
    } == {
        "check": "k_terms",
        "replay": f"kterm replay {CASE}1 numpy",
        "worst margin": "3",
        "worst margin in": f"k_terms of {CASE}1",
        "cases": "8",
    }
    assert facts_of(second) == {
        "structure": "2x3", "activation": "relu.elu", "batch": "4", "bias": "pre", "dtype": "f32", "regime": "tails",
        "seed": "7", "cases": "1", "worst margin": "0.25", 
        "worst margin in": "error of 2x3-relu.elu-b4-pre-f32-tails-s7.1",
    }  # fmt: skip
    assert second[1].get("classname") == "a.tails"


def test_what_belongs_to_no_case_fails_in_a_suite_of_its_own(tmp_path: Path) -> None:
    adapter = replace(ADAPTER, dtypes=("f32",))
    verdicts = [[Verdict(f"{CASE}0", "layout", "layout", "pass")]]
    known = Expectation("4", adapter="a", reason="r", check="layout", case="*-normal-*")
    record = make_record(tmp_path, verdicts, adapter, entries=[known], moments=made_moments(-0.72))
    *_, suite = valid(record)
    ends = {f"{one.get('classname')} {one.get('name')}": one[0].tag if len(one) else "" for one in suite}
    state = record.audited[0].state
    assert ends == {
        "a.run bias and spread": "failure",
        "a.run something was checked": "error" if record.unchecked else "",
        "expectations expectation 4": "failure" if state in ("stale", "unmatched") else "",
    }


def test_what_an_adapter_wrote_is_valid_xml(tmp_path: Path) -> None:
    record = hostile_record(tmp_path)
    root = valid(record)
    assert_counts(root, ends_in(tmp_path / "record.jsonl"))
    texts = [text for one in root.iter() for text in (*one.attrib.values(), one.text or "")]
    assert all(line.isprintable() for text in texts for line in text.split("\n"))
    assert any("<script>alert(1)</script> ]]> &amp;" in text for text in texts)
    assert max(map(len, texts)) < 10_000
