"""Kills: the verdicts on mutants are those of a check, every mistake is found, and nothing that is none."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import check_adapter
from kterm.conformance.cases import smoke
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import WIDE, describe, make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import CHECKS, Check, Verdict
from kterm.conformance.diagnosis.explanation import explanations_of, origin_of
from kterm.conformance.evaluation.kills.kill import ENOUGH, Asked, Cell, Fate, Trial, findings, margin, measure
from kterm.conformance.evaluation.kills.matrix import _inapplicable, _state
from kterm.conformance.evaluation.kills.smallest import Shows, smallest
from kterm.conformance.evaluation.kills.trial import Memory, Tape
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Network, Parameters, Structure

from ...support.command import kterm

FULL = describe(Numpy(), "numpy")
ASKED = Asked(FULL, make_options("smoke", 0))


def group_of(case: str, draws: int) -> Group:
    parsed = parse_case(case, tuple(REGIMES))
    return Group(parsed.structure, parsed.regime, parsed.seed, tuple(range(draws)))


# The same verdicts as a check's.

_VARIOUS = (
    "factor-2", "accumulated", "momentum", "gradient-narrowed", "slope-at-kink", "stale-program", "stale-dtype",
    "replaced-program", "views", "first-call", "inputs-modified", "other-dtype", "transposed-if-square",
    "float32-inside", "output-form",
)  # fmt: skip


@pytest.mark.parametrize("dtype", WIDE)
def test_verdicts_are_those_of_a_check(dtype: str) -> None:
    trial = Trial(ASKED, _VARIOUS)
    found: dict[str, list[Verdict]] = {name: [] for name in ("", *_VARIOUS)}
    for group in ASKED.groups(dtype):
        for tried in trial.of(group, _VARIOUS):
            found[tried.name] += [verdict for some in tried.verdicts for verdict in some]
    for name in _VARIOUS:
        checked = check_adapter(plant_mutant(Numpy(), MUTANTS[name]), profile="smoke", dtypes=[dtype])
        due = [_plain(verdict) for some in checked.verdicts.values() for verdict in some]
        assert [_plain(verdict) for verdict in found[name]] == due, name


def _plain(verdict: Verdict) -> Verdict:
    """A verdict without its diagnosis."""
    return Verdict(**{f.name: getattr(verdict, f.name) for f in fields(Verdict)})


class _Counting(Numpy):
    """The reference, with what it was asked."""

    asked: list[tuple]

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.asked = []

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def counted(parameters: Parameters, x: Array, y: Array) -> Observation:
            given = (*parameters.weights, *parameters.biases, x, y)
            self.asked.append((structure, *(array.tobytes() for array in given)))
            return program(parameters, x, y)

        return counted


def test_a_framework_is_asked_once_for_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = _Counting()
    monkeypatch.setattr("kterm.conformance.evaluation.kills.kill.load", lambda spec, device: counting)
    names = ["factor-2", "gradient-transposed", "residual-of-z", "one-in-fifty", "first-call"]
    group = group_of("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 6)
    tried = list(Trial(ASKED, names).of(group, names))
    assert len(set(counting.asked)) == len(counting.asked)
    # Six draws and their descents and halves, and what only a mutant puts to it.
    assert len(counting.asked) < 2 * sum(one.calls for one in tried if not one.name)


def test_memory_tells_strides_and_layouts_apart() -> None:
    memory, counting = Memory(), _Counting()
    adapter, structure = memory.around(counting), Structure(Network((3, 3), ("tanh",), "none"), 2, "f64")
    rng = np.random.default_rng(0)
    weight, x, y = rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    program = adapter.program(structure)
    first = program(Parameters((weight,), ()), x, y)
    assert program(Parameters((weight,), ()), x, y) is first
    program(Parameters((np.asfortranarray(weight),), ()), x, y)
    assert len(counting.asked) == 2
    memory.forget()
    adapter.program(structure)(Parameters((weight,), ()), x, y)
    assert len(counting.asked) == 3


# Tapes.


def test_a_tape_plays_again_and_goes_on() -> None:
    group = group_of("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 3)
    expectation_for: Callable[[Verdict], None] = lambda verdict: None  # noqa: E731
    counting = _Counting()
    tape = Tape(LocalRunner(counting))
    verdicts, asked = examine(group, tape, expectation_for).verdicts, len(counting.asked)
    again = tape.again()
    assert examine(group, again, expectation_for).verdicts == verdicts
    assert len(counting.asked) == asked
    assert again.equals(tape)
    examine(replace(group, draws=(0, 1)), tape.again(), expectation_for)
    assert len(counting.asked) > asked


def test_what_is_silent_is_judged_from_gradients_alone() -> None:
    group = group_of("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 3)
    (_, tried) = Trial(ASKED, ["slope-twice"]).of(group, ["slope-twice"])
    assert {v.check for some in tried.found for v in some} == {"k_terms"}
    silent = tried.silent()
    assert {v.check for some in silent.found for v in some} == {"weight_gradients"}
    (_, alone) = Trial(replace(ASKED, gradients_alone=True), ["slope-twice"]).of(group, ["slope-twice"])
    assert alone.verdicts == silent.verdicts
    assert not any(v.quantity.startswith(("z", "x", "k")) for some in silent.verdicts for v in some)


# Margins and cells.


def test_margins() -> None:
    one = Verdict("c", "k_terms", "k_1", "wrong", worst=40.0)
    assert margin([]) == 0
    assert margin([one, replace(one, worst=70.0)]) == 70
    assert margin([one, replace(one, check="contract", worst=0.0, message="inputs were modified")]) == np.inf
    assert margin([replace(one, grade="errored", worst=0.0)]) == np.inf
    assert findings([one, replace(one, expectation="1"), replace(one, grade="pass")]) == [one]


def test_a_cell_counts_cases_and_not_verdicts() -> None:
    cell = Cell()
    one = Verdict("c-s0", "weight_gradients", "dE/dW_1", "wrong", worst=40.0)
    cell.add([one, replace(one, quantity="dE/dW_2")], [one, replace(one, quantity="dE/dW_2", worst=50.0)])
    cell.add([replace(one, case="c-s1", grade="pass")], [])
    cell.add([replace(one, case="c-s2", grade="blocked")], [])
    assert (cell.cases, cell.killed, cell.margin, cell.first) == (2, 1, 50.0, "c-s0")
    assert cell.checks == {"weight_gradients": 1}


def test_what_an_adapter_does_by_itself_is_no_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = plant_mutant(Numpy(), MUTANTS["batch-of-one"])
    monkeypatch.setattr("kterm.conformance.evaluation.kills.kill.load", lambda spec, device: wrong)
    own, none, other = measure(ASKED, "f64", ["identity-without-slope", "factor-2"])
    assert own.is_found
    assert not none.is_found
    assert other.is_found
    assert _state(own, "") == "found"


# Every mistake is found, and nothing that is none.


@pytest.mark.parametrize("gradients_alone", [False, True], ids=["shown", "alone"])
@pytest.mark.parametrize("dtype", WIDE)
def test_smoke_finds_every_mistake_by_enough(dtype: str, gradients_alone: bool) -> None:
    asked = replace(ASKED, gradients_alone=gradients_alone, brief=True)
    own, *fates = measure(asked, dtype, list(MUTANTS))
    assert not own.is_found
    for fate in fates:
        if MUTANTS[fate.mutant].equivalent:
            assert not fate.is_found, fate.mutant
        else:
            assert fate.margin >= ENOUGH, fate.mutant


def test_smoke_is_what_its_file_says() -> None:
    recipes = smoke.shipped()
    assert smoke.SHIPPED.read_text(encoding="utf-8") == smoke.text(recipes)
    groups = plan(FULL, make_options("smoke", 0, ["f64"])).groups[2:]
    assert [smoke.recipe_of(group) for group in groups] == list(recipes)
    assert sum(len(group.draws) for group in groups) <= 30


def test_smoke_comes_from_the_quick_profile() -> None:
    known = {(g.structure, g.regime) for g in plan(FULL, make_options("quick", 0, ["f64"])).groups}
    for recipe in smoke.shipped():
        assert (Structure(recipe.network, recipe.batch, "f64"), recipe.regime) in known


# Where a mistake is none.


def _reason(asked: Asked, fates: Sequence[Fate]) -> dict[tuple[str, str], str]:
    found = {(asked.adapter.name, dtype): {f.mutant: f for f in fates if f.dtype == dtype} for dtype in WIDE}
    with ThreadPoolExecutor(1) as executor:
        return _inapplicable(asked, {key: some for key, some in found.items() if some}, executor)


def test_a_mistake_that_changes_no_bit_is_none() -> None:
    group = group_of("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 2)
    wide = measure(ASKED, "f64", ["float32-inside", "factor-2"], groups=[group])
    group = replace(group, structure=replace(group.structure, dtype="f32"))
    narrow = measure(ASKED, "f32", ["float32-inside", "factor-2"], groups=[group])
    reasons = _reason(ASKED, [*wide, *narrow])
    assert list(reasons) == [("f32", "float32-inside")]
    assert _state(narrow[1], reasons["f32", "float32-inside"]) == "not applicable"


def test_a_mistake_that_the_cases_hide_survives() -> None:
    group = group_of("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 2)
    # Too few calls for the one, and in no dtype an empty batch for the other.
    names = ["one-in-fifty", "empty-mean"]
    wide = measure(ASKED, "f64", names, groups=[group] * 10)
    group = replace(group, structure=replace(group.structure, dtype="f32"))
    narrow = measure(ASKED, "f32", names, groups=[group])
    assert [fate.is_found for fate in wide[1:]] == [True, False]
    assert not any(fate.differs for fate in narrow)
    assert _reason(ASKED, [*wide, *narrow]) == {}
    assert {_state(fate, "") for fate in narrow[1:]} == {"survived"}


def test_what_an_adapter_does_not_declare_hides_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class Small(Numpy):\n"
        "    name = 'small'\n"
        "    dtypes = ('f32',)\n"
        "    activations = {name: Numpy.activations[name] for name in ('tanh', 'sin', 'relu')}\n",
        encoding="utf-8",
    )
    names = ("gelu-variants-swapped", "float32-inside", "factor-2")
    arguments = [word for name in names for word in ("--mutant", name)]
    done = kterm("mutants", "--adapter", "small.py:Small", "--profile", "smoke", *arguments, "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "small, f32: 1 of 1 mistakes found" in done.stdout
    assert "does not declare): gelu-variants-swapped, float32-inside" in done.stdout


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


@pytest.mark.parametrize("check", WITNESSES)
def test_without_a_check_its_witness_survives(check: Check) -> None:
    name = WITNESSES[check]
    for dtype in WIDE:
        _, fate = measure(replace(ASKED, without=frozenset([check])), dtype, [name])
        assert fate.differs
        assert not fate.is_found
        _, fate = measure(ASKED, dtype, [name])
        assert {found for cell in fate.regimes.values() for found in cell.checks} == {check}


def test_every_check_but_the_layout_has_a_witness() -> None:
    # A transposed weight is found by other checks too, in every case: the layout tells it as one.
    assert set(WITNESSES) == set(CHECKS) - {"layout"}
    _, fate = measure(ASKED, "f64", ["transposed-if-square"])
    assert {regime for regime, cell in fate.regimes.items() if cell.cases} == {"layout"}
    _, fate = measure(replace(ASKED, without=frozenset(["layout"])), "f64", ["transposed-if-square"])
    assert fate.is_found
    assert "layout" not in fate.regimes


# The smallest set.


def _shows(name: str, *found: str, calls: int = 100) -> Shows:
    recipe = smoke.Recipe(Network((len(name), 1), ("tanh",), "none"), 2, "normal", len(found))
    return Shows(recipe, tuple(frozenset((one, "f64", False) for one in some) for some in found), calls)


def test_the_smallest_set_is_the_smallest() -> None:
    # Taking the largest first would take three.
    shown = [_shows("greedy", "abcd"), _shows("one", "abe"), _shows("two", "cdf")]
    assert [recipe.network for recipe in smallest(shown)] == [shown[1].recipe.network, shown[2].recipe.network]


def test_draws_are_taken_from_the_first_on() -> None:
    shown = [_shows("some", "a", "", "b"), _shows("other", "a")]
    assert [(recipe.network, recipe.draws) for recipe in smallest(shown)] == [(shown[0].recipe.network, 3)]
    shown.append(_shows("more", "b"))
    assert [recipe.draws for recipe in smallest(shown)] == [1, 1]


def test_there_are_enough_calls() -> None:
    shown = [_shows("some", "a", calls=9), _shows("other", "a", calls=59)]
    assert [recipe.network for recipe in smallest(shown)] == [shown[1].recipe.network]


def test_of_equals_the_smaller_network_is_taken() -> None:
    shown = [_shows("large" * 9, "a"), _shows("small", "a"), _shows("medium" * 4, "a")]
    assert [recipe.network for recipe in smallest(shown)] == [shown[1].recipe.network]


# What is asked of what was found.


def _tell(name: str, group: Group, verdicts: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    first = next(v for some in verdicts for v in some if v.is_unexpected)
    return {"mutant": name, "origin": origin_of(first), "best": explanations_of(first)[0].name}


def test_what_was_found_is_told_of_a_few_groups() -> None:
    _, fate = measure(replace(ASKED, tell=_tell), "f64", ["factor-2"])
    assert len(fate.told) == 3
    assert {one["best"] for one in fate.told} == {"factor-2"}
    assert all(one["origin"].startswith("k_") for one in fate.told)
