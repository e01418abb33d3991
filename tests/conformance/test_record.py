"""The record: what is written reads back, and a reader refuses what is incomplete, altered or does not add up."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from kterm.conformance.record import Record, RecordError, finish, read, write_part
from kterm.conformance.verdict import Verdict

HEADER = {"suite": "0", "profile": "quick", "seed": 0, "adapters": [{"name": "a", "spec": "a"}]}
CASES = [
    [
        Verdict("c1", "contract", "observation", "pass"),
        Verdict("c1", "forward", "z_1", "pass", 0.25, (1, 2), math.inf),
    ],
    [Verdict("c2", "k_terms", "k_1", "wrong", math.inf, (0, 0), 1e5, math.nan, 1.0, 1e-7, "tanh")],
    [Verdict("c3", "k_terms", "k_1", "wrong", 2.0, (0,), 1e5, 1.0, 2.0, 0.5, "elu", expectation="known (link)")],
]


def _written(folder: Path, order: tuple[int, ...] = (0, 1, 2), planned: tuple[str, ...] = ("c1", "c2", "c3")) -> Path:
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    for number in order:
        write_part(parts, number, "a", [CASES[number]])
    path = folder / "record.jsonl"
    finish(path, parts, HEADER, [("a", case) for case in planned])
    return path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    record = read(_written(tmp_path))
    assert record.statuses() == {("a", "c1"): "passed", ("a", "c2"): "failed", ("a", "c3"): "expected"}
    wrong = record.verdicts["a", "c2"][0]
    assert wrong.worst == math.inf
    assert wrong.observed is not None
    assert math.isnan(wrong.observed)
    assert record.verdicts["a", "c1"] == CASES[0]
    assert record.verdicts["a", "c3"] == CASES[2]
    assert not record.conforms


def test_without_passes_only_the_others_are_read(tmp_path: Path) -> None:
    record = read(_written(tmp_path), passes=False)
    assert set(record.verdicts) == {("a", "c2"), ("a", "c3")}
    assert record.footer["accounting"]["passed"] == 1


def test_the_order_of_writing_does_not_show(tmp_path: Path) -> None:
    first = _written(tmp_path).read_bytes()
    (tmp_path / "other").mkdir()
    assert _written(tmp_path / "other", (2, 0, 1)).read_bytes() == first


def test_a_planned_case_without_a_verdict_is_unanswered_and_does_not_conform(tmp_path: Path) -> None:
    record: Record = read(_written(tmp_path, order=(0,), planned=("c1", "c9")))
    assert record.footer["unanswered"] == [["a", "c9"]]
    assert not record.conforms


def test_a_record_of_passes_conforms_and_one_of_nothing_does_not(tmp_path: Path) -> None:
    assert read(_written(tmp_path, order=(0,), planned=("c1",))).conforms
    (tmp_path / "other").mkdir()
    assert not read(_written(tmp_path / "other", order=(), planned=())).conforms


def _edit(change: Callable[[list[dict]], list[dict]]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        return "".join(json.dumps(row) + "\n" for row in change([json.loads(line) for line in text.splitlines()]))

    return edited


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "has no header"),
        (lambda text: text.replace('"schema":1', '"schema":2', 1), "has schema 2"),
        (lambda text: text[: text.rindex('{"kind":"footer"')], "has no footer"),
        (lambda text: text[:-20], "is not JSON Lines"),
        (lambda text: "not json\n" + text, "is not JSON Lines"),
        (_edit(lambda rows: [*rows[:2], rows[1], *rows[2:]]), "repeats the verdict"),
        (_edit(lambda rows: [rows[0], *rows[2:]]), "its footer counts other verdicts"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "grade": "pass"}, *rows[4:]]), "its footer counts"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "grade": "banana"}, *rows[4:]]), "no verdict that this version"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "case": "c8"}, *rows[4:]]), "other cases than its header says"),
        (_edit(lambda rows: [*rows[:3], {**rows[3], "adapter": "b"}, *rows[4:]]), "is not in the header"),
        (_edit(lambda rows: [{**rows[0], "planned": 4}, *rows[1:]]), "cases planned"),
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
