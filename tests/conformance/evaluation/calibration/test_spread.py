"""The spread: errors are counted in standard deviations, and rates have the limits of their distributions."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options
from kterm.conformance.evaluation.calibration.limit import CONFIDENCE, compute_upper_limit
from kterm.conformance.evaluation.calibration.spread import (
    THRESHOLDS,
    Sample,
    Tensor,
    choose_groups,
    compute_errors,
    compute_normal_rate,
    describe_errors,
    measure_sample,
    summarize_samples,
)
from kterm.conformance.records.run import RunRequest, prepare
from kterm.reference.propagation import Shown, propagate
from kterm.reference.rounding import SIGMAS, deviation

from ....support.frameworks.miniatures import right
from . import MINIATURES, make_case


def test_errors_are_counted_in_standard_deviations() -> None:
    structure, stack, observed = make_case("4x8x3-tanh-b5-pre-f64-normal-s17")
    before = {step.name: error for step, error in compute_errors(structure, stack, observed)}
    assert max(error.max() for error in before.values()) < 3
    shown = (observed[0].z, observed[0].x, observed[0].k)
    given = Shown(*(tuple(value[None] for value in some or ()) for some in shown))
    reading = deviation(structure.format)
    steps = propagate(structure.network, stack.parameters, stack.x, stack.y, reading, given)
    sigma = next(step.estimate.error for step in steps if step.name == "dE/dW_2")
    assert sigma is not None
    gradients = [np.array(g) for g in observed[0].weight_gradients]
    gradients[1][3, 1] += 7 * sigma[0, 3, 1]
    wrong = [replace(observed[0], weight_gradients=tuple(gradients))]
    after = {step.name: error for step, error in compute_errors(structure, stack, wrong)}
    assert after["dE/dW_2"][0, 3, 1] == pytest.approx(7, abs=1 + before["dE/dW_2"].max())
    changed = [name for name, error in after.items() if not np.array_equal(error, before[name])]
    assert changed == ["dE/dW_2"]


def test_where_f_prime_jumps_nothing_is_counted() -> None:
    structure, stack, _ = make_case("3x4-relu-b2-none-f32-normal-s0")
    stack = replace(stack, x=np.zeros_like(stack.x))
    observed = right(structure, stack[0].parameters, stack[0].x, stack[0].y)
    # At z = 0 every slope of relu from 0 to 1 is right.
    halfway = replace(observed, k=((observed.outputs - stack.y[0]) / 2,))
    (k,) = (error for step, error in compute_errors(structure, stack, [halfway]) if step.symbol == "k")
    assert not k.any()
    structure, stack, _ = make_case("3x4-identity-b2-none-f32-normal-s0")
    observed = right(structure, stack[0].parameters, stack[0].x, stack[0].y)
    halfway = replace(observed, k=((observed.outputs - stack.y[0]) / 2,))
    (k,) = (error for step, error in compute_errors(structure, stack, [halfway]) if step.symbol == "k")
    assert k.min() > SIGMAS


def test_gradients_alone_show_the_errors_of_a_framework_without_k() -> None:
    run = prepare(RunRequest((f"{MINIATURES}:Silent",), make_options("thorough", 0, ["f32"], ["tanh"])))
    (adapter,) = run.adapters
    found = measure_sample(run, adapter, choose_groups(adapter, run.options, 8)[0])
    (tensors,) = found.stacks
    assert {tensor.symbol for tensor in tensors if tensor.activation} == {"x", "W"}
    assert {tensor.symbol for tensor in tensors} <= {"x", "E", "W", "b"}


@pytest.mark.parametrize("draws", [1, 7, 600, 100_000])
def test_the_cases_are_as_many_as_asked_for_and_each_another(draws: int) -> None:
    adapter = describe(Numpy(), "numpy")
    planned = choose_groups(adapter, make_options("thorough", 3, ["f32", "f64"]), draws)
    assert sum(len(group.draws) for group in planned) == draws
    assert len({case.id for group in planned for case in group.cases}) == draws
    assert max(len(group.draws) for group in planned) <= 400
    assert {group.regime for group in planned} <= {"normal", "square"}
    if draws > 1000:
        counts = Counter((group.structure.dtype, group.regime) for group in planned)
        assert counts == {("f32", "normal"): 240, ("f64", "normal"): 240, ("f32", "square"): 40, ("f64", "square"): 40}


def _sample(activations: set[str], worst: list[float], with_expectation: set[str], statuses: dict[str, int]) -> Sample:
    tensors = tuple(Tensor("k", name, np.array(worst)) for name in sorted(activations))
    return Sample(
        "some",
        "f32",
        frozenset(activations),
        Counter(statuses),
        9,
        (),
        frozenset(with_expectation),
        (tensors,),
        10,
        (1,) * 8,
    )


def test_known_divergences_are_set_apart() -> None:
    clean = _sample({"tanh"}, [1.0, 2.0], set(), {"passed": 2})
    with_expectation = _sample({"tanh", "elu"}, [9.0], {"elu"}, {"passed": 1, "expected": 3})
    near = _sample({"elu"}, [9.5, 8.5], set(), {"passed": 2})
    found = summarize_samples("some", "f32", [clean, with_expectation, near])
    assert (found.judged, found.alarms, found.statuses["expected"], found.diverging) == (5, 0, 3, ("elu",))
    assert found.cases is not None
    assert (found.cases.count, found.cases.largest) == (2, 2.0)
    assert (found.entries, found.above[0]) == (10, 1)
    cases, tensors = found.by_activation["elu"]
    assert (cases.count, cases.largest, tensors.largest) == (3, 9.5, 9.5)
    cases, _ = found.by_activation["tanh"]
    assert (cases.count, cases.largest) == (2, 2.0)


@pytest.mark.parametrize(("alarms", "of"), [(0, 1), (0, 100_000), (1, 100), (7, 1000), (99, 100)])
def test_the_limit_is_that_of_clopper_and_pearson(alarms: int, of: int) -> None:
    # At the limit, so few or fewer would be seen once in twenty times.
    assert binom.cdf(alarms, of, compute_upper_limit(alarms, of)) == pytest.approx(1 - CONFIDENCE)
    if not alarms:
        assert compute_upper_limit(0, of) == pytest.approx(1 - 0.05 ** (1 / of))


def test_the_limit_where_all_are_alarms_is_one() -> None:
    assert compute_upper_limit(10, 10) == 1
    # From the tables of Clopper and Pearson (1934), upper 95 %: 1 in 10.
    assert compute_upper_limit(1, 10) == pytest.approx(0.3942, abs=1e-4)


def test_the_tail_is_extrapolated_as_an_exponential() -> None:
    values = np.random.default_rng(0).exponential(size=200_000)
    found = describe_errors(values)
    assert found.above == tuple((values > threshold).sum() for threshold in THRESHOLDS)
    assert found.rates == pytest.approx([np.exp(-threshold) for threshold in THRESHOLDS], rel=0.5)
    # The rates are overestimated where the tail falls as that of rounding errors.
    normal = describe_errors(np.abs(np.random.default_rng(0).normal(size=200_000)))
    for threshold, rate in zip(THRESHOLDS[3:], normal.rates[3:], strict=True):
        assert rate > compute_normal_rate(threshold)


def test_equal_errors_have_no_tail() -> None:
    found = describe_errors(np.ones(50))
    assert (found.median, found.largest, set(found.above), set(found.rates)) == (1.0, 1.0, {0}, {0.0})
