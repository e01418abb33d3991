"""Sums whose terms have a mean, in the means regime, and exact zeros, in the tails regime: both planted and caught."""

from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import REGIMES, aimed_layer
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, DTYPES, Array, Parameters, Pass, Structure, backpropagate

from ...support.frameworks import sound
from ...support.frameworks.miniatures import Miniature, by_hand, silent

EVERY = replace(describe(Miniature(), "sound"), dtypes=tuple(DTYPES))


def groups(regime: str, profile: str, seed: int) -> list[Group]:
    planned = plan(EVERY, make_options(profile, seed)).groups
    return [group for group in planned if group.regime == regime]


def findings(adapter: Miniature, group: Group) -> list[Verdict]:
    return [v for some in examine(group, LocalRunner(adapter)).verdicts for v in some if v.is_finding]


def rule_of(group: Group) -> tuple[Parameters, Pass]:
    stack = make_draws(group.cases)
    assert not stack.dead.any(), group.id
    given = stack.astype(np.dtype(np.float64))
    return given.parameters, backpropagate(group.structure.network, given.parameters, given.x, given.y)


@pytest.mark.parametrize("profile", ["quick", "standard"])
def test_every_long_dimension_occurs_with_terms_that_have_a_mean(profile: str) -> None:
    for dtype in DTYPES:
        own = [group for group in groups("means", profile, 1) if group.structure.dtype == dtype]
        long = [max(group.structure.batch, *group.structure.network.widths) for group in own]
        assert min(long) >= 256
        assert max(long) <= 4096
        places = {
            "batch" if size == group.structure.batch else group.structure.network.widths.index(size) == 0
            for size, group in zip(long, own, strict=True)
        }
        assert len(places) == (1 if len(own) == 1 else 3)
        for group in own:
            parameters, rule = rule_of(group)
            long_sums = (
                (rule.x[0], parameters.weights[0]),
                (rule.x[0].mT, rule.k[0]),
                (rule.k[-1], parameters.weights[-1].mT),
            )
            a, b = max(long_sums, key=lambda pair: pair[0].shape[-1])
            # By chance alone a sum is about as large as the root of the sum of its squares.
            by_chance = np.sqrt(np.square(a) @ np.square(b))
            alive = by_chance > 0
            assert np.median(np.abs(a @ b)[alive] / by_chance[alive]) > 4, group.id


class LosesLateTerms(sound.Ordered):
    """Sums stored in the narrow format after every addition: from some length on, they stay where they are."""

    name = "loses-late-terms"

    def product(self, a: Array, b: Array, dtype: np.dtype, start: Array | None = None) -> Array:
        total = np.zeros((a.shape[0], b.shape[1]), dtype)
        for j in range(a.shape[1]):
            total = (total + a[:, j : j + 1] * b[j : j + 1]).astype(dtype)
        return total if start is None else total + start


def test_a_narrow_accumulator_is_found() -> None:
    case = parse_case("4000x3-identity-b3-pre-bf16-means-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0, 1))
    assert not findings(sound.RowByRow(), group)
    assert findings(LosesLateTerms(), group)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_activation_meets_an_exact_zero_in_every_wide_dtype(seed: int) -> None:
    met: set[tuple[str, str]] = set()
    for group in groups("tails", "quick", seed):
        given = make_draws(group.cases).astype(np.dtype(np.float64))
        layer = aimed_layer(group.structure)
        z = backpropagate(group.structure.network, given.parameters, given.x, given.y).z[layer - 1]
        if (z == 0).any((1, 2)).mean() > 0.5:
            met.add((group.structure.dtype, group.structure.network.activations[layer - 1]))
    assert met >= {(dtype, name) for dtype in ("f32", "f64") for name in ACTIVATIONS if name != "identity"}


class Quotient(Miniature):
    """silu's slope from its output divided by its pre-activation: 0/0 at 0."""

    name = "quotient"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def slope(activation: str, z: Array) -> Array:
            if activation != "silu":
                return ACTIVATIONS[activation].derivative(z)
            out = ACTIVATIONS["silu"].f(z)
            with np.errstate(all="ignore"):
                return out + out / z * (1 - out)

        return silent(by_hand(structure.network, parameters, x, y, slope))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_slope_that_divides_by_its_pre_activation_is_found(dtype: str) -> None:
    for seed in range(4):
        own = [g for g in groups("tails", "quick", seed) if g.structure.dtype == dtype]
        silu = [g for g in own if g.structure.network.activations[aimed_layer(g.structure) - 1] == "silu"]
        found = [v for group in silu for v in findings(Quotient(), group)]
        assert any("not finite" in v.message for v in found), seed
