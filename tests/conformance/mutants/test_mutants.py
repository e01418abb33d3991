"""Mutants as they are put on: the rule as they have it, held against the reference and its error analysis; and what
becomes of the answers of frameworks that round in other ways than the reference does.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.diagnosis.explanation import explanations_of
from kterm.conformance.evaluation.kills.outcome import select_findings
from kterm.conformance.mutants import EQUIVALENTS, MUTANTS, Mutant, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import BIASES, Bias, Network, Structure, backpropagate
from kterm.reference.propagation import propagate
from kterm.reference.rounding import bound, deviation
from kterm.reference.steps import run, start

from ...support.frameworks import miniatures

_NETWORKS = [
    ((3, 2), ("tanh",), 0),
    ((4, 2), ("gelu",), 1),
    ((3, 5, 2), ("silu", "softplus"), 4),
    ((2, 3, 3, 1), ("elu", "relu", "sigmoid"), 3),
]


@pytest.mark.parametrize(("shape", "bias", "dtype"), list(product(range(len(_NETWORKS)), BIASES, ("f64", "f32"))))
def test_without_a_mistake_it_is_the_rule(shape: int, bias: Bias, dtype: str) -> None:
    widths, names, batch = _NETWORKS[shape]
    structure = Structure(Network(widths, names, bias), batch, dtype)
    given = make_draws(Group(structure, "normal", 0, (0, 1)).cases).astype(np.dtype(np.float64))
    underflow = 100 * float(np.finfo(structure.format.numpy).tiny)
    rule = backpropagate(structure.network, given.parameters, given.x, given.y)
    for reading in (None, *(make(structure.format) for make in (deviation, bound))):
        work = run(start(structure, given.parameters, given.x, given.y, reading))
        due = {"outputs": rule.outputs, "E": rule.error}
        for symbol, some in (("z", rule.z), ("x", rule.x[1:]), ("k", rule.k)):
            due |= {f"{symbol}_{i}": a for i, a in enumerate(some, 1)}
        due |= {f"dE/dW_{i}": a for i, a in enumerate(rule.weight_gradients, 1)}
        due |= {f"dE/db_{i}": a for i, a in enumerate(rule.bias_gradients, 1)}
        assert set(work.given) == set(due)
        for name, a in due.items():
            np.testing.assert_allclose(work.given[name].value.reshape(a.shape), a, rtol=1e-14, atol=1e-300)
        if reading is None:
            continue
        for step in propagate(structure.network, given.parameters, given.x, given.y, reading):
            own = step.estimate.tolerance(reading)
            mine = work.given[step.name].tolerance.reshape(own.shape)
            # E is summed in another order, and a shown value is not rounded once more.
            assert (mine <= 1.25 * own + underflow).all(), step.name
            assert (mine >= 0.4 * own).all(), step.name


# Of activations that every one of these has; the second has slopes that round to a clean 0.
_DEEP = "4x6x3x5x5x6x3x6x5x6x4x5-tanh.silu.sigmoid.tanh.silu.silu.tanh.sigmoid.silu.tanh.silu-b4-pre-f32-normal"
_SATURATED = "12x12x12x12-tanh.sigmoid.tanh-b12-none-f32-square"
_ROUNDING = (miniatures.Cancelling, miniatures.Composed, miniatures.Wide, miniatures.Silent)


@pytest.mark.parametrize("cases", [_DEEP, _SATURATED], ids=["deep", "saturated"])
@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in EQUIVALENTS])
@pytest.mark.parametrize("adapter", _ROUNDING)
def test_what_is_no_mistake_is_not_found_however_a_framework_rounds(
    adapter: type[miniatures.Miniature], mutant: Mutant, cases: str
) -> None:
    parsed = parse_case(f"{cases}-s0", tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(40)))
    for verdicts in examine(group, LocalRunner(plant_mutant(adapter(), mutant))).verdicts:
        assert status(verdicts) in ("passed", "inconclusive")


@pytest.mark.parametrize("adapter", [miniatures.Cancelling, miniatures.Wide])
def test_what_is_planted_agrees_with_the_steps_that_are_shown(adapter: type[miniatures.Miniature]) -> None:
    """Without f' in hidden layers every failing case is one that this mistake explains, to rounding."""
    parsed = parse_case(f"{_DEEP}-s0", tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(6)))
    for verdicts in diagnose(group, examine(group, LocalRunner(plant_mutant(adapter(), MUTANTS["no-slope-hidden"])))):
        (first, *_) = select_findings(verdicts)
        assert {one.name for one in explanations_of(first) if one.fits} == {"no-slope-hidden"}


class _DeclaresAll(miniatures.Miniature):
    zero_width, propagates = True, ("nan",)
    fixed_parameters = {"elu": {"alpha": 0.5}}  # noqa: RUF012  (declared by the base)
    result_dtypes = {"E": "f64"}  # noqa: RUF012  (as above)


def test_with_a_mutant_an_adapter_declares_what_it_does_without() -> None:
    adapter = _DeclaresAll()
    plain = describe(adapter, "all")
    planted = describe(plant_mutant(adapter, MUTANTS["no-slope"]), "all")
    assert replace(planted, mutant=None, has_script=plain.has_script) == plain
