"""The units of a campaign: the same whoever asks, no case twice, and a part of everything early on."""

from dataclasses import replace
from itertools import islice, takewhile

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.evaluation.campaign.drive import due
from kterm.conformance.evaluation.campaign.units import Unit, make_units
from kterm.conformance.records.run import Run

from . import COST, RUN

TWO = replace(RUN, adapters=(*RUN.adapters, replace(describe(Numpy(), "numpy"), name="other")))


def _units(run: Run, seeds: int) -> list[Unit]:
    return list(takewhile(lambda unit: unit.seed < run.options.seed + seeds, make_units(run, COST)))


def test_units_are_numbered_and_do_not_depend_on_how_many_are_asked_for() -> None:
    units = list(due(make_units(TWO, COST), 2_000))
    assert [unit.number for unit in units] == list(range(len(units)))
    assert units[:5] == list(islice(make_units(TWO, COST), 5))
    assert sum(unit.cases for unit in units[:-1]) < 2_000 <= sum(unit.cases for unit in units)


def test_no_case_is_counted_twice() -> None:
    # The layout probes and the smoke profile are the same under every seed.
    keys = [(unit.adapter, case.id) for unit in _units(TWO, 3) for group in unit.groups for case in group.cases]
    assert len(keys) == len(set(keys))
    assert {parse_case(case, tuple(REGIMES)).seed for _, case in keys} == {0, 1, 2}


def test_the_first_seed_is_the_whole_plan_of_a_run_with_this_seed() -> None:
    for seed in (0, 5):
        run = replace(RUN, options=replace(RUN.options, seed=seed))
        units = _units(run, 1)
        planned = plan(run.adapters[0], run.options).groups
        assert sorted(g.id for u in units for g in u.groups) == sorted(g.id for g in planned)
        assert "layout" in {group.regime for group in units[0].groups}


def test_the_first_units_have_a_part_of_everything() -> None:
    run = replace(RUN, options=make_options("quick", 0))
    units = _units(run, 1)
    few = units[: len(units) // 4]
    names = ({(g.structure.dtype, g.regime) for u in some for g in u.groups} for some in (few, units))
    seen, every = names
    assert len(seen) > len(every) / 2


def test_adapters_take_turns() -> None:
    units = _units(TWO, 1)
    half = [unit.adapter for unit in units[: len(units) // 2]]
    assert abs(half.count("numpy") - half.count("other")) <= 1


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_a_plan_that_no_seed_changes_ends(profile: str) -> None:
    run = replace(RUN, options=make_options(profile, 0, ["f32"], ["tanh"], regimes=["twins"]))
    units = list(islice(make_units(run, COST), 100))
    assert (len(units) < 100) == (profile == "smoke")
