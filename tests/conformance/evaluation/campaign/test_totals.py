"""What units say together: the same in any order, and what the groups say one by one."""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.plan import make_options
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import STATUSES, status
from kterm.conformance.checks.whole_run.moments import Moments, merge
from kterm.conformance.evaluation.campaign.line import decode, largest, least, read_statuses
from kterm.conformance.evaluation.campaign.outcome import conclude, summary_lines, to_json, verdict_lines
from kterm.conformance.evaluation.campaign.store import Store
from kterm.conformance.evaluation.campaign.totals import Totals
from kterm.conformance.evaluation.campaign.units import make_units
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.form.files import RecordError
from kterm.conformance.runners.runner import LocalRunner

from . import COST, MUTANT, RUN, examine_here, small_campaign, with_mutant


def _summary(folder: Path, lines: list[tuple[int, bytes]]) -> str:
    with Store(folder) as store:
        store.begin(RUN, COST)
        for number, line in lines:
            store.write(number, line, 1.0)
        return json.dumps(to_json(conclude(RUN, store, COST)))


def test_the_order_of_the_workers_changes_nothing(tmp_path: Path) -> None:
    lines = [(unit.number, line) for unit, line in small_campaign()]
    due = _summary(tmp_path / "in order", lines)
    for seed in range(3):
        mixed = random.Random(seed).sample(lines, len(lines))
        assert _summary(tmp_path / str(seed), mixed) == due
    assert _summary(tmp_path / "fewer", lines[1:]) != due


def test_the_sums_are_those_of_the_groups_one_by_one() -> None:
    totals = Totals("numpy")
    statuses, checks, cases = Counter[str](), Counter[tuple[str, str]](), 0
    moments: list[Moments] = []
    worst: list[tuple[float, str]] = []
    for unit, line in small_campaign()[:4]:
        totals.add(decode(line))
        for group in unit.groups:
            examination = examine(group, LocalRunner(Numpy()), RUN.expectation_for("numpy"))
            moments.append(examination.moments)
            for some in examination.verdicts:
                cases += 1
                statuses[status(some)] += 1
                for check in {v.check for v in some}:
                    checks[check, status([v for v in some if v.check == check])] += 1
                worst += [
                    (v.worst, v.case)
                    for v in some
                    if v.grade == "pass" and v.power is not None
                    if "relu" not in v.case or v.check in ("forward", "error", "weight_gradients", "bias_gradients")
                ]
    assert totals.cases == cases
    assert totals.statuses == statuses
    assert {(check, name): n for check, some in totals.checks.items() for name, n in some.items()} == checks
    assert merge([totals.moments]) == merge(moments)
    # Every case has one regime and one dtype, and so counts once for each of its activations.
    regimes = Counter[str]()
    for (_, _, regime), found in totals.by.items():
        regimes[regime] += found.total()
    assert regimes["layout"] == 2
    assert totals.margins[0][0] == pytest.approx(max(worst)[0], rel=5e-3)
    assert totals.margins[0][2] == max(worst)[1]


def test_a_choice_at_a_kink_is_no_margin() -> None:
    # NumPy is right at every kink, by all of the jump that the tolerance allows for.
    kept = [margin for _, line in small_campaign() for margin, *_ in decode(line).margins]
    assert kept
    assert max(kept) < 0.5


def test_where_nothing_rounds_there_is_no_power() -> None:
    # Except in E, the tolerance is 0 there, and the power infinite, which JSON cannot say.
    run = replace(RUN, options=make_options("quick", 0, ["f32"], ["relu"], regimes=["lattice"]))
    *_, unit = (unit for unit in islice(make_units(run, COST), 4) if {g.regime for g in unit.groups} == {"lattice"})
    line = decode(examine_here(run, unit))
    assert set(read_statuses(line.statuses)) == {"passed"}
    assert {quantity for _, quantity, _ in line.powers} == {"E"}


def test_of_equal_extremes_the_first_by_name_is_kept() -> None:
    found = [(1.0, "z_1", f"case {n}") for n in range(9)]
    for seed in range(3):
        mixed = random.Random(seed).sample(found, len(found))
        assert largest(mixed) == least(mixed) == found[:5]
    assert largest([(2.0, "z_1", "a"), (1.0, "k_1", "a"), (1.5, "k_1", "b")]) == [(2.0, "z_1", "a"), (1.5, "k_1", "b")]


