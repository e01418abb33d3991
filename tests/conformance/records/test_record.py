"""The record: what is written reads back, and a reader refuses what is incomplete, altered or does not add up."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import Options
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations.audit import AuditResult, ExpectationAudit
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.record import Record, RecordError, finish, read, write_part

ADAPTER = replace(describe(Numpy(), "a"), name="a", version="1.0", framework="a", framework_version="1.0")
HEADER = {"suite": "0", "profile": "quick", "seed": 0, "adapters": [ADAPTER.to_json()]}
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


def _written(
    folder: Path, order: tuple[int, ...] = (0, 1, 2), planned: tuple[str, ...] = (C1, C2, C3), own: bool = False
) -> Path:
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    terms = ExpectationAudit(ENTRIES, (ADAPTER,), Options("quick", 0), own)
    for number in order:
        write_part(parts, number, "a", [CASES[number]], terms.of(ADAPTER))
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
    assert record.verdicts["a", C1] == CASES[0]
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


def test_without_passes_only_the_others_are_read(tmp_path: Path) -> None:
    record = read(_written(tmp_path), passes=False)
    assert set(record.verdicts) == {("a", C2), ("a", C3)}
    assert record.footer["accounting"]["passed"] == 1


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
        (lambda text: text.replace('"schema":3', '"schema":1', 1), "has schema 1; this version reads schema 3"),
        (lambda text: text[: text.rindex('{"kind":"footer"')], "has no footer"),
        (lambda text: text[:-20], "is not JSON Lines"),
        (lambda text: "not json\n" + text, "is not JSON Lines"),
        (_edit(lambda rows: [*rows[:2], rows[1], *rows[2:]]), "repeats the verdict"),
        (_edit(lambda rows: [rows[0], *rows[2:]]), "its footer counts other verdicts"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "grade": "pass"}, *rows[4:]]), "its footer counts"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "grade": "banana"}, *rows[4:]]), "no verdict that this version"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "case": C8}, *rows[4:]]), "other cases than its header says"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "adapter": "b"}, *rows[4:]]), "is not in the header"),
        (_edit(lambda rows: [{**rows[0], "planned": 4}, *rows[1:]]), "cases planned"),
        (_edit(lambda rows: [{**rows[0], "expectations": [{}]}, *rows[1:]]), "holds no expectations"),
        (_edit(lambda rows: [{**rows[0], "expectations": []}, *rows[1:]]), "audits other expectations"),
        (_edit(lambda rows: [*rows[:-1], {**rows[-1], "expectations": None}]), "holds no expectations"),
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


def test_a_missing_record_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="name a readable file"):
        read(tmp_path / "none.jsonl")
