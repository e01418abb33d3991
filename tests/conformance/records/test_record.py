"""The record: what is written reads back, and a reader refuses what is incomplete, altered or does not add up."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import Options, plan
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.checks.whole_run.moments import Moments
from kterm.conformance.expectations.audit import AuditResult, ExpectationAudit
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.form.verdicts import CheckResult
from kterm.conformance.records.parts import finish, write_part
from kterm.conformance.records.record import Record, RecordError
from kterm.conformance.records.record import read as read_any

from ...support.frameworks.biased import made_moments

ADAPTER = replace(describe(Numpy(), "a"), name="a", version="1.0", framework="a", framework_version="1.0")
HEADER = {"suite": "0", "profile": "quick", "seed": 0, "level": "componentwise", "adapters": [ADAPTER.to_json()]}
C1, C2, C3, C8, C9 = (f"4x3-{name}-b2-none-f64-normal-s0" for name in ("tanh", "sin", "elu", "selu", "relu"))
ENTRIES = (
    Expectation("1", "a", "known", "https://example.org", activation="elu"),
    Expectation("2", "a", "fixed", case="99x99-*", activation="relu"),
    Expectation("3", "a", "old", versions="<1"),
)
CASES = [
    [
        Verdict(C1, "contract", "observation", "pass"),
        Verdict(C1, "forward", "z_1", "pass", 0.25, (1, 2), math.inf),
    ],
    [Verdict(C2, "k_terms", "k_1", "wrong", math.inf, (0, 0), 1e5, math.nan, 1.0, 1e-7, 0.25, "sin")],
    [Verdict(C3, "k_terms", "k_1", "wrong", 2.0, (0,), 1e5, 1.0, 2.0, 0.5, 0.5, "elu", expectation="1")],
]


def read(path: Path) -> Record:
    """The record at `path`, whose cases are of no plan."""
    return read_any(path, against_plan=False)


def _written(
    folder: Path,
    order: tuple[int, ...] = (0, 1, 2),
    planned: tuple[str, ...] = (C1, C2, C3),
    own: bool = False,
    moments: Moments | None = None,
) -> Path:
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    terms = ExpectationAudit(ENTRIES, (ADAPTER,), Options("quick", 0), own)
    for number in order:
        write_part(parts, number, "a", [CASES[number]], terms.of(ADAPTER), moments)
    path = folder / "record.jsonl"
    finish(path, parts, HEADER, [("a", case) for case in planned], terms)
    return path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    record = read(_written(tmp_path))
    assert record.statuses() == {("a", C1): "passed", ("a", C2): "failed", ("a", C3): "expected"}
    wrong = record.verdicts["a", C2][0]
    assert wrong.worst == math.inf
    assert wrong.observed is not None
    assert math.isnan(wrong.observed)
    assert ("a", C1) not in record.verdicts
    passed = record.cases["a", C1].checks
    assert passed == {"contract": CheckResult("passed"), "forward": CheckResult("passed", 0.25, math.inf)}
    assert record.verdicts["a", C3] == CASES[2]
    assert not record.conforms


def test_the_expectations_of_a_run_stand_in_its_record_with_what_they_came_to(tmp_path: Path) -> None:
    record = read(_written(tmp_path))
    assert list(record.expectations.values()) == list(ENTRIES[:2])
    assert record.audited == (AuditResult("1", 1, 1, "met"), AuditResult("2", 0, 0, "open"))
    assert record.concerning("a") == ENTRIES[:2]


def test_a_record_with_an_unmatched_expectation_does_not_conform(tmp_path: Path) -> None:
    record = read(_written(tmp_path, order=(0, 2), planned=(C1, C3), own=True))
    assert record.footer["accounting"]["failed"] == 0
    assert [one.state for one in record.audited] == ["met", "unmatched"]
    assert not record.conforms
    (tmp_path / "other").mkdir()
    assert read(_written(tmp_path / "other", order=(0, 2), planned=(C1, C3))).conforms


def test_the_order_of_writing_does_not_show(tmp_path: Path) -> None:
    first = _written(tmp_path).read_bytes()
    (tmp_path / "other").mkdir()
    assert _written(tmp_path / "other", (2, 0, 1)).read_bytes() == first


def test_a_planned_case_without_a_verdict_is_unanswered_and_does_not_conform(tmp_path: Path) -> None:
    record: Record = read(_written(tmp_path, order=(0,), planned=(C1, C9)))
    assert record.footer["unanswered"] == [["a", C9]]
    assert not record.conforms


def test_a_record_of_passes_conforms_and_one_of_nothing_does_not(tmp_path: Path) -> None:
    assert read(_written(tmp_path, order=(0,), planned=(C1,))).conforms
    (tmp_path / "other").mkdir()
    assert not read(_written(tmp_path / "other", order=(), planned=())).conforms


def _edit(change: Callable[[list[dict]], list[dict]]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        return "".join(json.dumps(row) + "\n" for row in change([json.loads(line) for line in text.splitlines()]))

    return edited


def _with_audit(name: str, **change: object) -> Callable[[str], str]:
    def rows(before: list[dict]) -> list[dict]:
        audited = [{**one, **(change if one["id"] == name else {})} for one in before[-1]["expectations"]]
        return [*before[:-1], {**before[-1], "expectations": audited}]

    return _edit(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "has no header"),
        (lambda text: text.replace('"schema":6', '"schema":5', 1), "has schema 5; this version reads schema 6"),
        (lambda text: text[: text.rindex('{"kind":"footer"')], "has no footer"),
        (lambda text: text[:-20], "has no footer"),
        (lambda text: "not json\n" + text, "has no header"),
        (lambda text: text.replace('"margins":[0.25]', '"margins"::[0.25]'), "line 3: is not JSON"),
        (_edit(lambda rows: [*rows[:3], *rows[2:]]), "line 4: repeats the case a 4x3-tanh"),
        (_edit(lambda rows: [*rows[:3], *rows[1:]]), "line 5: repeats the case a 4x3-tanh"),
        (_edit(lambda rows: [rows[0], *rows[2:]]), "line 2: is a case without a group"),
        (_edit(lambda rows: [*rows[:6], rows[5], *rows[6:]]), "4x3-sin-.* repeats the verdict on k_terms k_1"),
        (_edit(lambda rows: [*rows[:1], *rows[3:]]), "cases planned, 2 answered"),
        (_edit(lambda rows: [*rows[:5], *rows[6:]]), "says that k_terms is failed, and its verdicts say passed"),
        (_edit(lambda rows: [*rows[:5], {**rows[5], "grade": "pass"}, *rows[6:]]), "says that k_terms is failed"),
        (_edit(lambda rows: [*rows[:4], {**rows[4], "statuses": {}}, *rows[5:]]), "says that k_terms is passed, and"),
        (_edit(lambda rows: [*rows[:4], {**rows[4], "statuses": {}}, *rows[6:]]), "its footer counts"),
        (
            _edit(lambda rows: [*rows[:5], {**rows[5], "grade": "banana"}, *rows[6:]]),
            "line 6: is no line that this ver",
        ),
        (_edit(lambda rows: [*rows[:5], {**rows[5], "case": C8}, *rows[6:]]), "line 6: is a verdict on 4x3-selu"),
        (
            _edit(lambda rows: [*rows[:5], {**rows[5], "quantity": "k_2"}, *rows[6:]]),
            "verdict on k_2, which k_terms did",
        ),
        (_edit(lambda rows: [*rows[:2], {**rows[2], "margins": []}, *rows[3:]]), "line 3: should have 1 margins"),
        (_edit(lambda rows: [*rows[:2], {**rows[2], "powers": [7.0]}, *rows[3:]]), "names no weakest pass"),
        (_edit(lambda rows: [rows[0], {**rows[1], "adapter": "b"}, *rows[2:]]), "'b' is not in the header"),
        (_edit(lambda rows: [{**rows[0], "planned": 4}, *rows[1:]]), "cases planned"),
        (_edit(lambda rows: [{**rows[0], "expectations": [{}]}, *rows[1:]]), "no expectations|line 10: is no line"),
        (_edit(lambda rows: [{**rows[0], "expectations": []}, *rows[1:]]), "audits other expectations"),
        (_edit(lambda rows: [*rows[:-1], {**rows[-1], "expectations": None}]), "no expectations|line 10: is no line"),
        (_edit(lambda rows: [*rows[:-1], {**rows[-1], "moments": {}}]), "no expectations|or no moments"),
        (_edit(lambda rows: [*rows[:-1], {**rows[-1], "moments": {"a": [["f32"]]}}]), "no expectations|or no moments"),
        (
            _edit(lambda rows: [*rows[:-1], {**rows[-1], "run": {"a": [{"check": "bias"}]}}]),
            "its verdicts on the run of a as a whole are not those that its moments give",
        ),
        (
            _edit(lambda rows: [{**rows[0], "level": "loose"}, *rows[1:]]),
            "line 1: is no line that this version knows: Invalid enum value 'loose'",
        ),
        (
            _edit(lambda rows: [{n: v for n, v in rows[0].items() if n != "level"}, *rows[1:]]),
            "missing required field `level`",
        ),
        (
            _edit(lambda rows: [*rows[:5], {**rows[5], "normwise": 0.5, "below_level": True}, *rows[6:]]),
            "case 4x3-sin-.* says that k_terms is failed, and its verdicts say pass|its level, componentwise, does",
        ),
        (
            _edit(lambda rows: [{**rows[0], "level": "normwise"}, *rows[1:5], {**rows[5], "normwise": 0.5}, *rows[6:]]),
            "its level, normwise, does not agree with the verdict on 4x3-sin",
        ),
        (_edit(lambda rows: [*rows[:-1], {**rows[-1], "below_level": 1}]), "counts 1 findings below the level"),
        (_with_audit("1", state="open"), "expectation 1 covers 1 findings, its footer says 1, open"),
        (_with_audit("1", findings=2), "expectation 1 covers 1 findings, its footer says 2, met"),
        (_with_audit("2", cases=3), "expectation 2 covers other cases than its footer counts"),
        (
            lambda text: text.replace('"expectation":"1"', '"expectation":"2"'),
            "do not agree with the verdict on 4x3-elu",
        ),
    ],
)
def test_a_reader_refuses_what_does_not_add_up(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    path = _written(tmp_path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RecordError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_run_at_level_normwise_counts_what_it_lets_pass_and_conforms(tmp_path: Path) -> None:
    """The finding is in the record with its size and region; its case has passed."""
    coarse = replace(CASES[1][0], normwise=0.5, relative=4e-9, region=(-39.8, -20.1), below_level=True)
    known = replace(CASES[2][0], normwise=0.25)  # expected at any level, and not counted twice
    terms = ExpectationAudit(ENTRIES, (ADAPTER,), Options("quick", 0, level="normwise"), False)
    for number, some in enumerate((CASES[0], [coarse], [known])):
        write_part(tmp_path, number, "a", [some], terms.of(ADAPTER))
    path = tmp_path / "record.jsonl"
    finish(path, tmp_path, {**HEADER, "level": "normwise"}, [("a", case) for case in (C1, C2, C3)], terms)
    if True:
        record = read(path)
        assert (record.level, record.below_level, record.conforms) == ("normwise", 1, True)
        (found,) = record.verdicts["a", C2]
        assert (found.normwise, found.relative, found.region) == (0.5, 4e-9, (-39.8, -20.1))
        assert (found.below_level, found.level, found.fails) == (True, "componentwise", False)
        assert [one.state for one in record.audited if one.id == "1"] == ["met"]
    assert record.statuses() == {("a", C1): "passed", ("a", C2): "passed", ("a", C3): "expected"}
    assert record.footer["accounting"]["passed"] == 2


def test_a_missing_record_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="name a readable file"):
        read(tmp_path / "none.jsonl")


# The run as a whole.


def test_a_biased_run_does_not_conform_though_every_case_passes(tmp_path: Path) -> None:
    path = _written(tmp_path, (0,), (C1,), moments=made_moments(-0.25))
    if True:
        record = read(path)
        assert [(v.check, v.grade) for v in record.of_run["a"]] == [("bias", "wrong"), ("spread", "pass")]
        assert record.footer["accounting"]["failed"] == 0
        assert record.footer["checks"]["a"]["bias"] == {"failed": 1}
        assert not record.conforms
    (tmp_path / "sound").mkdir()
    assert read(_written(tmp_path / "sound", (0,), (C1,), moments=made_moments(0.0))).conforms


def test_the_moments_of_parts_are_merged_whatever_their_order(tmp_path: Path) -> None:
    first = _written(tmp_path, moments=made_moments(-0.25)).read_bytes()
    (tmp_path / "other").mkdir()
    assert _written(tmp_path / "other", (1, 2, 0), moments=made_moments(-0.25)).read_bytes() == first
    (row,) = read(tmp_path / "record.jsonl").footer["moments"]["a"]
    assert row[:6] == ["f32", "dE/dW", "", "short", 300, 15_000]


def test_a_reader_refuses_verdicts_that_the_moments_do_not_give(tmp_path: Path) -> None:
    path = _written(tmp_path, (0,), (C1,), moments=made_moments(-0.25))
    text = path.read_text(encoding="utf-8")
    for change in (
        text.replace('"grade":"wrong"', '"grade":"pass"'),
        text.replace('"quantity":"dE/dW"', '"quantity":"dE/db"'),
        text.replace('"observed":-0.2', '"observed":-0.3'),
        text.replace('"short",100,5000', '"short",100,6000'),
    ):
        assert change != text
        path.write_text(change, encoding="utf-8")
        with pytest.raises(RecordError, match="are not those that its moments give"):
            read(path)


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        ({"check": "bias"}, "met"),
        ({"check": "bias", "quantity": "dE/*", "case": "*-f32-*"}, "met"),
        ({"check": "bias", "case": "*-f64-*"}, "open"),
        ({"check": "bias", "quantity": "z"}, "open"),
        ({"check": "spread"}, "stale"),
        # One that names no check is about cases.
        ({}, "stale"),
    ],
)
def test_a_finding_of_the_run_is_expected_by_an_entry_that_names_its_check(
    tmp_path: Path, entry: dict[str, str], state: str
) -> None:
    audit = ExpectationAudit(
        (replace(Expectation("1", "a", "known"), **entry),), (ADAPTER,), Options("smoke", 0), False
    )
    parts = tmp_path / "parts"
    parts.mkdir()
    planned = [("a", case.id) for group in plan(ADAPTER, audit.options).groups for case in group.cases]
    verdicts = [[Verdict(case, "contract", "observation", "pass")] for _, case in planned]
    write_part(parts, 0, "a", verdicts, audit.of(ADAPTER), made_moments(-0.25))
    finish(tmp_path / "record.jsonl", parts, HEADER, planned, audit)
    record = read(tmp_path / "record.jsonl")
    assert [one.state for one in record.audited] == [state]
    assert record.conforms == (state == "met")
    assert [v.expectation for v in record.of_run["a"] if v.is_finding] == ["1" if state == "met" else None]
