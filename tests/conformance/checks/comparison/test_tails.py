"""Where a usual formula of f or f' cancels, a framework that keeps its digits must keep them, and any sound formula
passes.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.checks.comparison.compare import Comparison, compare
from kterm.conformance.checks.comparison.tails import on_shown_sides
from kterm.reference import Parameters, Structure

from ....support.frameworks.tails import SLOPES, Coarse, slope_as, steep


def _case(activation: str, dtype: str, seed: int, low: float, high: float) -> tuple[Structure, Draw]:
    """A case of one layer whose pre-activations have sizes from `low` to `high`, evenly in their logarithms."""
    case = parse_case(f"9x24-{activation}-b9-none-{dtype}-tails-s{seed}", tuple(REGIMES))
    drawn, rng = make_draws([case]), np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(low), np.log(high), (9, 24))) * rng.choice((-1.0, 1.0), (9, 24))
    weights = sizes.astype(case.structure.format.numpy)
    x = np.eye(9).astype(weights.dtype)
    return case.structure, replace(drawn, parameters=Parameters((weights[None],), ()), x=x[None], y=0 * drawn.y - 2)


def _answer(port: type[Coarse], structure: Structure, draw: Draw) -> Observation:
    one = draw[0]
    return port().build(structure)(one.parameters, one.x, one.y)


def _compared(port: type[Coarse], activation: str, dtype: str, low: float, high: float) -> Iterator[Comparison]:
    for seed in range(2):
        structure, draw = _case(activation, dtype, seed, low, high)
        yield from compare(structure, draw, [_answer(port, structure, draw)], "tails")


def _found(port: type[Coarse], activation: str, dtype: str, low: float = 0.01, high: float = 40) -> set[str]:
    found = list(_compared(port, activation, dtype, low, high))
    # Each k decides on dE/dW, which is compared with the shown k.
    return {one.quantity for one in found if one.worst[0] > 1}


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("formula", SLOPES)
def test_every_sound_formula_passes(formula: str, wide: bool, dtype: str) -> None:
    activation, _ = SLOPES[formula]
    for low, high in ((1e-5, 1), (0.01, 40), (3, 20), (80, 800)):
        assert _found(slope_as(formula, wide), activation, dtype, low, high) == set()


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize(
    ("activation", "low", "high", "at", "factor"),
    [
        ("tanh", 0.01, 40, 8, 1.001),
        ("tanh", 0.01, 40, 8, 1.1),
        ("tanh", 0.01, 42, 30, 0.9),
        ("sigmoid", 0.01, 60, 12, 1.001),
        ("gelu_tanh", 3, 10, 9.4, 1.01),
        ("squareplus", 1e3, 1e9, 1e4, 1.01),
    ],
)
def test_a_slope_that_is_off_far_out_is_found(
    activation: str, low: float, high: float, at: float, factor: float, dtype: str
) -> None:
    port = steep(activation, lambda z: z < -at if activation in ("gelu_tanh", "squareplus") else z > at, factor)
    assert _found(port, activation, dtype, low, high) == {"k_1"}


def test_a_slope_that_is_off_near_zero_is_found() -> None:
    port = steep("tanhshrink", lambda z: np.abs(z) < 1e-3, 1.001)
    assert _found(port, "tanhshrink", "f32", 1e-5, 1) == {"k_1"}


def test_the_finding_is_a_poor_formula_in_single_entries() -> None:
    port = steep("tanh", lambda z: np.abs(z) > 8, 1.001)
    found = [one for one in _compared(port, "tanh", "f32", 0.01, 40) if one.worst[0] > 1]
    assert found
    for one in found:
        assert one.grade(0) == "inaccurate"
        assert one.norms is not None
        assert one.norms.normwise[0] < 1
        low, high = one.norms.region_of(0) or (0, 0)
        assert 8 < max(-low, high) <= 40


def test_a_framework_that_cancels_on_one_side_is_compared_by_sides() -> None:
    """4 s (1 - s) of 2z keeps its digits on the left alone, and what is wrong there is found."""
    assert _found(slope_as("4s(1-s)"), "tanh", "f32") == set()
    sound = slope_as("4s(1-s)")

    class Off(sound):
        def slope(self, name: str, z: np.ndarray) -> np.ndarray:
            right = super().slope(name, z)
            return np.where((z < -5) & (name == "tanh"), right * z.dtype.type(1.001), right)

    assert _found(Off, "tanh", "f32") == {"k_1"}


@pytest.mark.parametrize(("rows", "is_held"), [(1, False), (9, True)])
def test_entries_of_one_z_count_once(rows: int, is_held: bool) -> None:
    """One entry may be right by chance, and then it is right in each row of a batch of equal rows."""
    z = np.linspace(12.0, 20.0, rows * 12).reshape(rows, 12)[:, :1] + np.zeros((9, 12))
    z = np.where(np.arange(12) == 0, z, 5.0)[None]
    tells = z > 9
    assert bool(on_shown_sides(tells, tells, z).any()) == is_held
    assert not on_shown_sides(tells, tells & (z < 10), z).any()
