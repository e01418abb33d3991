"""Diagnosis: a mistake is named by what it does to the answer, with z, x and k shown and from gradients alone; what is
not known is not named; and it begins where it is said to begin.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.causes import Cause, causes
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.diagnosis.explanation import origin_of
from kterm.conformance.mutants import MISTAKES, MUTANTS, Mutant, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Parameters, Structure
from kterm.reference.steps import run, start

from ...support.frameworks import miniatures

_GROUPS = (
    "4x8x6x3-tanh.sigmoid.leaky_relu-b5-pre-{}-normal",
    "5x5x5x5-tanh.gelu.softplus-b5-pre-{}-square",
    "6x6x6x6-selu.silu.sigmoid-b6-post-{}-square",
    "3x7x5x2-sin.selu.mish-b4-none-{}-normal",
    "4x4x4x4x4-tanh.softsign.sigmoid.elu-b3-post-{}-normal",
    "5x4x3-relu.tanh-b5-none-{}-kinks",
    "6x4x5-sigmoid.softplus-b6-pre-{}-tails",
    "3x40x5-tanh.celu-b33-pre-{}-normal",
    "5x3x40-tanh.sigmoid-b4-pre-{}-normal",
    "140x3x9-softplus.tanh-b130-pre-{}-normal",
    "3x4x2-tanh.sigmoid-b1-pre-{}-normal",
    "3x4x2-tanh.sigmoid-b7-post-{}-normal",
)


class _Silent(Numpy):
    """The reference, showing gradients alone."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)
        return lambda parameters, x, y: replace(program(parameters, x, y), z=None, x=None, k=None)


def _failures(adapter: Adapter, dtype: str, most: int = 5) -> Iterator[list[Verdict]]:
    """The verdicts on some draws of the first few groups in which something fails."""
    for text in _GROUPS:
        case = parse_case(f"{text.format(dtype)}-s0", tuple(REGIMES))
        group = Group(case.structure, case.regime, 0, (0, 1, 2))
        verdicts = diagnose(group, examine(group, LocalRunner(adapter)))
        if any(v.is_unexpected for some in verdicts for v in some):
            yield from verdicts
            most -= 1
        if not most:
            return


def _first(adapter: Adapter, dtype: str) -> Cause:
    return _first_of(causes((adapter.name, some) for some in _failures(adapter, dtype)))


def _first_of(found: Sequence[Cause]) -> Cause:
    assert found
    # What the contract says of a call made twice comes first, and is no less true.
    return next((cause for cause in found if cause.worst.check != "contract"), found[0])


_OF_THE_RULE = [pytest.param(mutant, id=mutant.name) for mutant in MISTAKES if mutant.changes]


@pytest.mark.parametrize("mutant", _OF_THE_RULE)
def test_a_mistake_is_named_and_located(mutant: Mutant) -> None:
    adapter = plant_mutant(Numpy(), mutant)
    failures = list(_failures(adapter, "f64"))
    cause = _first_of(causes((adapter.name, some) for some in failures))
    assert mutant.name in [e.name for e in cause.mistakes], cause
    assert all(e.fits for e in cause.mistakes)
    assert cause.next_best is None or cause.next_best > 10
    _assert_located(mutant, [v for some in failures for v in some if v.is_unexpected and origin_of(v)])


@pytest.mark.parametrize("mutant", _OF_THE_RULE)
def test_a_mistake_is_named_from_gradients_alone(mutant: Mutant) -> None:
    failures = _failures(plant_mutant(_Silent(), mutant), "f32", most=3)
    cause = _first_of(causes((mutant.name, some) for some in failures))
    assert mutant.name in [e.name for e in cause.mistakes], cause


