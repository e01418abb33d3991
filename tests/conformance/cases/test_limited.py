"""Plans cut to limits: nothing outside them is planned, what fits is kept, and what is left out is counted."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from kterm.adapters import Limits
from kterm.adapters.limits import count_entries, count_products
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.limited import describe_cut, pairs_of
from kterm.conformance.cases.plan import PROFILES, Plan, make_options, plan
from kterm.conformance.cases.regimes import REGIMES, aimed_layer
from kterm.conformance.cases.shapes import twin_structures
from kterm.conformance.checks.repeated.twins import twins_of
from kterm.reference import ACTIVATIONS, DTYPES, Network, Structure

FULL = replace(describe(Numpy(), "numpy"), dtypes=tuple(DTYPES))
FORM = Limits(hidden_alike=True, last_identity=True)
ANY_SIZE = ("tiles", "large", "means")
"""Regimes in which one dimension must be large."""


def planned(limits: Limits | None, profile: str = "quick", adapter: Description = FULL) -> Plan:
    return plan(replace(adapter, limits=limits), make_options(profile, 0))


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "thorough"])
@pytest.mark.parametrize(
    ("limits", "lost"),
    [
        (Limits(), {}),
        (FORM, {"tiles", "means", "large"}),
        (Limits(hidden_alike=True), {}),
        (Limits(last_identity=True, depth=2), {"tiles", "means", "large"}),
        (Limits(depth=1), {"tiles", "large"}),
        (Limits(width=24, batch=20), {"means", "large"}),
        (Limits(width=8, depth=4, batch=6, least_batch=1), {"tiles", "means", "large", "degenerate"}),
        (Limits(width=1), {"tiles", "square", "means", "large"}),
        (Limits(least_batch=2), {"degenerate"}),
        (Limits(least_batch=3, batch=4), {"degenerate", "tiles", "means", "large", "square"}),
        (Limits(entries=2000), {"tiles", "means", "large"}),
        (Limits(entries=200), {"tiles", "means", "large"}),
        (Limits(speed=1e4, call_seconds=0.5), {"tiles", "means", "large"}),
        (Limits(speed=1e5, run_seconds=3600), {}),
    ],
    ids=lambda value: str(value) if isinstance(value, Limits) else " ".join(sorted(value)) or "nothing",
)
def test_what_fits_is_kept_and_nothing_else_is_planned(limits: Limits, lost: Collection[str], profile: str) -> None:
    answer, everything = planned(limits, profile), planned(None, profile)
    ids = [group.id for group in answer.groups]
    assert len(set(zip(ids, (g.seed for g in answer.groups), strict=True))) == len(ids)
    for group in answer.groups:
        assert limits.problem_of(group.structure) == ""
        assert parse_case(group.cases[0].id, tuple(REGIMES)) == group.cases[0]
    kept, due = ({pair for group in some.groups for pair in pairs_of(group)} for some in (answer, everything))
    assert {regime for regime, _, _ in due - kept} <= set(lost)
    assert answer.cut is not None
    assert set(answer.cut.left_out) <= set(lost)


def test_limits_that_nothing_exceeds_change_nothing() -> None:
    for profile in PROFILES:
        answer = planned(Limits(), profile)
        assert answer.groups == planned(None, profile).groups
        assert answer.cut is not None
        assert list(describe_cut("a", answer.cut.to_json())) == []
    assert planned(None).cut is None


@pytest.mark.parametrize("limits", [Limits(width=5, batch=5, depth=2), FORM, Limits(least_batch=2, depth=1)])
def test_regimes_keep_their_meaning(limits: Limits) -> None:
    for group in planned(limits, "standard").groups:
        structure, widths = group.structure, group.structure.network.widths
        if group.regime == "square":
            assert set(widths) == {structure.batch}
        elif group.regime == "kinks":
            row = structure.network.activations[aimed_layer(structure) - 1]
            assert REGIMES["kinks"].pool(ACTIVATIONS[row])
        elif group.regime == "lattice":
            assert structure.batch.bit_count() == widths[-1].bit_count() == 1
        elif group.regime == "tiles":
            assert max(*widths, structure.batch) >= 15
        elif group.regime == "means":
            assert max(*widths, structure.batch) >= 64
        elif group.regime == "large":
            assert max(*widths, structure.batch) >= 1024


def test_tiles_stay_at_the_same_side_of_an_edge() -> None:
    before = [g.structure for g in planned(None, "thorough").groups if g.regime == "tiles"]
    after = [g.structure for g in planned(Limits(width=40, batch=40), "thorough").groups if g.regime == "tiles"]
    sizes = {max(*s.network.widths, s.batch) for s in before}
    assert {max(*s.network.widths, s.batch) for s in after} == {15, 16, 17, 31, 32, 33, 39}
    assert {15, 16, 17, 31, 32, 33} < sizes


def test_time_takes_draws_first_and_then_structures() -> None:
    adapter = replace(FULL, dtypes=("f64",), activations=("tanh", "relu"))
    structures, draws = [], []
    for seconds in (10, 3, 0.5):
        answer = planned(Limits(width=8, batch=8, speed=1e5, run_seconds=seconds), adapter=adapter)
        assert answer.cut is not None
        assert answer.cut.seconds is not None
        assert answer.cut.seconds <= seconds
        structures.append(len(answer.groups))
        draws.append(max(len(group.draws) for group in answer.groups))
        kept = {pair for group in answer.groups for pair in pairs_of(group)}
        assert {(regime, "f64", name) for regime in ("normal", "tails", "kinks") for name in ("relu",)} <= kept
    assert structures[0] == structures[1] > structures[2]
    assert draws[0] == 40 > draws[1] > draws[2] == 1


def test_the_report_counts_what_limits_did() -> None:
    cut = planned(Limits(width=8, batch=6, depth=4, least_batch=1, speed=1e5, run_seconds=10)).cut
    assert cut is not None
    lines = list(describe_cut("engine", cut.to_json()))
    total = sum(cut.left_out.values())
    assert lines[0].startswith(f"the limits of engine leave out {total} structures: ")
    assert f"{cut.left_out['tiles']} tiles" in lines[0]
    assert lines[1] == f"the limits of engine leave out {cut.twins} twin programs"
    assert lines[2].startswith(f"the limits of engine change structures: batch of {cut.changed['batch']}, depth of ")
    assert lines[3].startswith("the time limit of engine leaves ")
    assert lines[3].endswith(" s at the declared speed")


def test_twins_outside_the_limits_are_counted_and_not_built() -> None:
    limits = Limits(batch=3, hidden_alike=True, last_identity=True)
    answer, described = planned(limits), replace(FULL, limits=limits)
    groups = [group for group in answer.groups if REGIMES[group.regime].twins]
    outside = 0
    for group in groups:
        made = twin_structures(group.structure, described.biases, described.dtypes)
        built = [twin.structure for twin in twins_of(group.structure, make_draws(group.cases)[0], described)]
        assert built == [twin for twin in made if not limits.problem_of(twin)]
        assert built
        outside += len(made) - len(built)
    assert answer.cut is not None
    assert answer.cut.twins == outside > len(groups)
    free = planned(Limits(depth=40)).cut
    assert free is not None
    assert free.twins == 0
    assert "twin" not in " ".join(describe_cut("engine", free.to_json()))


def test_layout_probes_outside_the_limits_are_counted() -> None:
    answer = planned(Limits(entries=4), "smoke")
    assert answer.cut is not None
    assert answer.cut.left_out["layout"] == 2
    assert not any(group.regime == "layout" for group in answer.groups)
    narrow = planned(Limits(width=2), "smoke").cut
    assert narrow is not None
    assert "layout" not in narrow.left_out


def test_a_structure_outside_the_limits_says_which() -> None:
    structure = Structure(Network((3, 4, 2), ("tanh", "relu"), "pre"), 5, "f64")
    assert count_entries(structure) == 12 + 8 + 4 + 2 + 5 * 9
    assert count_products(structure) == 5 * 20
    for limits, said in (
        (Limits(width=3), "width 4 is above its limit of 3"),
        (Limits(depth=1), "depth 2 is above its limit of 1"),
        (Limits(batch=4), "batch 5 is above its limit of 4"),
        (Limits(least_batch=6), "batch 5 is below its least of 6"),
        (Limits(entries=70), "number of entries 71 is above its limit of 70"),
        (Limits(last_identity=True), "its last layer is linear, not relu"),
        (Limits(speed=10, call_seconds=2), "a call would take about 10 s, and its limit is 2 s"),
        (Limits(hidden_alike=True, entries=71), ""),
    ):
        assert limits.problem_of(structure) == said
    deep = Structure(Network((3, 4, 2, 2), ("tanh", "relu", "sin"), "pre"), 5, "f64")
    assert Limits(hidden_alike=True).problem_of(deep) == "its hidden layers have one activation, not tanh, relu"


def test_limits_travel_in_the_description() -> None:
    described = replace(FULL, limits=FORM)
    assert Description.from_json(described.to_json()) == described
    assert "limits" not in FULL.to_json()
