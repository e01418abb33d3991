"""From the sums of a run to its verdicts: is the arithmetic biased (`bias`), are its errors too large (`spread`)?

For example, sums that are truncated instead of rounded have errors of -0.24 σ outward on average. No single entry shows
this, since σ is the size of one error. The mean over a million of them does.

docs/tolerances.md derives the limits, and docs/calibration.md shows how sound frameworks lie within them.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy import special

from ....reference import DTYPES
from ...cases.case import traced_place
from ..verdict import RUN_CHECKS, Check, Grade, Verdict
from .moments import UNIT, Moments, Sums, is_exact_formula, merge, total
from .wide_oracle import has_wider_float

FAMILY_RATE = 1e-6
"""The rate at which a sound adapter has a finding of `bias` or `spread` in one run, at most."""
TRUNCATION = 0.5 / math.log(2)
"""The mean relative error of results that are truncated toward zero, in units of u: the mean of 1/m for a significand m
whose logarithm is uniform. A bias verdict is conclusive if it would have seen this.
"""
CONCLUSIVE_SQUARE = 2.0
"""A spread verdict is conclusive if it would have seen a mean square of this, with the standard error that it has."""
SUMS_ALONE = ("z", "dE/dW", "dE/db")

ExpectationFor = Callable[[Verdict], str | None]
"""Returns the id of the expectation that matches a finding, or None."""
Statistic = Literal["plain", "outward", "square"]
Rate = float | Callable[[float], float]
"""How often a mean may be beyond its limit by chance: a number, or a function of the variance of its sum, in σ²."""


@dataclass(frozen=True)
class Mean:
    """A mean over the entries of a run in σ (or σ² for squares), with its standard error.

    `dof` are the degrees of freedom of Student's law that the mean over its error follows, and `student` is what it
    exceeds at the rate of a false alarm. `least` and `most` are the ends of the interval in which a sound mean lies,
    and `limit` is how far from it the mean may be.
    """

    value: float
    error: float
    dof: float
    student: float
    least: float
    most: float
    limit: float

    @property
    def distance(self) -> float:
        """How far the mean lies outside the interval, in units of the limit."""
        out = max(self.least - self.value, self.value - self.most, 0.0)
        return 0.0 if out == 0 else (out / self.limit if self.limit else math.inf)


@dataclass(frozen=True)
class Judged:
    """One quantity of one dtype over a run: its sums, in `parts` by length, its means, and its verdicts of `bias` and
    `spread`. A quantity without a baseline has no verdict of `bias`.
    """

    dtype: str
    quantity: str
    activation: str
    sums: Sums
    parts: Mapping[str, Sums]
    means: Mapping[Statistic, Mean]
    verdicts: tuple[Verdict, ...]


def run_case(dtype: str, layer: str | None = None) -> str:
    """What stands for a case id in a verdict about a whole run, or about a layer of a trace in all steps. A pattern
    such as *-f32-* matches it.
    """
    return f"{'all' if layer is None else traced_place(layer)}-{dtype}-run"


def judge_run(
    moments: Moments,
    expectation_for: ExpectationFor = lambda _: None,
    one_sided: Collection[str] = (),
    rate_for: Callable[[int], Rate] = lambda means: FAMILY_RATE / means,
) -> list[Judged]:
    """The verdicts on the moments of one adapter, in the order of the keys. `one_sided` are the dtypes in which errors
    are toward zero by declaration: there a mean outward below 0 is no finding, and neither is a plain mean. `rate_for`
    gives the rate of each mean, from their number.
    """
    groups: dict[tuple[str, str, str], dict[str, Sums]] = {}
    for (dtype, quantity, activation, length), sums in sorted(moments.items()):
        groups.setdefault((dtype, quantity, activation), {})[length] = sums
    # Two means of each quantity that has a baseline, and one mean square of each.
    count = sum(1 + 2 * _has_baseline(quantity, activation) for _, quantity, activation in groups)
    rate = rate_for(count) if count else 0.0
    return [_judge(key, parts, rate, expectation_for, key[0] in one_sided) for key, parts in groups.items()]


def judge_layers(
    moments: Mapping[str, Moments], expectation_for: ExpectationFor = lambda _: None
) -> tuple[list[Judged], dict[str, list[Judged]]]:
    """The verdicts on the layers of a trace: on all together, and on each, which has its share of the rate."""
    layers = max(1, len(moments))

    def judge_one(layer: str) -> Iterator[Judged]:
        for one in judge_run(moments[layer], expectation_for, rate_for=lambda means: FAMILY_RATE / means / layers):
            case = run_case(one.dtype, layer)
            yield replace(one, verdicts=tuple(replace(verdict, case=case) for verdict in one.verdicts))

    return judge_run(merge(moments.values()), expectation_for), {layer: [*judge_one(layer)] for layer in moments}


def _has_baseline(quantity: str, activation: str) -> bool:
    """Whether it is known what mean a sound implementation has."""
    return (
        quantity in SUMS_ALONE or is_exact_formula(activation, quantity) or (quantity, activation) in ROUNDED_CONSTANTS
    )


ROUNDED_CONSTANTS: Mapping[tuple[str, str], float] = {("k", "hard_sigmoid"): 1 / 6}
"""Slopes that are one constant, which the format rounds: every entry has its relative error. A framework may divide by
6 instead, so the sound mean lies between 0 and that error.
"""


def constant_errors(constant: float, dtype: str) -> tuple[float, float]:
    """The least and the greatest relative error that a product with a rounded constant may have in a dtype, in units of
    u: 0 for a division, that of the constant in the format, or in the float32 that narrow formats compute in.
    """
    formats = {DTYPES[dtype].numpy, np.dtype(np.float32) if DTYPES[dtype].is_narrow else DTYPES[dtype].numpy}
    whole = round(1 / constant)
    errors = [float(Fraction(float(np.array(constant).astype(f))) * whole - 1) for f in formats]
    return min(0.0, *errors) / DTYPES[dtype].u, max(0.0, *errors) / DTYPES[dtype].u


def _judge(
    key: tuple[str, str, str], parts: Mapping[str, Sums], rate: Rate, expectation_for: ExpectationFor, one_sided: bool
) -> Judged:
    dtype, quantity, activation = key
    sums, u = total(parts.values()), DTYPES[dtype].u
    means: dict[Statistic, Mean] = {"square": estimate_mean(sums, "square", rate, 0.0, 1.0, 0.0)}
    verdicts = [_spread(key, sums, means["square"], u)]
    if _has_baseline(quantity, activation):
        low, high = 0.0, 0.0
        if constant := ROUNDED_CONSTANTS.get((quantity, activation)):
            low, high = constant_errors(constant, dtype)
        size = sums.size * UNIT / sums.entries
        # The sign of a k is that of the error that it passes on, so a constant shows in the outward mean alone. The
        # plain mean moves by at most as much.
        reach = max(-low, high) * size
        # Declared errors toward zero have no least mean in σ, which grows more slowly with the number of terms. Where
        # most values have one sign, the plain mean follows.
        reach, least = (math.inf, -math.inf) if one_sided else (reach, low * size)
        means["plain"] = estimate_mean(sums, "plain", rate, -reach, reach, u)
        means["outward"] = estimate_mean(sums, "outward", rate, least, high * size, u)
        verdicts.insert(0, _bias(key, sums, means, u))
    return Judged(
        *key,
        sums,
        parts,
        means,
        tuple(v if not v.is_finding else replace(v, expectation=expectation_for(v)) for v in verdicts),
    )


def estimate_mean(
    sums: Sums, name: Statistic, rate: Rate, least: float = 0.0, most: float = 0.0, floor: float = 0.0
) -> Mean:
    """A ratio estimate, Σ s_c / Σ n_c, with the standard error of clusters that are independent:
    √(Σ (s_c - m n_c)²) / N, which a factor corrects for the mean that is estimated from the same data.
    """
    n, effective = sums.entries, sums.entries**2 / sums.entries_2
    value = getattr(sums, name) * UNIT / n
    dof = effective - 1
    if dof <= 0:
        return Mean(value, math.inf, 0.0, math.inf, least, most, math.inf)
    error = math.sqrt(_variance(sums, name) * effective / dof)
    student = student_limit(dof, rate((n * error) ** 2) if callable(rate) else rate)
    return Mean(value, error, dof, student, least, most, student * error + floor)


def _variance(sums: Sums, name: str) -> float:
    """Σ (s_c - m n_c)² / N², for m = Σ s_c / N. Exact until the last division."""
    n, first = sums.entries, getattr(sums, name)
    second, mixed = getattr(sums, f"{name}_2"), getattr(sums, f"{name}_entries")
    # N² Σ (s_c - m n_c)² = N² Σ s_c² - 2 N S Σ s_c n_c + S² Σ n_c²
    exact = n * n * second - 2 * n * first * mixed + first * first * sums.entries_2
    return exact / n**4 * UNIT**2


def student_limit(dof: float, rate: float) -> float:
    """What Student's law with `dof` degrees of freedom exceeds, in absolute value, at this rate."""
    return float(-special.stdtrit(dof, rate / 2))


