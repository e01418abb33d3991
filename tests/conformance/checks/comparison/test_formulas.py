"""Answers that depart from the rule are compared with formulas; others are not."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.checks.comparison.calls import Calls
from kterm.conformance.checks.verdict import Formulas
from kterm.conformance.expectations.flushing import widened
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference.steps import Made, Work
from kterm.reference.value import Value

CASE = parse_case("3x4x2-tanh-b5-pre-f64-normal-s0", tuple(REGIMES))


def _calls(adapter: Adapter, formulas: Formulas) -> Calls:
    group = Group(CASE.structure, CASE.regime, 0, (0, 1))
    runner, draws = LocalRunner(adapter), make_draws(group.cases)
    runner.build(CASE.structure)
    answers = [runner.call(CASE.regime, draws[i].parameters, draws[i].x, draws[i].y).observation for i in range(2)]
    observed = tuple(one for one in answers if one is not None)
    return Calls(CASE.structure, CASE.regime, draws, observed, draws, (None, 0), formulas=formulas)


def _everywhere(step: str, change: Callable[[Value], Value]) -> Made:
    return {step: lambda w, i, right: change(right())}, lambda i, n: True


def _explained(adapter: Adapter, formulas: Formulas) -> dict[str, Sequence[tuple[str, ...]]]:
    return {one.quantity: one.formulas for one in _calls(adapter, formulas).compared if (one.worst > 1).any()}


def test_nothing_is_computed_where_nothing_departs() -> None:
    def refuse(w: Work, i: int, right: Callable[[], Value]) -> Value:
        raise AssertionError

    formulas: Formulas = {"1": ({"k": refuse}, lambda i, n: True)}
    assert all(one.formulas == () for one in _calls(Numpy(), formulas).compared)
    with pytest.raises(AssertionError):
        _ = _calls(plant_mutant(Numpy(), MUTANTS["factor-2"]), formulas).compared


def test_a_departure_has_the_ids_of_all_formulas_that_explain_it() -> None:
    doubled, halved = _everywhere("r", lambda v: v * 2.0), _everywhere("r", lambda v: v * 0.5)
    formulas = {"right": doubled, "wrong": halved, "again": doubled}
    found = _explained(plant_mutant(Numpy(), MUTANTS["factor-2"]), formulas)
    assert found["k_2"] == (("right", "again"), ("right", "again"))
    assert _explained(plant_mutant(Numpy(), MUTANTS["factor-2"]), {"wrong": halved})["k_2"] == ((), ())


def test_one_entry_that_is_not_explained_leaves_the_tensor_unexplained() -> None:
    def almost(v: Value) -> Value:
        return v * np.where(np.arange(v.shape[-1]) == 1, 2.001, 2.0)

    found = _explained(plant_mutant(Numpy(), MUTANTS["factor-2"]), {"1": _everywhere("r", almost)})
    assert found["k_2"] == ((), ())


def test_a_formula_with_an_infinite_tolerance_explains_nothing() -> None:
    unknown = _everywhere("k", lambda v: widened(v, np.where(np.arange(v.shape[-1]) == 1, np.inf, np.zeros(v.shape))))
    assert set(_explained(plant_mutant(Numpy(), MUTANTS["factor-2"]), {"1": unknown}).values()) == {((), ())}
