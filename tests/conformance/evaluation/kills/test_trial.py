"""Trials: the verdicts on mutants are those of a check, and the smoke profile kills every mistake and nothing else."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import check_adapter
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import WIDE, make_options
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import CHECKS, Check, Verdict
from kterm.conformance.diagnosis.explanation import explanations_of, origin_of
from kterm.conformance.evaluation.kills.matrix import find_state
from kterm.conformance.evaluation.kills.outcome import SUFFICIENT_MARGIN, Outcome
from kterm.conformance.evaluation.kills.trial import Trial, measure_outcomes
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner

from . import SMOKE, make_group

_VARIOUS = (
    "factor-2", "accumulated", "momentum", "gradient-narrowed", "slope-at-kink", "stale-program", "stale-dtype",
    "replaced-program", "views", "first-call", "inputs-modified", "other-dtype", "transposed-if-square",
    "float32-inside", "output-form",
)  # fmt: skip
_CHECKED = ("slope-at-kink", "stale-program", "views", "transposed-if-square")


ONE_AND_HEAVY = ("f64", pytest.param("f32", marks=pytest.mark.heavy))


@pytest.mark.parametrize("dtype", ONE_AND_HEAVY)
def test_verdicts_are_those_without_a_cache(dtype: str) -> None:
    found = _collect_verdicts(dtype)
    for name in _VARIOUS:
        due, premise = list[Verdict](), None
        runner = LocalRunner(plant_mutant(Numpy(), MUTANTS[name]))
        for group in SMOKE.groups(dtype):
            verdicts = examine(group, runner, layout_error=premise).verdicts
            due += [_strip(verdict) for some in verdicts for verdict in some]
            if group.regime == "layout":
                premise = premise or next((v.message for some in verdicts for v in some if v.fails), None)
        assert found[name] == due, name


def test_a_mutant_declares_what_its_adapter_declares() -> None:
    """So the verdicts on equal answers are equal."""
    own = describe(Numpy(), "numpy")
    for mutant in MUTANTS.values():
        found = describe(plant_mutant(Numpy(), mutant), "numpy")
        assert (found.conventions, found.arithmetic, found.layout) == (own.conventions, own.arithmetic, own.layout)


@pytest.mark.parametrize("dtype", WIDE)
def test_verdicts_are_those_of_a_check(dtype: str) -> None:
    for name in _CHECKED:
        checked = check_adapter(plant_mutant(Numpy(), MUTANTS[name]), profile="smoke", dtypes=[dtype])
        due = [_strip(verdict) for some in checked.verdicts.values() for verdict in some]
        assert _collect_verdicts(dtype)[name] == due, name


@cache
def _collect_verdicts(dtype: str) -> dict[str, list[Verdict]]:
    trial = Trial(SMOKE, _VARIOUS)
    found: dict[str, list[Verdict]] = {name: [] for name in ("", *_VARIOUS)}
    for group in SMOKE.groups(dtype):
        for result in trial.run(group, _VARIOUS):
            found[result.name] += [_strip(verdict) for some in result.verdicts for verdict in some]
    return found


def _strip(verdict: Verdict) -> Verdict:
    """A verdict without its diagnosis."""
    return Verdict(**{f.name: getattr(verdict, f.name) for f in fields(Verdict)})


def test_gradients_alone_are_judged_from_the_same_answers() -> None:
    group, names = make_group("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 3), ["slope-twice", "momentum", "first-call"]
    results = list(Trial(SMOKE, names).run(group, names))
    alone = list(Trial(replace(SMOKE, gradients_alone=True), names).run(group, names))
    for result, measured in zip(results[1:], alone[1:], strict=True):
        hidden = result.hide_intermediates()
        assert hidden.verdicts == measured.verdicts
        assert hidden.found == measured.found
        assert not any(v.quantity.startswith(("z", "x", "k")) for some in hidden.verdicts for v in some)
    assert {v.check for some in results[1].found for v in some} == {"k_terms"}
    assert {v.check for some in alone[1].found for v in some} == {"weight_gradients"}


def test_what_an_adapter_does_by_itself_is_no_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = plant_mutant(Numpy(), MUTANTS["batch-of-one"])
    monkeypatch.setattr("kterm.conformance.evaluation.kills.trial.load", lambda spec, device: wrong)
    own, none, other = measure_outcomes(SMOKE, "f64", ["identity-without-slope", "factor-2"])
    assert own.is_found
    assert not none.is_found
    assert other.is_found
    assert find_state(own, "") == "found"


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", WIDE)
def test_smoke_finds_every_mistake_by_enough_and_nothing_else(dtype: str) -> None:
    names, trial = list(MUTANTS), Trial(SMOKE, list(MUTANTS))
    shown, hidden = ({name: Outcome(name, dtype) for name in ("", *names)} for _ in range(2))

    def needs_more(outcome: Outcome) -> bool:
        return outcome.margin < SUFFICIENT_MARGIN

    for group in SMOKE.groups(dtype):
        due = [name for name in names if needs_more(shown[name]) or needs_more(hidden[name])]
        for result in trial.run(group, due):
            if needs_more(shown[result.name]):
                result.add_to(shown[result.name])
            if needs_more(hidden[result.name]):
                result.hide_intermediates().add_to(hidden[result.name])
    for outcome in (*shown.values(), *hidden.values()):
        if outcome.mutant and not MUTANTS[outcome.mutant].equivalent:
            assert outcome.margin >= SUFFICIENT_MARGIN, outcome.mutant
        else:
            assert not outcome.is_found, outcome.mutant


def test_brief_kills_in_the_same_regimes_by_fewer_cases() -> None:
    names = ["factor-2", "slope-at-kink", "columns-past-32"]
    options = replace(SMOKE, options=make_options("quick", 0))
    planned = options.groups("f64")
    groups = [
        group
        for regime in ("normal", "kinks", "tiles")
        for group in [one for one in planned if one.regime == regime and one.structure.batch < 1000][:4]
    ]
    whole, brief = (
        measure_outcomes(replace(options, brief=short), "f64", names, groups=groups) for short in (False, True)
    )
    for long, short in zip(whole[1:], brief[1:], strict=True):
        assert long.is_found
        assert (long.is_found, {r for r, c in long.regimes.items() if c.killed}) == (
            short.is_found,
            {r for r, c in short.regimes.items() if c.killed},
        )
        cases = [sum(cell.cases for cell in outcome.regimes.values()) for outcome in (long, short)]
        assert cases[0] > cases[1]


# Without a check.

WITNESSES: dict[Check, str] = {
    "contract": "views",
    "forward": "forward-no-bias",
    "error": "error-doubled",
    "k_terms": "slope-twice",
    "weight_gradients": "first-gradient-doubled",
    "bias_gradients": "bias-mean",
    "descent": "weights-ignored",
    "batch": "targets-ignored",
}
"""For each check a mistake that nothing else finds."""


@cache
def _measure_witnesses(dtype: str) -> dict[str, Outcome]:
    return {outcome.mutant: outcome for outcome in measure_outcomes(SMOKE, dtype, list(WITNESSES.values()))}


@pytest.mark.parametrize("check", WITNESSES)
def test_without_a_check_its_witness_survives(check: Check) -> None:
    name, dtype = WITNESSES[check], WIDE[list(WITNESSES).index(check) % 2]
    _, outcome = measure_outcomes(replace(SMOKE, without=(check,)), dtype, [name])
    assert outcome.differs
    assert not outcome.is_found
    assert {found for cell in _measure_witnesses(dtype)[name].regimes.values() for found in cell.checks} == {check}


def test_every_check_except_the_layout_has_a_witness() -> None:
    # Other checks find a transposed weight too, in every case. The layout check names the mistake.
    assert set(WITNESSES) == set(CHECKS) - {"layout"}
    _, outcome = measure_outcomes(SMOKE, "f64", ["transposed-if-square"])
    assert {regime for regime, cell in outcome.regimes.items() if cell.cases} == {"layout"}
    _, outcome = measure_outcomes(replace(SMOKE, without=("layout",)), "f64", ["transposed-if-square"])
    assert outcome.is_found
    assert "layout" not in outcome.regimes


# Summaries.


def _summarize(name: str, group: Group, verdicts: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    first = next(v for some in verdicts for v in some if v.is_unexpected)
    return {"mutant": name, "origin": origin_of(first), "best": explanations_of(first)[0].name}


def test_a_few_groups_that_kill_a_mutant_are_summarized() -> None:
    _, outcome = measure_outcomes(replace(SMOKE, summarize=_summarize), "f64", ["factor-2"])
    assert len(outcome.summaries) == 3
    assert {one["best"] for one in outcome.summaries} == {"factor-2"}
    assert all(one["origin"].startswith("k_") for one in outcome.summaries)