def _bias(key: tuple[str, str, str], sums: Sums, means: Mapping[Statistic, Mean], u: float) -> Verdict:
    dtype, quantity, activation = key
    worst = max((means["outward"], means["plain"]), key=lambda mean: mean.distance)
    seen = smallest_factor(sums, means["outward"], u)
    grade: Grade = "wrong" if worst.distance > 1 else ("pass" if seen <= TRUNCATION * u else "inconclusive")
    return _verdict("bias", dtype, quantity, activation, grade, worst, 1 / seen)


def _spread(key: tuple[str, str, str], sums: Sums, mean: Mean, u: float) -> Verdict:
    dtype, quantity, activation = key
    sees = mean.distance == 0 and mean.most + mean.limit <= CONCLUSIVE_SQUARE
    grade: Grade = "wrong" if mean.distance > 1 else ("pass" if sees else "inconclusive")
    room = max(mean.most + mean.limit - mean.value, 0.0) * sums.entries
    squares = sums.size_square * UNIT
    power = math.sqrt(squares / room) / u if 0 < room < math.inf else 0.0
    return _verdict("spread", dtype, quantity, activation, grade, mean, power)


def _verdict(
    check: Check, dtype: str, quantity: str, activation: str, grade: Grade, mean: Mean, power: float
) -> Verdict:
    found = grade == "wrong"
    return Verdict(
        run_case(dtype),
        check,
        quantity,
        grade,
        worst=mean.distance,
        power=power,
        observed=mean.value if found else None,
        expected=(mean.most if mean.value > mean.most else mean.least) if found else None,
        tolerance=mean.limit if found else None,
        activation=activation or None,
    )


def smallest_factor(sums: Sums, mean: Mean, u: float) -> float:
    """The smallest relative error in every entry that the outward mean would have shown: infinite if none would."""
    if not mean.dof or not sums.size:
        return math.inf
    size, t = sums.size * UNIT / sums.entries, mean.student
    # The factor moves clusters by different amounts, which adds to the standard error.
    own = _variance(sums, "size") * (mean.dof + 1) / mean.dof
    room = size * size - t * t * own
    return u * (mean.limit + mean.most - mean.least) / math.sqrt(room) if room > 0 else math.inf


def verdicts_of(judged: Iterable[Judged]) -> Iterator[Verdict]:
    """The verdicts alone, bias before spread."""
    every = [verdict for one in judged for verdict in one.verdicts]
    return iter(sorted(every, key=lambda verdict: RUN_CHECKS.index(verdict.check)))


def missing_reason(dtype: str) -> str:
    """Why nothing of a dtype was judged over a run."""
    if dtype == "f64" and not has_wider_float():
        return "this machine has no float that is wider than float64"
    return "no local step of a conclusive draw is shown"