def _assert_located(mutant: Mutant, verdicts: Sequence[Verdict]) -> None:
    """Check that the origin of each verdict is the first quantity that the mutant changes."""
    assert verdicts
    for verdict in verdicts:
        case = parse_case(verdict.case, tuple(REGIMES))
        stack = make_draws(Group(case.structure, case.regime, 0, (0, 1, 2)).cases).astype(np.dtype(np.float64))
        given = case.structure, stack.parameters, stack.x, stack.y
        before = run(start(*given))
        right, wrong = run(start(*given)), run(start(*given, None, before), [(mutant.changes, mutant.takes)])
        moved = [
            name
            for name, value in right.given.items()
            if not np.allclose(value.value[case.draw], wrong.given[name].value[case.draw], rtol=1e-13, atol=0)
        ]
        if "accumulated" not in mutant.name and "momentum" not in mutant.name:
            assert origin_of(verdict) == moved[0].replace("outputs", f"x_{case.structure.network.depth}"), moved


def _changed(change: Callable[[Structure, Observation, Parameters], Observation]) -> Adapter:
    class Changed(Numpy):
        name = "changed"

        def build(self, structure: Structure) -> Program:
            program = super().build(structure)
            return lambda parameters, x, y: change(structure, program(parameters, x, y), parameters)

    return Changed()


def _gradients(change: Callable[[Structure, Array, Array], Array]) -> Adapter:
    """An adapter with something done to each of its weight gradients, given the weights."""

    def changed(structure: Structure, observed: Observation, parameters: Parameters) -> Observation:
        pairs = zip(observed.weight_gradients, parameters.weights, strict=True)
        return replace(observed, weight_gradients=tuple(change(structure, g, w) for g, w in pairs))

    return _changed(changed)


def _said(cause: Cause) -> list[str]:
    return [e.mistake for e in cause.mistakes]


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (_gradients(lambda s, g, w: g * 3), "dE/dW 3 times what it should be"),
        (_gradients(lambda s, g, w: g + 3e-5 * w), "3e-05 W added to dE/dW"),
        (_gradients(lambda s, g, w: g * 5 / 7), "dE/dW 5/7 of what it should be"),
        (_gradients(lambda s, g, w: g / s.network.widths[-1]), "a mean over the outputs"),
        (
            _changed(lambda s, o, p: replace(o, bias_gradients=tuple(b / s.batch**2 for b in o.bias_gradients))),
            "of what it should be: a mean over the batch of",
        ),
        (_changed(lambda s, o, p: replace(o, error=o.error * 4)), "E 4 times what it should be"),
    ],
)
def test_a_number_in_a_mistake_is_fitted(adapter: Adapter, said: str) -> None:
    found = _of(adapter)
    cause = _first_of(found)
    assert any(said in text for some in found for text in _said(some)), cause
    assert cause.mistakes


def _of(adapter: Adapter) -> Sequence[Cause]:
    return causes((adapter.name, some) for some in _failures(adapter, "f64"))


def test_two_mistakes_at_once_are_named() -> None:
    cause = _first(plant_mutant(plant_mutant(Numpy(), MUTANTS["mean-over-batch"]), MUTANTS["bias-mean"]), "f64")
    assert cause.mistakes
    assert "mean over the batch" in cause.mistakes[0].mistake
    assert " and " in cause.mistakes[0].mistake


def test_what_is_made_in_the_gradients_of_one_kind_alone_is_named() -> None:
    for dtype in ("f32", "f64"):
        cause = _first(miniatures.Accumulates(), dtype)
        assert [e.name for e in cause.mistakes] == ["accumulated@weights"]


def test_what_is_not_known_is_not_named() -> None:
    rng = np.random.default_rng(1)
    for adapter in (
        _gradients(lambda s, g, w: g + 1e-3 * np.sign(g)),
        _gradients(lambda s, g, w: g * (1 + 1e-6 * rng.normal(size=g.shape))),
        _gradients(lambda s, g, w: np.sqrt(np.abs(g)) * np.sign(g)),
    ):
        for cause in _of(adapter):
            assert cause.worst.check == "contract" or not cause.mistakes, cause


def test_computing_in_a_narrower_format_differs_from_a_small_mistake() -> None:
    assert _said(_first(plant_mutant(Numpy(), MUTANTS["float32-inside"]), "f64")) == ["everything computed in f32"]
