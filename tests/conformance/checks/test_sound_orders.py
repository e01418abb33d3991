"""Nothing is found in a framework that differs from another only in the order of its sums or in where it rounds.

benchmarks/rounding/sound_orders.py runs many more cases.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.runners.runner import LocalRunner, differing, same_bits
from kterm.reference import BIASES, Bias, Network, Structure

from ...support.frameworks import sound
from ...support.frameworks.miniatures import right

NAMES = [made.name for made in sound.ORDERS]


@cache
def _groups(seed: int) -> tuple[Group, ...]:
    """One structure of each regime and dtype, with few draws."""
    groups = plan(describe(sound.Ordered(), "ordered"), make_options("quick", seed)).groups
    one_each = {(group.regime, group.structure.dtype): group for group in groups if group.seed == seed}
    return tuple(replace(group, draws=group.draws[:3]) for group in one_each.values())


@pytest.mark.parametrize("shows_little", [False, True], ids=["shown", "silent"])
# Every second one takes part in each run of the tests.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.heavy if i % 2 else ()) for i, name in enumerate(NAMES)]
)
def test_a_sound_order_of_operations_is_never_a_finding(name: str, shows_little: bool) -> None:
    made = sound.ORDERS[NAMES.index(name)]
    adapter = sound.showing_gradients_alone(made) if shows_little else made()
    runner, seed = LocalRunner(adapter), 1 + NAMES.index(name) % 5
    for group in _groups(seed)[shows_little::2]:
        found = [v for some in examine(group, runner).verdicts for v in some if v.fails]
        assert not found, found[0]


@pytest.mark.parametrize("dtype", ["f64", "f32", "bf16", "f16"])
def test_a_sum_that_starts_at_the_bias_is_right_in_tails(dtype: str) -> None:
    """A layer behind the chosen pre-activations: the oracle's addition of a bias is sometimes exact by accident."""
    case = parse_case(f"7x5x5-sigmoid.tanh-b7-pre-{dtype}-tails-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, tuple(range(300)))
    found = [v for some in examine(group, LocalRunner(sound.BiasFirst())).verdicts for v in some if v.fails]
    assert not found, found[0]


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("mean", [sound.OfMean, sound.OfBatchMean], ids=lambda made: made.name)
def test_a_mean_that_is_scaled_back_at_the_end_may_lose_more_below_the_normal_range(
    mean: type[sound.Ordered], dtype: str
) -> None:
    case = parse_case(f"5x5x5-relu.relu6-b5-none-{dtype}-subnormal-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, tuple(range(300)))
    adapter = sound.showing_gradients_alone(mean)
    found = [v for some in examine(group, LocalRunner(adapter)).verdicts for v in some if v.fails]
    assert not found, found[0]


def test_zeros_of_either_sign_are_one_number() -> None:
    case = parse_case("4x6x2-relu.relu6-b5-pre-f32-normal-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0, 1, 2))
    examination = examine(group, LocalRunner(sound.FlippingZeros()))
    assert not [v for some in examination.verdicts for v in some if v.is_finding]
    one = examination.failing_calls(0, examination.verdicts[0][0])[0].draw
    first = right(case.structure, one.parameters, one.x, one.y)
    assert first.k is not None
    assert (first.k[0] == 0).any()
    turned = replace(first, k=(np.where(first.k[0] == 0, -first.k[0] * 0, first.k[0]), *first.k[1:]))
    assert turned.k is not None
    assert turned.k[0].tobytes() != first.k[0].tobytes()
    assert same_bits(first, turned)
    assert differing(first, turned) == []
    other = replace(first, k=(np.nextafter(first.k[0], np.float32(1)), *first.k[1:]))
    assert not same_bits(first, other)
    assert differing(first, other) == ["k_1"]
    with_nan = replace(first, error=np.asarray(np.float32(np.nan)))
    assert same_bits(with_nan, replace(with_nan))
    assert differing(with_nan, first) == ["E"]


@pytest.mark.parametrize("shows_little", [False, True], ids=["shown", "silent"])
@pytest.mark.parametrize("bias", BIASES)
def test_an_output_that_is_computed_once_more_may_have_other_roundings_on_the_way(
    bias: Bias, shows_little: bool
) -> None:
    """Near the targets the residual is small, and where a bias cancels an activation the output is small too: what is
    left out of it is the rounding of a larger number. A layer with one input has no sum of products to start from.
    """
    adapter = sound.showing_gradients_alone(sound.Recomputed) if shows_little else sound.Recomputed()
    runner = LocalRunner(adapter)
    for name, dtype, width in product(("silu", "tanh", "softshrink", "sin"), ("f64", "f32", "f16"), (1, 3)):
        structure = Structure(Network((4, width, 5), ("tanh", name), bias), 8, dtype)
        group = Group(structure, "converged", 0, tuple(range(12)))
        found = [v for some in examine(group, runner).verdicts for v in some if v.fails]
        assert not found, found[0]
