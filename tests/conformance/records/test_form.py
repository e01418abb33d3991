"""The form of a record: its lines as types, its files, and what a reader requires of a run's own record."""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kterm.conformance.cases.plan import OptionError
from kterm.conformance.checks.verdict import STATUSES, Verdict
from kterm.conformance.records.consistency import Content, check_plan
from kterm.conformance.records.folder import RunFolder
from kterm.conformance.records.form import files
from kterm.conformance.records.form.schema import format_schema
from kterm.conformance.records.form.verdicts import (
    case_id,
    is_sampled,
    rounded_margin,
    rounded_power,
    split_case,
    summarize_group,
)
from kterm.conformance.records.record import RecordError, read
from kterm.conformance.records.run import as_ranges

from ...support.here import kterm_here

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a small run."""
    folder = tmp_path_factory.mktemp("run")
    done = kterm_here("check", "numpy", "--profile", "smoke", "-n", "0", "--report", "r.jsonl", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "r.jsonl"


def test_the_schema_of_the_page_is_that_of_the_types() -> None:
    assert (DOCS / "record.schema.json").read_text(encoding="utf-8") == format_schema()


def test_a_case_is_split_into_what_its_line_has() -> None:
    for case in ("4x3-tanh-b2-none-f64-normal-s0", "4x3-tanh-b2-none-f64-normal-s7.12"):
        assert case_id(*split_case(case)) == case


def test_one_case_in_256_is_in_full() -> None:
    sampled = sum(is_sampled(f"4x3-tanh-b2-none-f64-normal-s{i}") for i in range(20_000))
    assert 50 < sampled < 110


@pytest.mark.parametrize("worst", [1.3499999, 2.7499998, 3.4999998, 1.4999998, 134999.97])
def test_a_case_and_its_finding_round_to_the_same_digits(worst: float) -> None:
    """A finding has six digits, and its case fewer: rounded twice, a number next to a tie would come out otherwise."""
    case = "4x3-tanh-b2-none-f64-normal-s0"
    finding = Verdict(case, "forward", "z_1", "wrong", worst=worst)
    weak_pass = Verdict(case, "forward", "x_1", "pass", worst=0.1, power=worst)
    [(result, in_full)] = summarize_group("numpy", [[finding, weak_pass]])
    assert result.checks["forward"].margin == max(rounded_margin(0.1), rounded_margin(in_full[0].worst))
    assert result.checks["forward"].power == rounded_power(float(f"{worst:.6g}"))


def test_numbers_become_ranges() -> None:
    assert as_ranges([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]
    assert as_ranges([]) == []


# Files.


@pytest.mark.parametrize("form", ["", ".gz", ".zst"])
def test_a_record_is_compressed_as_its_name_says_with_the_same_bytes_each_time(tmp_path: Path, form: str) -> None:
    if form == ".zst":
        pytest.importorskip("zstandard")
    text = b"line\n" * 1000
    found = []
    for name in ("a", "b"):
        report = tmp_path / f"{name}.jsonl{form}"
        with RunFolder(report) as folder:
            (folder.path / "record.jsonl").write_bytes(text)
            folder.deliver(folder.path / "record.jsonl")
        found.append(report.read_bytes())
        assert files.read_bytes(report) == text
    assert found[0] == found[1]
    assert (len(found[0]) < 200) == bool(form)


def test_a_form_that_is_not_installed_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(OptionError, match=r"Zstandard is not installed; pip install 'kterm\[zstd\]'"):
        RunFolder(tmp_path / "r.jsonl.zst")


def test_a_bomb_and_a_damaged_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 2**20)
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(bytes(2**23)))
    with pytest.raises(RecordError, match=r"has more than 1,048,576 bytes, decompressed") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(gzip.compress(bytes(2**23))[:-3000])
    with pytest.raises(RecordError, match=r"is damaged|has more than"):
        read(path)
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(40))
    with pytest.raises(RecordError, match=r"is damaged|has no header"):
        read(path)


# What a reader requires of the record of a run.

Rows = list[dict[str, Any]]


def _first(rows: Rows, kind: str, has: Callable[[dict[str, Any]], object] = bool) -> int:
    return next(i for i, row in enumerate(rows) if row["kind"] == kind and has(row))


def _without(rows: Rows, i: int) -> Rows:
    return [*rows[:i], *rows[i + 1 :]]


def _alone(rows: Rows) -> Rows:
    """One case under the header of the whole run, with a footer that counts it."""
    group = _first(rows, "group", lambda row: "kinks" in row["group"] or "normal" in row["group"])
    return [rows[0], rows[group], rows[group + 1], _counted(rows, [(rows[group], rows[group + 1])])]


def _counted(rows: Rows, cases: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """The footer of a record with counts for some cases alone. All of them passed, as far as their lines say."""
    footer = rows[-1]
    counts = Counter("inconclusive" if "statuses" in case else "passed" for _, case in cases)
    accounting = {"planned": len(cases), **{name: counts[name] for name in STATUSES}}
    return {**footer, "accounting": accounting, "by_adapter": {"numpy": accounting}}


def _swapped(rows: Rows) -> Rows:
    """Two cases of one group in the other order."""
    i = next(i for i in range(len(rows)) if rows[i]["kind"] == rows[i + 1]["kind"] == "case")
    return [*rows[:i], rows[i + 1], rows[i], *rows[i + 2 :]]


def _changed(kind: str, has: Callable[[dict[str, Any]], object], **new: Any) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        i = _first(rows, kind, has)
        return [*rows[:i], {**rows[i], **new}, *rows[i + 1 :]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: _without(rows, _first(rows, "case")), "22 cases planned, 21 answered"),
        (lambda rows: [rows[0], *rows[3:]], "22 cases planned, 21 answered"),
        (lambda rows: [{**rows[0], "planned": 21}, *rows[1:]], "21 cases planned, 22 answered"),
        (_alone, "22 cases planned, 1 answered"),
        (lambda rows: [{**rows[0], "numbers": "2"}, *rows[1:]], "has numbers of version '2', and this version"),
        (lambda rows: [{**rows[0], "dtypes": ["f64"]}, *rows[1:]], "has another plan for numpy than this version"),
        (lambda rows: [{**rows[0], "profile": "huge"}, *rows[1:]], "unknown profile 'huge'"),
        (_swapped, "is planned next, and .* follows"),
        (
            _changed("group", lambda row: "bias_gradients" in row["checks"], group="4x3-tanh-b2-none-f64-normal"),
            "is planned next, and 4x3-tanh-b2-none-f64-normal-s.* follows|another weakest pass",
        ),
        (_changed("case", lambda row: len(row["margins"]) == 5, draw=99), "planned next, and .*-s99 on numpy follows"),
        (_changed("case", lambda row: len(row["margins"]) == 5, margins=[0.1, 0, 0.1, 3.5, 0.1]),
         "has a margin of 3.5.* and no finding"),
        (_changed("case", lambda row: len(row["margins"]) == 5, powers=[1.0, 1, 1, 1, 1]), "another weakest pass"),
        (_changed("case", lambda row: "descent" not in row and row["margins"], statuses={"forward": "failed"}),
         "says that forward is failed, and its verdicts say passed"),
    ],
)  # fmt: skip
def test_a_record_of_other_cases_than_planned_is_refused(
    report: Path, tmp_path: Path, change: Callable[[Rows], Rows], words: str
) -> None:
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(f"{json.dumps(row, separators=(',', ':'))}\n" for row in change(rows)), encoding="utf-8")
    with pytest.raises(RecordError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_check_that_is_missing_from_a_whole_group_is_refused(report: Path, tmp_path: Path) -> None:
    """Its counts are remade, so that only the plan shows it."""
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    i = _first(rows, "group", lambda row: "weight_gradients" in row["checks"])
    checks = {name: some for name, some in rows[i]["checks"].items() if name != "weight_gradients"}
    at = [name for name, some in rows[i]["checks"].items() if some].index("weight_gradients")
    changed, count = [*rows[:i], {**rows[i], "checks": checks}], 0
    for j in range(i + 1, len(rows)):
        if rows[j]["kind"] != "case":
            changed += rows[j:]
            break
        count += 1
        cut = {name: [*rows[j][name][:at], *rows[j][name][at + 1 :]] for name in ("margins", "powers")}
        changed.append({**rows[j], **cut})
    changed[-1]["checks"]["numpy"]["weight_gradients"]["passed"] -= count
    path = tmp_path / "r.jsonl"
    path.write_text("".join(f"{json.dumps(row, separators=(',', ':'))}\n" for row in changed), encoding="utf-8")
    with pytest.raises(RecordError, match="lacks the check weight_gradients"):
        read(path)
    assert read(path, against_plan=False).cases


def test_a_case_behind_one_without_an_answer_still_has_its_checks(report: Path) -> None:
    """Cases of a group that simply passed are looked at once, those before them not in their place."""
    record = read(report)
    keys = list(record.cases)
    first = next(
        i for i, key in enumerate(keys) if record.cases[key].line.draw and "forward" in record.cases[key].tensors
    )
    bare = {"contract": ()}
    cases = dict(record.cases)
    for i, statuses in ((first - 1, {"contract": "errored"}), (first, {})):
        one = cases[keys[i]]
        line = msgspec.structs.replace(one.line, margins=(), powers=(), statuses=statuses)
        cases[keys[i]] = replace(one, line=line, tensors=bare)
    derived = record.adapters, record.expectations, record.audited, record.judged
    content = Content(record.header, cases, record.verdicts, record.footer, *derived)
    assert check_plan(content) == f": case {keys[first][1]} on numpy lacks the check forward"


# Views.


@cache
def _raw(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_numbers_of_the_overview_are_those_of_the_lines(report: Path) -> None:
    """The overview is derived here from the lines alone, without the reader."""
    statuses: Counter[str] = Counter()
    checks: dict[str, Counter[str]] = {}
    least, group = float("inf"), {}
    for row in _raw(report):
        if row["kind"] == "group":
            group = row["checks"]
        elif row["kind"] == "case":
            found = dict.fromkeys((*group, *(name for name in ("descent", "batch") if name in row)), "passed")
            found |= row.get("statuses", {})
            statuses["inconclusive" if "inconclusive" in found.values() else "passed"] += 1
            for check, status in found.items():
                checks.setdefault(check, Counter())[status] += 1
            pairs = [row[name][1] for name in ("descent", "batch") if name in row]
            least = min([least, *(float(p) for p in (*row["powers"], *pairs) if p is not None)])
    done = kterm_here("check", "numpy", "--profile", "smoke", "-n", "0", folder=report.parent)
    lines = done.stdout.splitlines()
    for check, counts in checks.items():
        (line,) = (line for line in lines if line.startswith(f"{check} "))
        cells = [f"{counts[name]:,} {name}" for name in STATUSES if counts[name]]
        assert line.removeprefix(check).strip() == ", ".join(cells)
    parts = [f"{statuses[name]:,} {name}" for name in STATUSES if statuses[name] or name in ("passed", "failed")]
    assert f"planned {sum(statuses.values()):,} = {' + '.join(parts)}" in lines
    (weakest,) = (line for line in lines if line.startswith("weakest pass: power "))
    weakest_power = _raw(report)[-1]["weakest"][0]
    assert float(f"{weakest_power:.1g}") == least
    assert weakest.split()[3].rstrip(",") == f"{weakest_power:.3g}"