def test_statuses_are_read_as_they_were_written() -> None:
    assert read_statuses("2p1f10x") == ["passed"] * 2 + ["failed"] + ["expected"] * 10
    for odd in ("p", "2", "2p3", "2q", "-1p"):
        with pytest.raises(ValueError, match="no list of statuses"):
            read_statuses(odd)
    for unit, line in small_campaign():
        found = read_statuses(decode(line).statuses)
        assert len(found) == unit.cases
        assert set(found) <= set(STATUSES)


def test_a_mistake_is_found_with_its_cause_and_its_layer(tmp_path: Path) -> None:
    run = with_mutant()
    with Store(tmp_path / "wrong") as store:
        store.begin(run, COST)
        for unit, _ in small_campaign()[:6]:
            store.write(unit.number, examine_here(run, unit), 1.0)
        found = conclude(run, store, COST)
    assert not found.conforms
    ((line, passes),) = verdict_lines(found)
    assert line.startswith("FAIL numpy")
    assert MUTANT in line
    assert not passes
    (outcome,) = found.outcomes
    causes = outcome.diagnosis.causes
    assert [e.name for e in causes[0].mistakes][:1] == [MUTANT]
    assert causes[0].is_fact
    said = "\n".join(summary_lines(found))
    assert "it equals the rule with no f' in hidden layers" in said
    assert "it begins at k_" in said
    assert f"kterm replay {causes[0].worst.case} numpy --mutant {MUTANT}" in said
    # Findings are there in full: as many cases as failed.
    assert outcome.totals.failing == outcome.totals.statuses["failed"] > 0
    assert to_json(found)["adapters"][0]["false_alarms"]["found"] == outcome.totals.statuses["failed"]


def test_a_sound_adapter_passes_and_says_so(tmp_path: Path) -> None:
    with Store(tmp_path / "sound") as store:
        store.begin(RUN, COST)
        for unit, line in small_campaign():
            store.write(unit.number, line, 1.0)
        found = conclude(RUN, store, COST)
    assert found.conforms
    total = sum(unit.cases for unit, _ in small_campaign())
    assert f"{total:,} cases, 0 failures" in verdict_lines(found)[0][0]
    said = "\n".join(summary_lines(found))
    assert f"{total:,} cases in {len(small_campaign())} units, seeds 0 to 1" in said
    assert "false alarms of kterm: 0 in" in said
    assert "kterm replay" in said


def test_an_expectation_that_nothing_meets_fails_the_campaign(tmp_path: Path) -> None:
    own = Expectation("1", "numpy", "made up", check="k_terms", activation="tanh")
    run = replace(RUN, expectations=(own,), user_supplied=True, options=make_options("smoke", 0))
    with Store(tmp_path / "c") as store:
        store.begin(run, COST)
        *rest, last = [(unit.number, examine_here(run, unit)) for unit in make_units(run, COST)]
        for number, line in rest:
            store.write(number, line, 1.0)
        # Before all of the first seed is through, nobody can say.
        assert conclude(run, store, COST).conforms
        store.write(*last, 1.0)
        found = conclude(run, store, COST)
    assert not found.conforms
    assert "1 stale expectation" in verdict_lines(found)[0][0]
    assert any("nothing that it matches failed" in line for line in summary_lines(found))


def test_a_summary_is_json_whatever_there_is_little_of(tmp_path: Path) -> None:
    # The mean of one tensor has no standard error, and its limit is infinite.
    groups = [(unit, group) for unit, _ in small_campaign() for group in unit.groups if group.regime == "square"]
    unit, group = next((u, group) for u, group in groups if group.structure.network.depth == 2)
    with Store(tmp_path / "c") as store:
        store.begin(RUN, COST)
        store.write(0, examine_here(RUN, replace(unit, number=0, groups=(replace(group, draws=(0,)),))), 1.0)
        text = store.write_summary(to_json(conclude(RUN, store, COST))).read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    assert ["inf", "inf"] in [one["square"][1:] for one in found["adapters"][0]["means"]]


def test_a_campaign_without_a_case_does_not_pass(tmp_path: Path) -> None:
    with Store(tmp_path / "empty") as store:
        store.begin(RUN, COST)
        assert not conclude(RUN, store, COST).conforms


def test_an_edited_line_is_refused(tmp_path: Path) -> None:
    _, line = small_campaign()[0]
    for odd in (line.replace(b'"statuses":"', b'"statuses":"x'), line.replace(b'"moments":[[', b'"moments":[[1,')):
        with Store(tmp_path / str(len(odd))) as store:
            store.begin(RUN, COST)
            store.write(0, odd, 1.0)
            with pytest.raises(RecordError, match=r"unit 0 is damaged .*; delete its line"):
                conclude(RUN, store, COST)
