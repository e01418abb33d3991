"""`bias` and `spread`: a sound arithmetic has no finding, each planted one has the finding that it is for, and a run
with few draws decides nothing.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.whole_run.causes import describe_bias, describe_spread
from kterm.conformance.checks.whole_run.moments import Sums, collect, is_exact_formula, merge
from kterm.conformance.checks.whole_run.verdicts import (
    FAMILY_RATE,
    TRUNCATION,
    Judged,
    constant_errors,
    judge_run,
    student_limit,
    verdicts_of,
)
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, DTYPES

from ....support.frameworks import biased
from ....support.frameworks.miniatures import Miniature, Silent
from ....support.frameworks.sound import ORDERS
from ....support.rounding import needs_longdouble


def _judge(
    adapter: Adapter,
    dtype: str = "f32",
    count: int = 7,
    draws: int = 30,
    activations: tuple[str, ...] = (),
    one_sided: tuple[str, ...] = (),
) -> list[Judged]:
    """The checks of a run over some structures of the quick profile."""
    described, runner = describe(adapter, adapter.name), LocalRunner(adapter)
    groups = [
        g for g in plan(described, make_options("quick", 3, (dtype,), activations)).groups if g.regime == "normal"
    ]
    # The deepest take longest, and show no more.
    small = [replace(g, draws=g.draws[:draws]) for g in groups if g.structure.network.depth <= 4][-count:]
    return judge_run(merge(examine(group, runner).moments for group in small), one_sided=one_sided)


def _findings(judged: list[Judged]) -> set[tuple[str, str]]:
    return {(v.check, v.quantity) for v in verdicts_of(judged) if v.is_finding}


def _words(judged: list[Judged], quantity: str) -> str:
    return "\n".join(line for one in judged if one.quantity == quantity for line in describe_bias(one, with_cause=True))


@pytest.mark.parametrize("adapter", [Numpy(), Miniature(), biased.Rounded()], ids=lambda a: a.name)
def test_a_sound_arithmetic_has_no_finding_and_would_have_shown_half_a_rounding(adapter: Adapter) -> None:
    judged = _judge(adapter)
    assert _findings(judged) == set()
    sums = [v for v in verdicts_of(judged) if v.check == "bias" and v.quantity in ("z", "dE/dW", "dE/db")]
    assert [v.grade for v in sums] == ["pass"] * 3
    assert all(1 / (v.power or 0) < DTYPES["f32"].u / 2 for v in sums)


@pytest.mark.parametrize("adapter", [one() for one in ORDERS], ids=lambda a: a.name)
def test_no_order_of_a_sum_has_a_finding(adapter: Adapter) -> None:
    assert _findings(_judge(adapter, count=3, draws=8)) == set()


@pytest.mark.parametrize(
    ("adapter", "found", "words"),
    [
        (biased.Truncated(), {"z", "dE/dW", "dE/db"}, "truncated once lie 0.72 u off"),
        (biased.Floored(), {"z", "dE/dW", "dE/db"}, "rounded down once lie 0.72 u off"),
        (biased.Chopped(), {"z", "dE/dW", "dE/db"}, "as if partial sums were rounded toward zero"),
        (biased.Raised(), {"dE/dW", "dE/db"}, "results lie away from zero"),
        (biased.ScaledWeights(), {"dE/dW"}, "a factor of 1 + 1e-07 would do this"),
        (biased.ScaledBiases(), {"dE/db"}, "a factor of 1 + 9.9e-08 would do this"),
    ],
    ids=lambda value: value.name if isinstance(value, Adapter) else "",
)
def test_a_mistake_below_one_rounding_is_found_in_what_it_is_in(adapter: Adapter, found: set[str], words: str) -> None:
    judged = _judge(adapter)
    assert {q for check, q in _findings(judged) if check == "bias" and q not in "xk"} == found
    assert any(words in _words(judged, quantity) for quantity in found)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_truncated_stores_are_found_in_narrow_formats(dtype: str) -> None:
    assert {("bias", "z"), ("bias", "dE/dW")} <= _findings(_judge(biased.TruncatedEverywhere(), dtype))
    assert _findings(_judge(biased.Rounded(), dtype)) == set()


@needs_longdouble
def test_in_float64_a_wider_oracle_shows_a_bias() -> None:
    assert _findings(_judge(biased.Outer(), "f64")) == {("bias", "dE/dW")}
    sound = _judge(Numpy(), "f64")
    assert _findings(sound) == set()
    # Against an oracle in float64 all of them would be 0.
    assert all(one.means["square"].value > 0.01 for one in sound if one.quantity == "dE/dW")


def test_without_a_wider_float_nothing_of_float64_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kterm.conformance.checks.whole_run.moments.has_wider_float", lambda: False)
    assert _judge(Numpy(), "f64", count=1) == []


def test_narrower_products_are_a_finding_of_spread_without_a_direction() -> None:
    judged = _judge(biased.Narrowed())
    assert ("spread", "dE/dW") in _findings(judged)
    assert ("bias", "dE/dW") not in _findings(judged)
    words = "\n".join(line for one in judged if one.quantity == "dE/dW" for line in describe_spread(one))
    assert "as if products or sums were rounded to fewer bits" in words


def test_gradients_alone_are_not_judged() -> None:
    # Their errors are inherited from hidden steps, whose formulas may have a direction.
    assert _judge(Silent(), count=2, draws=4) == []


@pytest.mark.parametrize("adapter", [Numpy(), biased.Truncated()], ids=lambda a: a.name)
def test_a_few_draws_decide_nothing(adapter: Adapter) -> None:
    verdicts = [v for v in verdicts_of(_judge(adapter, count=2, draws=2)) if v.quantity in ("z", "dE/dW", "dE/db")]
    assert verdicts
    assert {v.grade for v in verdicts if v.check == "bias"} == {"inconclusive"}


@pytest.mark.parametrize(("dtype", "sign"), [("f32", 1), pytest.param("f64", -1, marks=needs_longdouble)])
def test_a_slope_that_is_a_rounded_constant_has_its_baseline(dtype: str, sign: int) -> None:
    judged = _judge(Numpy(), dtype, count=12, activations=("hard_sigmoid",))
    one = next(one for one in judged if one.quantity == "k")
    outward = one.means["outward"]
    # Without the baseline this would be a finding. It is the relative error of 1/6 in the format, which is u / 2.
    assert outward.value * sign > outward.limit
    ends = (outward.least, outward.most)
    assert outward.value == pytest.approx(max(ends, key=abs), rel=0.15)
    assert _findings(judged) == set()


def test_the_errors_of_rounded_constants() -> None:
    for dtype in ("f32", "f64"):
        stored = float(np.array(1 / 6).astype(DTYPES[dtype].numpy))
        numerator, denominator = stored.as_integer_ratio()
        exact = (6 * numerator - denominator) / denominator / DTYPES[dtype].u
        assert constant_errors(1 / 6, dtype) == pytest.approx((min(0.0, exact), max(0.0, exact)))
    low, high = constant_errors(1 / 6, "bf16")
    assert low == 0
    assert high == pytest.approx(0.5)


def test_the_power_of_a_verdict_is_the_factor_that_it_sees() -> None:
    power = {v.quantity: v.power for v in verdicts_of(_judge(biased.Rounded())) if v.check == "bias"}["dE/dW"]
    assert power is not None

    class Seen(biased.Biased):
        store_weights = staticmethod(biased.scaled(1 + 1.5 / power))

    class Unseen(biased.Biased):
        store_weights = staticmethod(biased.scaled(1 + 0.5 / power))

    assert _findings(_judge(Seen())) == {("bias", "dE/dW")}
    assert _findings(_judge(Unseen())) == set()


def test_exact_formulas_are_those_without_rounded_constants() -> None:
    exact = {name for name in ACTIVATIONS if is_exact_formula(name, "k")}
    assert exact == {"identity", "relu", "leaky_relu", "relu6", "hardtanh", "softshrink", "hardshrink"}


# The law.


def test_the_limit_is_that_of_students_law() -> None:
    for dof in (3.5, 30.0, 1000.0):
        assert student_limit(dof, 1e-9) == pytest.approx(stats.t.isf(0.5e-9, dof), rel=1e-9)


def test_means_over_unequal_clusters_exceed_students_limit_no_more_often_than_stated() -> None:
    # 60 clusters of very unequal sizes, with errors that are independent and of variance 1.
    rng = np.random.Generator(np.random.Philox(key=1))
    sizes = np.round(4 * np.exp(rng.normal(size=60) * 1.5)) + 1
    trials = 40_000
    sums = rng.normal(size=(trials, sizes.size)) * np.sqrt(sizes)
    mean = sums.sum(1) / sizes.sum()
    effective = sizes.sum() ** 2 / np.square(sizes).sum()
    error = np.sqrt(np.square(sums - mean[:, None] * sizes).sum(1) * effective / (effective - 1)) / sizes.sum()
    for rate in (0.1, 0.01, 0.001):
        found = (np.abs(mean) > student_limit(effective - 1, rate) * error).mean()
        assert found < rate + 4 * math.sqrt(rate / trials)


def test_the_mean_error_of_truncated_results_is_the_derived_one() -> None:
    rng = np.random.Generator(np.random.Philox(key=2))
    values = 2.0 ** rng.uniform(-20, 20, size=200_000)
    errors = biased.toward_zero(values, np.dtype(np.float32)) - values
    assert -errors.sum() / values.sum() / DTYPES["f32"].u == pytest.approx(TRUNCATION, rel=0.05)
    assert -(errors / values).mean() / DTYPES["f32"].u == pytest.approx(TRUNCATION, rel=0.01)


def test_the_rate_of_a_run_is_shared_by_its_means() -> None:
    one = collect([(("f32", "z", "", "short"), np.array([[4, 1.0, 1.0, 2.0, 3.0, 1.0, 3.0]] * 3))])
    (only,) = judge_run(one)
    both = judge_run({**one, ("f32", "dE/dW", "", "short"): Sums() + one["f32", "z", "", "short"]})
    # Errors are equal in all clusters, so the standard error is 0 and the limit is the floor alone.
    assert only.means["outward"].limit == DTYPES["f32"].u
    assert len(both) == 2
    assert FAMILY_RATE == 1e-6
    assert special.stdtr(only.means["plain"].dof, -student_limit(only.means["plain"].dof, 1e-3)) == pytest.approx(5e-4)


def test_what_is_toward_zero_by_declaration_is_judged_on_the_other_side_alone() -> None:
    truncated = _judge(biased.Truncated(), one_sided=("f32",))
    assert {finding for finding in _findings(truncated) if finding[0] == "bias"} == set()
    grades = {v.grade for v in verdicts_of(truncated) if v.check == "bias"}
    assert grades == {"inconclusive"}
    assert ("bias", "dE/dW") in _findings(_judge(biased.Raised(), one_sided=("f32",)))
    assert ("bias", "dE/dW") in _findings(_judge(biased.Truncated(), one_sided=("f64",)))
