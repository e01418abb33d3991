"""`kterm recheck` repeats a part of a record, `kterm rows` makes a table of it, and damaged records are refused."""

import csv
import gzip
import json
import random
from pathlib import Path

import pytest

from benchmarks.cost.fuzzed_records import damage, try_record
from kterm.conformance.records.record import read

from ...support.here import kterm_here

RUN = ("check", "numpy", "--profile", "smoke", "--dtype", "f64", "-n", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the record of a small run, and of one with a known mistake."""
    folder = tmp_path_factory.mktemp("run")
    assert kterm_here(*RUN, "--report", "r.jsonl.gz", folder=folder).returncode == 0
    mistaken = ("--mutant", "no-slope-hidden", "--report", "wrong.jsonl")
    assert kterm_here(*RUN, *mistaken, folder=folder).returncode == 1
    return folder


def test_a_record_is_as_it_says(folder: Path) -> None:
    for name in ("r.jsonl.gz", "wrong.jsonl"):
        done = kterm_here("recheck", name, "--sample", "3", folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "statuses, findings, margins and powers\nall as recorded\n" in done.stdout


def test_findings_that_were_turned_into_passes_are_found_by_a_sample_that_holds_one(folder: Path) -> None:
    """The record of the sound adapter is given out as that of the mistaken one: it adds up, and nothing in it fails."""
    forged = read(folder / "r.jsonl.gz")
    lines = [json.dumps(forged.header | {"adapters": [{**forged.header["adapters"][0], "mutant": "no-slope-hidden"}]})]
    lines += gzip.decompress((folder / "r.jsonl.gz").read_bytes()).decode().splitlines()[1:]
    (folder / "forged.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert read(folder / "forged.jsonl").conforms
    done = kterm_here("recheck", "forged.jsonl", "--sample", "30", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "passed in the record, failed now" in done.stdout


def test_an_adapter_that_is_another_here_or_does_not_load_is_refused(folder: Path) -> None:
    lines = (folder / "wrong.jsonl").read_text(encoding="utf-8").splitlines()
    for old, new, code, words in (
        ('"version":"', '"version":"0', 2, "its version is "),
        ('"spec":"numpy"', '"spec":"no.such:Adapter"', 3, "no.such"),
    ):
        text = "\n".join([lines[0].replace(old, new, 1), *lines[1:], ""])
        (folder / "other.jsonl").write_text(text, encoding="utf-8")
        done = kterm_here("recheck", "other.jsonl", "--trust", folder=folder)
        assert done.returncode == code, done.stdout + done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_program_that_a_record_names_is_not_run_unasked(folder: Path) -> None:
    lines = (folder / "wrong.jsonl").read_text(encoding="utf-8").splitlines()
    for new in ('"spec":"command:touch ran"', '"python":"./ran","spec":"numpy"'):
        text = "\n".join([lines[0].replace('"spec":"numpy"', new, 1), *lines[1:], ""])
        (folder / "other.jsonl").write_text(text, encoding="utf-8")
        done = kterm_here("recheck", "other.jsonl", folder=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "if you trust it, add --trust" in done.stderr
    assert not (folder / "ran").exists()


# The table.


def test_a_table_has_a_row_for_each_case_and_check(folder: Path) -> None:
    record = read(folder / "wrong.jsonl")
    assert kterm_here("rows", "wrong.jsonl", "-o", "t.csv", folder=folder).returncode == 0
    with (folder / "t.csv").open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    assert len(rows) == sum(len(one.checks) for one in record.cases.values())
    for row in rows:
        one = record.cases["numpy", row["case"]]
        found = {str(check): result for check, result in one.checks.items()}[row["check"]]
        assert (row["status"], row["case_status"]) == (found.status, one.status)
        assert (row["margin"], row["power"]) == tuple("" if x is None else str(x) for x in (found.margin, found.power))
        assert row["mutant"] == "no-slope-hidden"
        assert (row["regime"] in row["case"], row["dtype"] in row["case"]) == (True, True)
    assert {row["status"] for row in rows} >= {"passed", "failed", "blocked"}
    assert kterm_here("rows", "wrong.jsonl", folder=folder).stdout.splitlines()[1:3] == [
        ",".join(row.values()) for row in rows[:2]
    ]


def test_a_table_in_parquet_equals_that_in_csv(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert kterm_here("rows", "wrong.jsonl", "-o", "t.parquet", folder=folder).returncode == 0
    table = parquet.read_table(folder / "t.parquet").to_pylist()
    assert kterm_here("rows", "wrong.jsonl", "-o", "t.csv", folder=folder).returncode == 0
    with (folder / "t.csv").open(encoding="utf-8", newline="") as source:
        assert list(csv.DictReader(source)) == [{k: "" if v is None else str(v) for k, v in r.items()} for r in table]


@pytest.mark.parametrize("name", ["t.xlsx", "none/t.csv"])
def test_a_table_that_cannot_be_written_is_one_line(folder: Path, name: str) -> None:
    done = kterm_here("rows", "wrong.jsonl", "-o", name, folder=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


# Damage.


def test_damaged_records_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    """A hundred here; benchmarks/cost/fuzzed_records.py reads as many as wanted."""
    data = (folder / "wrong.jsonl").read_bytes()
    said = [try_record(damage(data, random.Random(f"0 {i}")), tmp_path)[0] for i in range(100)]
    assert sum(map(bool, said)) > 60
    assert all(one.startswith("record ") for one in said if one)
