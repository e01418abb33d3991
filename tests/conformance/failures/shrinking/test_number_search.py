"""Simpler numbers: they still fail, and keep what their regime is about."""

import numpy as np

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws, stacked
from kterm.conformance.cases.exact_numbers import exact
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.failures.shrinking.number_search import Fails, simplify
from kterm.reference import Array


def _simplest(case_id: str, fails: Fails) -> tuple[Draw, Draw]:
    """The numbers of a case, and the simplest stack that still fails."""
    case = parse_case(case_id, tuple(REGIMES))
    first = stack = make_draws([case])
    for simpler in simplify(case.structure, case.regime, first, fails):
        assert fails(simpler)
        stack = simpler
    return first, stack


def _arrays(stack: Draw) -> list[Array]:
    return [*stack.parameters.weights, *stack.parameters.biases, stack.x, stack.y]


def test_numbers_that_do_not_matter_become_zero_and_the_rest_short() -> None:
    def fails(stack: Draw) -> bool:
        return bool(stack.parameters.weights[0][0, 2, 3] > 0.25 and stack.x[0, 1, 2] != 0)

    # Only this weight and this input matter.
    case_id = "3x4-identity-b2-pre-f32-normal-s0"
    seed = next(s for s in range(50) if fails(make_draws([parse_case(f"{case_id[:-1]}{s}", tuple(REGIMES))])))
    _, stack = _simplest(f"{case_id[:-1]}{seed}", fails)
    assert {float(v) for a in _arrays(stack) for v in a.ravel()} == {0.0, 1.0}
    assert sum(int(np.count_nonzero(a)) for a in _arrays(stack)) == 2


def test_nothing_is_changed_that_must_stay() -> None:
    case = parse_case("2x2-tanh-b2-pre-f64-normal-s0", tuple(REGIMES))
    original = make_draws([case])
    _, stack = _simplest(case.id, lambda other: np.array_equal(other.x, original.x))
    assert np.array_equal(stack.x, original.x)
    assert not stack.y.any()


def test_exact_numbers_stay_exact() -> None:
    case = parse_case("5x3-relu-b4-pre-f32-lattice-s0", tuple(REGIMES))
    first, stack = _simplest(case.id, lambda other: bool(other.x.any() and other.parameters.biases[0].any()))
    assert not np.array_equal(first.x, stack.x)
    wide = stack.astype(np.dtype(np.float64))
    assert exact(case.structure, wide.parameters, wide.x, wide.y).all()


def test_no_number_is_moved_to_a_kink() -> None:
    _, stack = _simplest("3x4-relu-b3-pre-f64-normal-s0", lambda other: True)
    (weights,), (biases,) = stack.parameters.weights, stack.parameters.biases
    assert (stack.x @ weights + biases[:, None] != 0).all()


def test_several_calls_are_simplified_together() -> None:
    case = parse_case("2x2-sin-b2-none-f64-normal-s0", tuple(REGIMES))
    stack = make_draws([case, parse_case("2x2-sin-b2-none-f64-normal-s1", tuple(REGIMES))])

    def fails(other: Draw) -> bool:
        return not np.array_equal(other.x[0], other.x[1])

    (*_, last) = simplify(case.structure, case.regime, stack, fails)
    assert np.count_nonzero(last.x) == 1
    assert last.x.shape == stacked([stack[0], stack[1]]).x.shape
