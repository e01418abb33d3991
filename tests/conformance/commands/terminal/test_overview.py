"""Every number that the terminal shows of a run equals the record's, counted here from its raw lines."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kterm.conformance.commands.runs.views.printing import print_record
from kterm.conformance.records.record import read

from ....support.frameworks import tails
from ....support.here import kterm_here

GRADES = {
    "wrong": "failed", "inaccurate": "failed", "errored": "errored", "unsupported": "unsupported",
    "inconclusive": "inconclusive", "blocked": "blocked",
}  # fmt: skip
ORDER = ("errored", "failed", "blocked", "expected", "unsupported", "inconclusive")
"""A case that has verdicts of several kinds has the status of the first of these, if the others are passes."""


@dataclass
class Counted:
    """What the lines of a record between header and footer say of one adapter."""

    statuses: Counter[str] = field(default_factory=Counter)
    checks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    worst: list[float] = field(default_factory=list)


def _count_lines(path: Path) -> tuple[dict[str, Any], dict[str, Counted], dict[str, Any]]:
    """Header, counts by adapter, and footer. Nothing of the footer is used for the counts."""
    header, *lines, footer = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    reasons = {
        one["id"]: f"{one['reason']} ({one['issue']})" if one.get("issue") else one["reason"]
        for one in header["expectations"]
    }
    found = {one["name"]: Counted() for one in header["adapters"]}
    group: dict[str, Any] = {}
    cases: list[tuple[Counted, dict[str, set[str]]]] = []
    for line in lines:
        if line["kind"] == "group":
            group = line
        elif line["kind"] == "case":
            # What is in no verdict below passed, or has another status here.
            made = [*line.get("checks", group["checks"]), *(one for one in ("descent", "batch") if one in line)]
            checks = {check: {line.get("statuses", {}).get(check, "passed")} for check in made}
            checks |= {check: {status} for check, status in line.get("statuses", {}).items()}
            checks |= {check: {"blocked"} for check in line.get("blocked", {})}
            cases.append((found[group["adapter"]], checks))
        else:
            counted, checks = cases[-1]
            status = "expected" if line.get("expectation") else GRADES.get(line["grade"], "passed")
            checks.setdefault(line["check"], set()).add(status)
            if line.get("expectation"):
                counted.reasons[reasons[line["expectation"]]].add(line["case"])
            if status == "failed":
                counted.worst.append(line["worst"])
    for counted, checks in cases:
        for check, some in checks.items():
            counted.checks[check][_status(some)] += 1
        counted.statuses[_status(set().union(*checks.values()))] += 1
    return header, found, footer


def _status(found: set[str]) -> str:
    return next((one for one in ORDER if one in found), "passed")


def _table(lines: list[str]) -> dict[tuple[str, str], Counter[str]]:
    """The counts of the check table by check and adapter."""
    start = next(i for i, line in enumerate(lines) if line.startswith("check  "))
    end = lines.index("", start)
    names = re.split(r"  +", lines[start].strip())[1:]
    places = [lines[start].index(name) for name in names]
    found: dict[tuple[str, str], Counter[str]] = {}
    for line in lines[start + 1 : end]:
        for name, a, b in zip(names, places, [*places[1:], len(line)], strict=True):
            parts = [part.split() for part in line[a:b].strip().split(", ") if part]
            found[line.split()[0], name] = Counter({what: int(n.replace(",", "")) for n, what in parts})
    return found


COARSE = f"{Path(tails.__file__)}:ClippedSilu"
RUNS = {
    "failures on two adapters": ("numpy", COARSE, "--mutant", "no-slope-hidden", "--dtype", "f32"),
    "sound and coarse": ("numpy", COARSE, "--dtype", "f32"),
    "expected and undecided": ("torch",),
}


@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
def test_the_numbers_are_those_of_the_record(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "torch" in arguments:
        pytest.importorskip("torch")
    done = kterm_here("check", *arguments, "--profile", "smoke", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    path = tmp_path / "run.jsonl"
    _, found, footer = _count_lines(path)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    verdicts = [line for line in lines if line.startswith(("PASS ", "FAIL "))]
    assert len(verdicts) == len(found)
    total: Counter[str] = Counter()
    for (name, counted), line in zip(found.items(), verdicts, strict=True):
        total.update(counted.statuses)
        said = line.partition(": ")[2].split(", ")
        bad = counted.statuses["failed"] + counted.statuses["errored"]
        assert said[0] == f"{counted.statuses.total()} cases"
        assert said[1] == f"{bad} failure{'' if bad == 1 else 's'}"
        known = len(counted.reasons)
        assert ("known divergence" in line) == bool(known)
        assert not known or f"{known} known divergence{'' if known == 1 else 's'}" in said
        undecided = counted.statuses["inconclusive"]
        assert len(said) == 2 + bool(known) + bool(undecided)  # nothing else is not 0 in these runs
        assert (f"{undecided} undecided" in said) == bool(undecided)
        assert line.startswith("FAIL") == bool(bad or not counted.statuses["passed"])
        for reason, cases in counted.reasons.items():
            assert f"expected in {len(cases)} case{'' if len(cases) == 1 else 's'} of {name}: {reason}" in lines
        causes = [line for line in lines if re.match(rf"{name}: .* in [\d,]+ cases?(;|$)", line)]
        assert sum(int(re.findall(r" in (\d+) cases?", line)[0]) for line in causes) == counted.statuses["failed"]
    (planned,) = (line for line in lines if line.startswith("planned "))
    parts = {what: int(n) for n, what in re.findall(r"(\d+) (\w+)", planned.partition("=")[2])}
    assert parts == {"passed": 0, "failed": 0} | dict(total)
    assert planned.startswith(f"planned {total.total()} = ")
    table = _table(lines)
    due = {(c, name): counts for name, counted in found.items() for c, counts in counted.checks.items()}
    assert {place: counts for place, counts in table.items() if place[0] not in ("bias", "spread") and counts} == due
    assert footer["accounting"]["planned"] == total.total()
    # A record that is looked at later says the same.
    print_record(read(path), "normal", path.relative_to(tmp_path))
    again = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert again == lines[-len(again) - 1 : -1]


def test_a_number_that_is_not_the_records_is_seen(tmp_path: Path) -> None:
    done = kterm_here(
        "check", "numpy", "--profile", "smoke", "--dtype", "f32", "-n", "0", "-o", "r.jsonl", folder=tmp_path
    )
    _, found, _ = _count_lines(tmp_path / "r.jsonl")
    lines = [line.rstrip() for line in done.stdout.replace("10 passed", "11 passed", 1).splitlines()]
    due = {("contract", "numpy"): found["numpy"].checks["contract"]}
    assert _table(lines)["contract", "numpy"] != due["contract", "numpy"]
