"""The figures of a certificate, derived anew from the lines of its record, and not from what reads them."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.conformance.evaluation.certificate.figures import find_smallest, least_power
from kterm.conformance.records.form.verdicts import rounded_power

from ....support.here import kterm_here
from .conftest import Recorder, Rows, read_rows

GRAVEST = ("errored", "failed", "blocked", "expected", "unsupported", "inconclusive", "passed")
RUNS = {
    "wide": ("port.py:Wide",),
    "off": ("port.py:Off", "--expectations", "unbounded.toml"),
    "silent": ("port.py:Silent",),
    "lazy": ("port.py:Lazy",),
}


def _certificate(path: Path, folder: Path) -> dict[str, Any]:
    done = kterm_here("certify", str(path), "-o", "c.json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "c.json").read_text(encoding="utf-8"))


class Case:
    """A case, from its line and that of its group."""

    def __init__(self, group: dict[str, Any], line: dict[str, Any]) -> None:
        self.id = f"{group['group']}-s{line['draw']}"
        _, names, _, _, self.dtype, self.regime = group["group"].split("-")
        self.layers = names.split(".")
        self.checks = line.get("checks", group["checks"])
        self.statuses = {check: line.get("statuses", {}).get(check, "passed") for check in self.checks}
        numbers = zip(line["margins"], line["powers"], strict=True)
        self.numbers = {check: next(numbers) for check, names in self.checks.items() if names}
        for check in ("descent", "batch"):
            if check in line:
                self.numbers[check] = line[check]
                self.statuses[check] = line.get("statuses", {}).get(check, "passed")
        self.statuses |= dict.fromkeys(line.get("blocked", {}), "blocked")
        self.status = min(self.statuses.values(), key=GRAVEST.index)
        self.weak = set(line.get("inconclusive", ()))


def _cases(rows: Rows) -> list[Case]:
    group: dict[str, Any] = {}
    found = []
    for row in rows:
        if row["kind"] == "group":
            group = row
        elif row["kind"] == "case":
            found.append(Case(group, row))
    return found


@pytest.fixture(scope="module", params=RUNS)
def derived(request: pytest.FixtureRequest, record: Recorder, tmp_path_factory: Any) -> tuple[Rows, dict[str, Any]]:
    """The lines of a record, and its certificate."""
    path = record(*RUNS[request.param])
    return read_rows(path), _certificate(path, tmp_path_factory.mktemp("certificate"))


def test_what_was_run_is_what_the_header_says(derived: tuple[Rows, dict[str, Any]], record: Recorder) -> None:
    (header, *_), certificate = derived
    (adapter,) = header["adapters"]
    assert certificate["record"] == {
        "sha256": certificate["record"]["sha256"],
        **{key: header[key] for key in ("suite", "numbers", "profile", "seed", "level")},
        "plan": adapter["plan"],
    }
    path = record(*RUNS[adapter["name"]])
    assert certificate["record"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for key in ("name", "version", "framework", "device", "dtypes", "activations", "biases"):
        assert certificate["adapter"][key] == adapter[key]
    assert certificate["place"]["environment"]["libraries"] == header["environment"]["libraries"]
    assert certificate["tolerance"] == {"sigmas": 10.0, "least_power": 10.0, "run_false_alarms": 1e-6}


def test_the_accounting_adds_up(derived: tuple[Rows, dict[str, Any]]) -> None:
    rows, certificate = derived
    counts = Counter(case.status for case in _cases(rows))
    assert certificate["accounting"] == {"planned": counts.total(), **{name: counts[name] for name in GRAVEST}}
    name = rows[0]["adapters"][0]["name"]
    assert {"off": "expected", "lazy": "unsupported"}.get(name, "passed") in counts
    assert ("inconclusive" in counts) is (name != "off")


def test_checks_by_dtype(derived: tuple[Rows, dict[str, Any]]) -> None:
    rows, certificate = derived
    statuses: dict[Any, Counter[str]] = defaultdict(Counter)
    margins, powers = defaultdict(list), defaultdict(list)
    for case in _cases(rows):
        for check, status in case.statuses.items():
            statuses[check, case.dtype][status] += 1
            if status == "passed" and check in case.numbers:
                margin, power = case.numbers[check]
                margins[check, case.dtype].append(margin)
                if power is not None and math.isfinite(float(power)):
                    powers[check, case.dtype].append(power)
    assert {(one["check"], one["dtype"]): one["cases"] for one in certificate["checks"]} == statuses
    assert any(powers.values())
    for one in certificate["checks"]:
        key = one["check"], one["dtype"]
        assert one["worst"] == max(margins[key], default=None)
        if not powers[key]:
            assert one["smallest_mistake"] is None
            continue
        mistakes = sorted(1 / _least(power) for power in powers[key])
        assert one["smallest_mistake"] == pytest.approx({
            "in_the_weakest_case": mistakes[-1],
            "in_half_of_the_cases": mistakes[len(mistakes) // 2],
            "in_the_strongest_case": mistakes[0],
        }, rel=1e-5)  # fmt: skip


def _least(power: float) -> float:
    """The least power that has this one digit, and no less than 10, which a pass has: 15 is 2e+01, and so is 24."""
    digits = Decimal(power)
    ten = Decimal(10) ** digits.adjusted()
    step = ten / 10 if digits == ten else ten  # numbers below a power of ten are ten times as dense
    return float(max(digits - step / 2, Decimal(10)))


def test_grades_by_activation_and_dtype(derived: tuple[Rows, dict[str, Any]]) -> None:
    rows, certificate = derived
    cells: dict[Any, Counter[str]] = defaultdict(Counter)
    worst: dict[Any, float] = {}
    for case in _cases(rows):
        if case.regime == "layout":
            continue
        compared = {name for names in case.checks.values() for name in names} - case.weak
        for name in set(case.layers):
            key = name, case.dtype
            cells[key]["cases"] += 1
            cells[key][case.status] += 1
            for check, (margin, _) in case.numbers.items():
                if case.statuses[check] == "passed":
                    worst[key] = max(worst.get(key, 0), margin)
        for i, name in enumerate(case.layers, 1):
            x = "outputs" if i == len(case.layers) else f"x_{i}"
            slope = f"k_{i}" if "k_terms" in case.checks else f"dE/dW_{i}"
            cells[name, case.dtype]["values"] += x in compared
            cells[name, case.dtype]["slopes"] += slope in compared
    for one in certificate["grades"]:
        key = one["activation"], one["dtype"]
        for figure in ("cases", "passed", "expected", "inconclusive", "unsupported", "values", "slopes"):
            assert one[figure] == cells[key][figure], (key, figure)
        assert one["worst"] == worst.get(key)
    assert {(one["activation"], one["dtype"]) for one in certificate["grades"]} >= {*cells}


def test_the_run_as_a_whole(derived: tuple[Rows, dict[str, Any]]) -> None:
    rows, certificate = derived
    ((_, due),) = rows[-1]["run"].items()
    found = certificate["run"]
    assert [(one["check"], one["quantity"], one["grade"]) for one in found] == [
        (row["check"], row["quantity"], row["grade"]) for row in due
    ]
    for one, row in zip(found, due, strict=True):
        assert row["case"] == f"all-{one['dtype']}-run"
        power = row.get("power", 0) if row["check"] == "bias" else 0
        assert one["smallest_mistake"] == (pytest.approx(1 / power, rel=6e-3) if power else None)
    assert bool(due) is (rows[0]["adapters"][0]["name"] != "silent")


def test_divergences(derived: tuple[Rows, dict[str, Any]]) -> None:
    rows, certificate = derived
    matched = {row["case"] for row in rows if row["kind"] == "verdict" and row.get("expectation")}
    due = {"reason": "coarse", "issue": "", "cases": len(matched), "bound": "none", "limit": "", "shipped": False}
    found = [{key: value for key, value in one.items() if key != "dtypes"} for one in certificate["divergences"]]
    assert found == ([due] if matched else [])
    assert {dtype for one in certificate["divergences"] for dtype in one["dtypes"]} == {
        case.split("-")[4] for case in matched
    }


@pytest.mark.parametrize(
    ("powers", "due"),
    [
        ([], None),
        ([20.0], (1 / 15,) * 3),
        ([10.0, 2e6], (0.1, 0.1, 1 / 1.5e6)),
        ([3e3, 10.0, 400.0], (0.1, 1 / 350, 1 / 2500)),
    ],
)
def test_what_is_said_of_half_of_the_cases_holds_for_half(powers: list[float], due: Any) -> None:
    found = find_smallest(powers)
    shown = None if found is None else (
        found.in_the_weakest_case, found.in_half_of_the_cases, found.in_the_strongest_case,
    )  # fmt: skip
    assert shown == (None if due is None else pytest.approx(due, rel=1e-5))


def test_a_recorded_power_stands_for_no_smaller_one() -> None:
    rng = np.random.default_rng(0)
    for power in 10 ** rng.uniform(1, 20, 2000):
        assert 0.59 * power < least_power(rounded_power(power)) <= power * (1 + 1e-5)
