"""Records that earn no certificate: each is refused in one line, with its exit code, and nothing is written."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kterm.conformance.evaluation.certificate.refusal import QUALIFYING, WHOLE
from kterm.conformance.records.record import read

from ....support.here import kterm_here
from .conftest import Recorder, Rows, read_rows, write_rows

PORT = ("port.py:Port",)


def _refused(path: Path, folder: Path, code: int, *options: str) -> str:
    """What is said on standard error; there is one line, and nothing else."""
    before = sorted(folder.iterdir())
    done = kterm_here("certify", str(path), *options, folder=folder)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(folder.iterdir()) == before
    return done.stderr


def test_what_is_refused_here_is_certified_unchanged(record: Recorder, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "run.jsonl", read_rows(record(*PORT)))
    assert kterm_here("certify", str(path), folder=tmp_path).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["kterm-port.json", "kterm-port.svg", "run.jsonl"]


# Records that do not add up, or are of another plan.


def _header(rows: Rows, **changes: object) -> None:
    rows[0] |= changes


def _adapter(rows: Rows, **changes: object) -> None:
    rows[0]["adapters"][0] |= changes


def _drop_case(rows: Rows) -> None:
    del rows[
        next(i for i, row in enumerate(rows) if row["kind"] == "case" and "normal" in rows[i - 1].get("group", ""))
    ]


def _move_counts(rows: Rows) -> None:
    """One inconclusive case counts as passed, in all places of the footer that say so."""
    for counts in (rows[-1]["accounting"], rows[-1]["by_adapter"]["port"]):
        counts["inconclusive"] -= 1
        counts["passed"] += 1


def _smaller_margin(rows: Rows) -> None:
    """A case in full has another margin than its verdicts."""
    i = next(i for i, row in enumerate(rows) if row["kind"] == "verdict" and row["check"] == "forward") - 1
    while rows[i]["kind"] != "case":
        i -= 1
    rows[i]["margins"] = [0.001] * len(rows[i]["margins"])


FORGED: dict[str, tuple[Callable[[Rows], object], str]] = {
    "no footer": (lambda rows: rows.pop(), "has no footer"),
    "no header": (lambda rows: rows.pop(0), "has no header"),
    "a case dropped": (_drop_case, "planned"),
    "the last group dropped": (lambda rows: rows.__delitem__(slice(-30, -1)), "planned"),
    "counts of the footer": (_move_counts, "its footer counts"),
    "unanswered cases hidden": (lambda rows: rows[-1].update(unanswered=[]) or _drop_case(rows), "planned"),
    "a margin": (_smaller_margin, "has other numbers in|has a margin"),
    "the plan of another version": (lambda rows: _adapter(rows, plan="0" * 16), "its header has another plan for port"),
    "the draws of another version": (lambda rows: _header(rows, numbers="2"), "has numbers of version '2'"),
    "another seed": (lambda rows: _header(rows, seed=1), "has another plan"),
    "a larger profile": (lambda rows: _header(rows, profile="standard"), "has another plan"),
    "more dtypes": (lambda rows: _adapter(rows, dtypes=["f64", "f32", "bf16"]), "has another plan"),
    "the suite of another version": (lambda rows: _header(rows, suite="0.0.9"), "was written by kterm 0.0.9, and this"),
    "nothing undeclared": (lambda rows: _adapter(rows, unsupported=[]), "says of port that unsupported is"),
    "other structures": (lambda rows: _adapter(rows, structures=1), "says of port that structures is 1"),
    "a cut": (lambda rows: _adapter(rows, cut={"left_out": {}}), "says of port that cut is"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_record_that_was_changed_is_refused(name: str, record: Recorder, tmp_path: Path) -> None:
    rows = read_rows(record(*PORT))
    change, due = FORGED[name]
    change(rows)
    assert re.search(due, _refused(write_rows(tmp_path / "run.jsonl", rows), tmp_path, 2))


# Parts of a run.

FILTERED = {
    ("--dtype", "f64"): "was kept to f64 by --dtype; run it without --dtype",
    ("--activation", "tanh"): "was kept to tanh by --activation",
    ("--regime", "normal"): "was kept to normal by --regime",
    ("--shard", "1/2"): "is part 1 of 2 of a run; put the parts together with kterm merge",
    ("--profile", "smoke"): "has profile smoke, which is too small; use --profile standard",
}


@pytest.mark.parametrize("options", FILTERED, ids=" ".join)
def test_a_part_of_a_run_is_refused(options: tuple[str, str], record: Recorder, tmp_path: Path) -> None:
    path = record(*PORT, *options)
    assert read(path).conforms
    assert FILTERED[options] in _refused(path, tmp_path, 2)


def test_a_filter_that_is_taken_out_of_the_header_is_another_plan(record: Recorder, tmp_path: Path) -> None:
    rows = read_rows(record(*PORT, "--dtype", "f64"))
    _header(rows, dtypes=[])
    assert "has another plan" in _refused(write_rows(tmp_path / "run.jsonl", rows), tmp_path, 2)
    _adapter(rows, dtypes=["f64"])  # the adapter would have declared f64 alone: a true record of such an adapter
    assert "says of port that unsupported is" in _refused(write_rows(tmp_path / "run.jsonl", rows), tmp_path, 2)


def test_a_selection_of_pytest_is_refused(record: Recorder, tmp_path: Path) -> None:
    rows = read_rows(record(*PORT))
    _header(rows, selected=[[0, rows[0]["adapters"][0]["structures"] - 1]])
    path = write_rows(tmp_path / "run.jsonl", rows)
    assert read(path).conforms
    assert "holds the cases that pytest -k selected; run all of them" in _refused(path, tmp_path, 2)


def test_merged_shards_are_certified_as_the_whole_run(record: Recorder, tmp_path: Path) -> None:
    shards = [str(record(*PORT, "--shard", f"{i}/2")) for i in (1, 2)]
    assert kterm_here("merge", *shards, "-o", "all.jsonl", folder=tmp_path).returncode == 0
    assert kterm_here("certify", "all.jsonl", "-o", "c.json", folder=tmp_path).returncode == 0
    assert json.loads((tmp_path / "c.json").read_text())["record"]["profile"] == "quick"


def test_qualifying_profiles_hold_whole_ones() -> None:
    assert {*WHOLE} < {*QUALIFYING}
    assert "smoke" not in QUALIFYING


# Runs that do not conform.

FAILING: dict[tuple[str, ...], str] = {
    ("port.py:Port", "--mutant", "no-slope-last"): "port has the mutant no-slope-last, a planted mistake",
    ("port.py:Off",): "cases of off ",
    ("port.py:Port", "--expectations", "unmatched.toml"): "expectation 1 (port, 99x99-*): it matches no case",
}


@pytest.mark.parametrize("run", FAILING, ids=" ".join)
def test_a_run_that_does_not_conform_earns_none(run: tuple[str, ...], record: Recorder, tmp_path: Path) -> None:
    path = record(*run)
    assert not read(path).conforms
    assert f"kterm: no certificate: {FAILING[run]}" in _refused(path, tmp_path, 1)


def test_a_mutant_that_is_not_found_earns_none(record: Recorder, tmp_path: Path) -> None:
    rows = read_rows(record(*PORT))
    _adapter(rows, mutant="no-slope-last")
    path = write_rows(tmp_path / "run.jsonl", rows)
    assert read(path).conforms
    assert "a planted mistake" in _refused(path, tmp_path, 1)


def test_an_adapter_that_fails_keeps_others_from_theirs_unless_they_are_chosen(
    record: Recorder, tmp_path: Path
) -> None:
    path = record("port.py:Port", "port.py:Off")
    assert "no certificate: cases of off" in _refused(path, tmp_path, 1)
    assert "unknown adapter of the record 'port2'" in _refused(path, tmp_path, 2, "--adapter", "port2")
    assert kterm_here("certify", str(path), "--adapter", "port", folder=tmp_path).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["kterm-port.json", "kterm-port.svg"]


def test_a_case_without_a_result_earns_none(record: Recorder, tmp_path: Path) -> None:
    """As after Ctrl-C: the record is whole, and says which cases have no result."""
    rows = read_rows(record(*PORT))
    last = max(i for i, row in enumerate(rows) if row["kind"] == "group")
    group, cases = rows[last], [row for row in rows[last:-1] if row["kind"] == "case"]
    assert all("statuses" not in row for row in cases)
    footer, n = rows[-1], len(cases)
    for counts in (footer["accounting"], footer["by_adapter"]["port"]):
        counts["passed"] -= n
    footer["judged"]["port"]["cases"] -= n
    for check in group["checks"]:
        footer["checks"]["port"][check]["passed"] -= n
    for check in ("descent", "batch"):
        footer["checks"]["port"][check]["passed"] -= sum(check in row for row in cases)
    footer["unanswered"] = [["port", f"{group['group']}-s{row['draw']}"] for row in cases]
    in_full = [row for row in rows[last:-1] if row["kind"] == "verdict"]
    footer["verdicts"] -= len(in_full)
    path = write_rows(tmp_path / "run.jsonl", [*rows[:last], footer])
    assert len(read(path).footer["unanswered"]) == n
    assert f"{n} cases of port without a result" in _refused(path, tmp_path, 1)


def test_the_record_of_a_trace_is_refused(tmp_path: Path) -> None:
    from ....support.mistakes.models.faults import FAULTS

    FAULTS[0].trace().save(tmp_path / "trace")
    kterm_here("judge", "trace", "--report", "r.jsonl", folder=tmp_path)
    assert "is of a trace of a model, which no plan asked for" in _refused(tmp_path / "r.jsonl", tmp_path, 2)


# A record that adds up and is not true.


def test_a_record_of_another_adapter_is_found_by_repeating_a_part(record: Recorder, tmp_path: Path) -> None:
    """The record of the sound port is given out as that of the one whose slopes are off."""
    rows = json.loads(json.dumps(read_rows(record(*PORT))).replace('"port"', '"off"'))
    spec = rows[0]["adapters"][0]["spec"]
    _adapter(rows, spec=f"{record(*PORT).parent / spec.split(':')[0]}:Off", framework="off")
    path = write_rows(tmp_path / "run.jsonl", rows)
    assert kterm_here("certify", str(path), "-o", "c.json", folder=tmp_path).returncode == 0  # as the page says
    said = _refused(path, tmp_path, 2, "--recheck", "5")
    assert "if you trust it, add --trust" in said
    (tmp_path / "c.json").unlink()
    (tmp_path / "c.svg").unlink()
    done = kterm_here("certify", str(path), "-o", "c.json", "--recheck", "20", "--trust", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "passed in the record, failed now" in done.stdout
    assert "came out otherwise here" in done.stderr
    assert not (tmp_path / "c.json").exists()


def test_declarations_that_widen_what_is_right_cannot_be_left_out_of_a_record_that_is_repeated(
    record: Recorder, tmp_path: Path
) -> None:
    rows = read_rows(record(*PORT))
    file = record(*PORT).parent / "port.py"
    assert rows[0]["adapters"][0]["arithmetic"]["f32"]["flushing"] == "never"
    _adapter(rows, spec=f"{file}:Port", arithmetic={})
    path = write_rows(tmp_path / "run.jsonl", rows)
    assert kterm_here("certify", str(path), folder=tmp_path).returncode == 0
    assert "its arithmetic is " in _refused(path, tmp_path, 2, "--recheck", "1", "--trust")
