"""Formulas of expectations: what they explain exactly, in adapters that show z, x and k and in others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.expectations.formulas import FORMULAS
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS

from ...support.formulas import Formulas, Function

ALPHA = ACTIVATIONS["celu"].parameters["alpha"]


class TorchLike(Formulas):
    """softplus is z above 20, and hard_sigmoid' is 1/6 rounded to float32; as in PyTorch."""

    f: ClassVar[dict[str, Function]] = {"softplus": lambda z: np.where(z > 20, z, ACTIVATIONS["softplus"].f(z))}
    slope: ClassVar[dict[str, Function]] = {
        "softplus": lambda z: np.where(z > 20, 1, ACTIVATIONS["softplus"].derivative(z)),
        "hard_sigmoid": lambda z: np.where(np.abs(z) < 3, np.float64(np.float32(1 / 6)), 0),
    }


class SilentTorchLike(TorchLike):
    """The same, with gradients alone."""

    shows = False


class JaxLike(Formulas):
    """elu' = expm1(z) + 1, and its kin; as in JAX."""

    slope: ClassVar[dict[str, Function]] = {
        "elu": lambda z: np.where(z > 0, 1, np.expm1(np.minimum(z, 0)) + 1).astype(z.dtype),
        "celu": lambda z: np.where(z > 0, 1, np.expm1(np.minimum(z, 0) / ALPHA) + 1).astype(z.dtype),
    }


class JaxLikeElu(Formulas):
    """The same of elu with another alpha."""

    slope: ClassVar[dict[str, Function]] = {
        "elu_0d625": lambda z: np.where(z > 0, 1, (np.expm1(np.minimum(z, 0)) + 1) * z.dtype.type(0.625))
    }


class SilentJaxLike(JaxLike):
    """The same, with gradients alone."""

    shows = False


class Rougher(JaxLike):
    """elu' = expm1(z) + 1, with an expm1 of fourteen bits."""

    slope: ClassVar[dict[str, Function]] = {
        "elu": lambda z: np.where(z > 0, 1, np.round(np.expm1(np.minimum(z, 0)) * 2**14) / 2**14 + 1).astype(z.dtype)
    }


def _entry(number: int, formula: str, **parameters: Any) -> Expectation:
    return Expectation(str(number), "*", "known", formula=formula, parameters=parameters)


SOFTPLUS, SIXTH = _entry(1, "softplus-threshold", threshold=20), _entry(2, "hard-sigmoid-sixth", format="f32")
EXPM1 = _entry(3, "slope-from-expm1")
ROWS: Mapping[type[Formulas], tuple[str, Sequence[Expectation]]] = {
    TorchLike: ("3x4x2-softplus.hard_sigmoid-b5-none-f64-tails-s0", [SOFTPLUS, SIXTH]),
    SilentTorchLike: ("3x4x2-softplus.hard_sigmoid-b5-none-f64-tails-s0", [SOFTPLUS, SIXTH]),
    JaxLike: ("3x4x2-elu.celu-b5-none-f32-tails-s0", [EXPM1]),
    JaxLikeElu: ("5x6-elu_0d625-b6-none-f32-tails-s0", [replace(EXPM1, activation="elu")]),
    SilentJaxLike: ("3x4x2-elu.celu-b5-none-f32-tails-s0", [EXPM1]),
}


def _examined(adapter: Formulas, case: str, entries: Sequence[Expectation]) -> list[list[Verdict]]:
    parsed = parse_case(case, tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(8)))
    return examine(group, LocalRunner(adapter), known.matcher(entries)).verdicts


def _statuses(adapter: Formulas, case: str, entries: Sequence[Expectation]) -> set[str]:
    return {status(some) for some in _examined(adapter, case, entries)}


@pytest.mark.parametrize("adapter", ROWS)
def test_a_formula_explains_what_a_framework_computes(adapter: type[Formulas]) -> None:
    case, entries = ROWS[adapter]
    assert "failed" in _statuses(adapter(), case, [])
    assert "expected" in _statuses(adapter(), case, entries) <= {"expected", "passed", "inconclusive"}


def _findings(entries: Sequence[Expectation]) -> dict[str, list[Verdict]]:
    """The findings in a network with both activations whose adapter shows gradients alone, by quantity."""
    found: dict[str, list[Verdict]] = {}
    for some in _examined(SilentTorchLike(), ROWS[SilentTorchLike][0], entries):
        for verdict in some:
            if verdict.is_finding:
                found.setdefault(verdict.quantity, []).append(verdict)
    return found


def test_two_formulas_explain_together_what_neither_explains_alone() -> None:
    found = _findings([SOFTPLUS, SIXTH])
    assert {v.formulas for v in found["outputs"]} == {("1",)}
    assert ("1", "2") in {v.formulas for v in found["dE/dW_1"]}
    assert {v.expectation for v in found["dE/dW_1"]} <= {"1", "2"}
    for alone in (SOFTPLUS, SIXTH):
        assert any(v.formulas == () and v.expectation is None for some in _findings([alone]).values() for v in some)
    # The same entry twice: neither is needed, and both match.
    twice = [SOFTPLUS, SIXTH, replace(SOFTPLUS, id="3")]
    assert all(v.expectation for some in _findings(twice).values() for v in some)


def test_another_threshold_is_not_explained() -> None:
    case, _ = ROWS[TorchLike]
    assert "failed" in _statuses(TorchLike(), case, [_entry(1, "softplus-threshold", threshold=25), SIXTH])
    assert "failed" in _statuses(TorchLike(), case, [SOFTPLUS, _entry(2, "hard-sigmoid-sixth", format="bf16")])


def test_a_rougher_formula_is_not_explained() -> None:
    case = "3x4x2-elu-b5-none-f32-tails-s0"
    assert "failed" not in _statuses(JaxLike(), case, [EXPM1])
    assert "failed" in _statuses(Rougher(), case, [EXPM1])


def test_a_formula_changes_only_the_layers_that_its_entry_names() -> None:
    case = "3x4x2-elu.celu-b5-none-f32-tails-s0"
    for named, due in (("elu", False), ("*", True), ("[ec]*", True)):
        entry = Expectation("1", "*", "known", formula="slope-from-expm1", activation=named)
        assert ("failed" not in _statuses(SilentJaxLike(), case.replace("elu.celu", "celu.elu"), [entry])) is due


@pytest.mark.parametrize("name", FORMULAS)
def test_every_formula_states_what_is_computed(name: str) -> None:
    row = FORMULAS[name]
    assert row.states
    assert all(row.applies_to(activation) for activation in row.activations or ACTIVATIONS)


def test_an_entry_matches_the_cases_in_which_its_formula_changes_something() -> None:
    assert SOFTPLUS.matches_case("3x4x2-tanh.softplus-b5-none-f64-tails-s0")
    assert not SOFTPLUS.matches_case("3x4x2-tanh.relu-b5-none-f64-tails-s0")
