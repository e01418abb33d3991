"""What becomes of infinities and NaN: measured, and found only where it contradicts a declaration."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Limits, Observation, Program
from kterm.conformance.arithmetic.nonfinite import (
    GIVEN,
    Fact,
    describe_swallowed,
    due_values,
    measure_nonfinite,
    without_dtypes,
)
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.commands.facts.nonfinite import find_contradictions, make_table
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure

from ...support.frameworks.miniatures import Miniature, right, silent


def facts_of(adapter: Miniature, *names: str) -> dict[tuple[str, str], Fact]:
    return {(f.activation, f.given): f for f in measure_nonfinite(LocalRunner(adapter), ("f32",), names)}


class Quiet(Miniature):
    """A sound framework that gives infinities and NaN without a warning."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def quiet(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                return program(parameters, x, y)

        return quiet


class Cleaning(Quiet):
    """NaN replaced by 0 in the gradients, as a training loop with nan_to_num does."""

    name, propagates = "cleaning", ("nan",)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = right(structure, parameters, x, y)
        return replace(found, weight_gradients=tuple(np.nan_to_num(g, posinf=np.inf, neginf=-np.inf)
                                                     for g in found.weight_gradients))  # fmt: skip


class Clipping(Quiet):
    """Inputs clipped to the range of finite numbers."""

    name, propagates = "clipping", ("inf",)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return right(structure, parameters, np.clip(x, -1e30, 1e30), y)


class Spreading(Quiet):
    """Rows normalised together: NaN in one is NaN in all."""

    name, propagates = "spreading", ("nan", "inf")

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        total = x.sum()
        return right(structure, parameters, x + (total - total), y)


class Selecting(Quiet):
    """relu's backward pass as a selection: where NaN > 0 is false, k is 0. It shows gradients alone."""

    name, propagates = "selecting", ("nan",)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = right(structure, parameters, x, y)
        assert found.z is not None
        assert found.k is not None
        k = np.where(found.z[0] > 0, found.k[0], 0)
        return silent(replace(found, weight_gradients=(x.T @ k,), bias_gradients=(k.sum(0),)))


class LastIdentity(Quiet):
    """A framework whose last layer is an identity."""

    name, limits = "last-identity", Limits(last_identity=True)


def test_limits_of_the_rule_are_what_is_due() -> None:
    inf = np.inf
    for name, given, f, k in (
        ("silu", -inf, 0.0, 0.0), ("silu", inf, inf, inf), ("gelu", -inf, 0.0, 0.0), ("softsign", inf, 1.0, 0.0),
        ("squareplus", inf, inf, inf), ("squareplus", -inf, 0.0, 0.0), ("elu", -inf, -1.0, 0.0),
        ("hard_swish", -inf, 0.0, 0.0), ("tanh", -inf, -1.0, 0.0), ("leaky_relu", -inf, -inf, -inf),
        ("mish", inf, inf, inf), ("log_sigmoid", -inf, -inf, -inf), ("tanhshrink", inf, inf, inf),
    ):  # fmt: skip
        due = due_values(ACTIVATIONS[name], given)
        assert due["x"] == pytest.approx(f), name
        assert due["k"] == pytest.approx(k), name
    assert np.isnan(due_values(ACTIVATIONS["sin"], inf)["x"])
    for name, row in ACTIVATIONS.items():
        assert all(np.isnan(value) for value in due_values(row, np.nan).values()), name


def test_a_framework_that_computes_the_rule_swallows_nothing_and_spreads_nothing() -> None:
    for adapter in (Quiet(), LastIdentity()):
        facts = facts_of(adapter)
        assert len(facts) == len(ACTIVATIONS) * len(GIVEN)
        for fact in facts.values():
            assert not fact.missing
            assert not fact.swallowed, fact
            assert not fact.spread, fact


@pytest.mark.parametrize(
    ("made", "place", "said"),
    [
        (Cleaning, ("tanh", "nan"), "tanh at nan, f32: dE/dW is 0, where nan is due"),
        (Clipping, ("relu", "inf"), "relu at inf, f32: x is 1e+30, k is 1e+30, where inf, inf is due"),
        (Selecting, ("relu", "nan"), "relu at nan, f32: dE/db is 0"),
        (Spreading, ("tanh", "inf"), "tanh at inf, f32: z_1, x_1, outputs, k_1 of other rows changed"),
    ],
)
def test_what_is_lost_on_the_way_is_found_where_it_is_declared(made: Any, place: tuple[str, str], said: str) -> None:
    facts = facts_of(made(), place[0])
    line = describe_swallowed(facts[place])
    assert line.startswith(said)
    declared: Description = describe(made(), made.name)
    assert line in find_contradictions(declared, list(facts.values()))
    assert not find_contradictions(replace(declared, propagates=()), list(facts.values()))


def test_facts_of_several_dtypes_are_put_together_where_they_are_one() -> None:
    found = without_dtypes(measure_nonfinite(LocalRunner(Quiet()), ("f32", "f64"), ("tanh",)))
    assert {place: [fact.dtype for fact in some] for place, some in found.items()} == {
        ("tanh", given): ["f64, f32"] for given in GIVEN
    }


def test_an_adapter_that_raises_is_said_to_give_no_answer() -> None:
    class Raising(Quiet):
        def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
            raise FloatingPointError("invalid value")

    (fact,) = measure_nonfinite(LocalRunner(Raising()), ("f32",), ("tanh",))
    assert "invalid value" in fact.missing


def test_an_activation_with_a_fixed_value_is_measured_and_has_a_row() -> None:
    class Fixed(Quiet):
        fixed_parameters = {"leaky_relu": {"slope": 0.25}}  # noqa: RUF012  (declared by the base)
        slopes_at_kinks = {}  # noqa: RUF012  (as above)

    facts = list(measure_nonfinite(LocalRunner(Fixed()), ("f32",), ("leaky_relu",)))
    assert [fact.activation for fact in facts] == ["leaky_relu_0d25"] * len(GIVEN)
    table = make_table([(describe(Fixed(), "fixed"), without_dtypes(facts))])
    assert list(table.columns[0].cells) == ["leaky_relu_0d25"] * len(GIVEN)


@pytest.mark.parametrize("wrong", ["nan", ("none",), None])
def test_a_declaration_of_another_form_is_one_line(wrong: Any) -> None:
    class Wrong(Miniature):
        propagates = wrong

    with pytest.raises(ValueError, match=r"propagates: .* write propagates") as caught:
        describe(Wrong(), "wrong")
    assert "\n" not in str(caught.value)
