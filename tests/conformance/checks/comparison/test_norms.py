"""The normwise reading: implied by the componentwise one, blind to nothing that a jump covers, and one rounding at the
least where numbers are exact.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.checks.comparison.compare import Comparison, compare
from kterm.conformance.checks.comparison.norms import Inputs, measure_norms, ratio_of_norms
from kterm.reference import DTYPES, Array, Structure, backpropagate
from kterm.reference.propagation import Quantity
from kterm.reference.rounding import Estimate, deviation

from ....support.frameworks.miniatures import observation, silent

F32 = deviation(DTYPES["f32"])


def _drawn(case: str) -> tuple[Structure, Draw, Observation]:
    """The structure of a case, its numbers as a stack of one, and a sound answer to them."""
    parsed = parse_case(case, tuple(REGIMES))
    stack = make_draws([parsed])
    one = stack[0]
    with np.errstate(all="ignore"):
        return (
            parsed.structure,
            stack,
            observation(backpropagate(parsed.structure.network, one.parameters, one.x, one.y)),
        )


def _compared(case: str, change: Callable[[Observation], Observation]) -> dict[str, Comparison]:
    structure, stack, sound = _drawn(case)
    regime = parse_case(case, tuple(REGIMES)).regime
    return {one.quantity: one for one in compare(structure, stack, [change(sound)], regime)}


def _normwise(one: Comparison) -> float:
    assert one.norms is not None, "nothing departs"
    return float(one.norms.normwise[0])


def _with(observed: Observation, name: str, layer: int, change: Callable[[Array], Array]) -> Observation:
    """The observation with one array changed."""
    arrays = list(getattr(observed, name))
    arrays[layer - 1] = change(arrays[layer - 1].copy())
    return replace(observed, **{name: tuple(arrays)})


def test_a_tensor_within_tolerance_componentwise_is_within_it_normwise() -> None:
    """The largest error that passes, in every entry at once, also where a jump is part of the tolerance."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = (3, int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        value = rng.normal(size=shape) * 10.0 ** rng.integers(-40, 38, size=shape)
        error = np.abs(value) * 10.0 ** rng.integers(-10, 2, size=shape)
        jump = np.where(rng.random(shape) < 0.3, np.abs(value), 0.0) if rng.random() < 0.5 else None
        estimate = Estimate(value, error, jump)
        observed = value + rng.choice((-1, 1), size=shape) * estimate.tolerance(F32)
        ratio = np.ones(shape)
        norms = measure_norms(Quantity("k", 1, estimate), observed, ratio, F32, Inputs())
        # The observed number and the distance are rounded to float64.
        assert (norms.normwise <= 1 + 1e-4).all()


def test_what_a_jump_allows_hides_no_other_entry() -> None:
    """A slope at a kink may be anything from 0 to 1: that is no reason to let another entry be off by 1e-3."""
    value, error = np.array([[[0.5, 1.0]]]), np.full((1, 1, 2), 1e-8)
    estimate = Estimate(value, error, np.array([[[0.5, 0.0]]]))
    observed = value + np.array([0.5, 1e-3])
    ratio = np.abs(observed - value) / estimate.tolerance(F32)
    norms = measure_norms(Quantity("k", 1, estimate), observed, ratio, F32, Inputs())
    assert norms.normwise[0] > 100
    assert norms.relative[0] == pytest.approx(1e-3 / np.hypot(0.5, 1.0), rel=1e-6)


def test_a_norm_neither_overflows_nor_underflows() -> None:
    scales = np.array([1e-320, 1e-200, 1.0, 1e200, 1e307])
    a, b = (scales[:, None] * np.array([3.0, 4.0]) for _ in range(2))
    assert ratio_of_norms(a, b) == pytest.approx(np.ones(5))
    assert ratio_of_norms(a[:, :1], b)[1:] == pytest.approx(np.full(4, 0.6))
    zero, nan = np.zeros((1, 2)), np.array([[np.nan, 0.0]])
    assert ratio_of_norms(zero, zero)[0] == 0
    assert ratio_of_norms(np.ones((1, 2)), zero)[0] == np.inf
    assert ratio_of_norms(nan, np.ones((1, 2)))[0] == np.inf
    assert ratio_of_norms(np.array([[np.inf, 1.0]]), np.ones((1, 2)))[0] == np.inf
    assert ratio_of_norms(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0, 0]


def test_an_entry_for_which_any_value_is_right_counts_for_nothing() -> None:
    value = np.array([[[np.inf, 1.0, 1e38]]])
    estimate = Estimate(value, np.array([[[1.0, 1e-8, np.inf]]]))
    observed = np.array([[[5.0, 1.0 + 1e-5, 0.0]]])
    ratio = np.array([[[0.0, 100.0, 0.0]]])
    norms = measure_norms(Quantity("k", 1, estimate), observed, ratio, F32, Inputs())
    assert norms.normwise[0] == pytest.approx(1e-5 / (10 * 2**-24), rel=1e-3)


def test_an_infinity_of_the_right_sign_counts_for_nothing_and_a_nan_for_everything() -> None:
    estimate = Estimate(np.array([[[3.5e38, 1.0]]]), np.array([[[1e31, 1e-8]]]))
    step, ratio = Quantity("k", 1, estimate), np.array([[[0.0, 100.0]]])
    norms = measure_norms(step, np.array([[[np.inf, 1.0 + 1e-5]]]), ratio, F32, Inputs())
    assert 1 < norms.normwise[0] < 100
    norms = measure_norms(step, np.array([[[np.nan, 1.0]]]), np.array([[[np.inf, 0.0]]]), F32, Inputs())
    assert norms.normwise[0] == np.inf


LATTICE = "3x4x2-relu.identity-b4-none-f32-lattice-s0"


def test_one_unit_in_the_last_place_of_exact_numbers_is_componentwise_alone() -> None:
    """The draw is exact, so any departure is a finding; in norm it is as small as one rounding."""

    def off(where: slice) -> Callable[[Observation], Observation]:
        def change(gradient: Array) -> Array:
            flat = gradient.reshape(-1)
            flat[where] = np.nextafter(flat[where], np.float32(np.inf))
            return flat.reshape(gradient.shape)

        return lambda sound: _with(sound, "weight_gradients", 1, change)

    for where in (slice(0, 1), slice(None)):
        one = _compared(LATTICE, off(where))["dE/dW_1"]
        assert one.worst[0] > 1
        assert 0 < _normwise(one) < 1


def test_a_wrong_rule_is_normwise_wrong_on_exact_numbers() -> None:
    one = _compared(LATTICE, lambda sound: _with(sound, "weight_gradients", 1, lambda g: g * np.float32(1.0001)))
    assert _normwise(one["dE/dW_1"]) > 50


TAILS = "6x4x3-silu.tanh-b6-none-f32-tails-s0"


def test_the_last_place_of_a_sum_that_rounds_nothing_is_componentwise_alone() -> None:
    """Rows of x select pre-activations, which are therefore exact."""
    one = _compared(TAILS, lambda sound: _with(sound, "z", 1, lambda z: np.nextafter(z, np.float32(np.inf))))["z_1"]
    assert one.worst[0] > 1
    assert 0 < _normwise(one) < 1


def test_a_region_holds_the_pre_activations_of_the_entries_that_depart() -> None:
    structure, stack, sound = _drawn(TAILS)
    assert sound.z is not None
    z = sound.z[0]
    far = z < -20
    assert 0 < far.sum() < far.size
    low, high = float(z[far].min()), float(z[far].max())

    def flattened(a: Array) -> Array:
        return np.where(far, a + np.float32(1e-3), a)

    def region(observed: Observation, name: str) -> tuple[float, float] | None:
        compared = {one.quantity: one for one in compare(structure, stack, [observed], "tails")}
        norms = compared[name].norms
        assert norms is not None, "nothing departs"
        return norms.region_of(0)

    for changed, name in (("x", "x_1"), ("k", "k_1")):
        assert region(_with(sound, changed, 1, flattened), name) == (low, high)
    # Each row of x_0 selects a row of W_1, so an entry of the gradient belongs to one pre-activation.
    picked = np.argmax(stack.x[0], axis=1)
    selected = np.zeros(far.shape, bool)
    selected[picked] = far
    hidden = silent(sound)
    coarse = _with(hidden, "weight_gradients", 1, lambda g: np.where(selected, g + np.float32(1e-3), g))
    # Without shown z, those of the oracle are taken.
    assert region(coarse, "dE/dW_1") == pytest.approx((low, high), rel=1e-6)
    # An entry of dE/dW_2 belongs to no single pre-activation, nor does a sum over the batch.
    assert region(_with(hidden, "weight_gradients", 2, lambda g: g + np.float32(1e-3)), "dE/dW_2") is None


def test_a_row_that_adds_two_rows_of_a_matrix_selects_none() -> None:
    z, departs = np.array([[[-30.0], [2.0]]]), np.array([[[100.0], [0.0]]])
    step = Quantity("W", 1, Estimate(np.ones((1, 2, 1)), np.full((1, 2, 1), 1e-8)))

    def region(x: list[list[float]]) -> tuple[float, float] | None:
        inputs = Inputs(z, np.array([x]))
        return measure_norms(step, np.array([[[1.1], [1.0]]]), departs, F32, inputs).region_of(0)

    assert region([[1.0, 0.0], [0.0, 1.0]]) == (-30.0, -30.0)
    assert region([[0.0, 1.0], [1.0, 0.0]]) == (2.0, 2.0)
    assert region([[1.0, 0.0], [1.0, 0.0]]) == (-30.0, 2.0)
    assert region([[1.0, 1.0], [0.0, 1.0]]) is None
    assert region([[1.0, 0.0], [0.0, 2.0]]) is None
