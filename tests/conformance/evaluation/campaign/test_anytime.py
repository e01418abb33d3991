"""Limits that hold at every look: wider than those of one look, and never crossed more often than stated."""

import math

import numpy as np
import pytest
from scipy import special

from kterm.conformance.checks.whole_run.moments import UNIT, Sums
from kterm.conformance.checks.whole_run.verdicts import FAMILY_RATE, estimate_mean, judge_run, student_limit
from kterm.conformance.evaluation.campaign import anytime
from kterm.conformance.evaluation.campaign.anytime import EPOCH, MOST_MEANS, rate_at_any_time


def test_a_look_among_many_has_a_wider_limit_than_the_only_one() -> None:
    alone = student_limit(1e6, FAMILY_RATE / 300)
    limits = [student_limit(1e6, rate_at_any_time(300, 10.0**n)) for n in range(1, 10)]
    assert limits == sorted(limits)
    # The price of looking as often as one likes: at most half as much again.
    assert all(alone < limit < 1.5 * alone for limit in limits)
    assert rate_at_any_time(1, 0.0) == rate_at_any_time(2000, 1.0) > rate_at_any_time(4000, 1.0)


def test_the_rates_of_all_epochs_together_are_the_share_of_a_mean() -> None:
    total = 0.0
    for epoch in range(-2000, 2000):
        rate = rate_at_any_time(1, EPOCH ** (epoch + 0.5))
        # Undo what a limit within an epoch costs: what is left is how often its end is beyond it, on either side.
        normal = (-float(special.ndtri(rate / 2)) - math.sqrt(EPOCH - 1)) / math.sqrt(EPOCH)
        total += 4 * float(special.ndtr(-normal))
    assert total == pytest.approx(FAMILY_RATE / MOST_MEANS, rel=1e-3)


def test_sums_that_are_looked_at_after_each_step_cross_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    # A rate that can be counted. The limit of one look at this rate is crossed by far more, which is what it is for.
    rate, walks, steps = 0.2, 2000, 4000
    monkeypatch.setattr(anytime, "FAMILY_RATE", rate)
    monkeypatch.setattr(anytime, "MOST_MEANS", 1)
    sums = np.random.default_rng(0).choice([-1.0, 1.0], (walks, steps)).cumsum(1)
    time = np.arange(1, steps + 1)
    limits = np.array([-special.ndtri(rate_at_any_time(1, float(n)) / 2) for n in time])
    ratio = np.abs(sums) / np.sqrt(time)
    assert (ratio > limits).any(1).mean() <= rate
    assert (ratio > -special.ndtri(rate / 2)).any(1).mean() > 2 * rate


def test_the_verdict_of_a_campaign_uses_the_wider_limit() -> None:
    rng = np.random.default_rng(1)
    errors = np.rint(rng.normal(0.02, 0.3, 4000) / UNIT).astype(int)
    ones = [Sums(1, 1, 1, int(e), int(e), int(abs(e)), int(1 / UNIT), int(e), int(1 / UNIT), int(e) ** 2, int(e) ** 2,
                 int(e) ** 2, int(1 / UNIT) ** 2, int(e) * int(1 / UNIT), int(abs(e)), int(e), int(e), int(1 / UNIT))
            for e in errors]  # fmt: skip
    total = ones[0]
    for one in ones[1:]:
        total += one
    moments = {("f32", "z", "", "short"): total}
    (single,) = judge_run(moments)
    (any_time,) = judge_run(moments, rate_for=lambda means: lambda variance: rate_at_any_time(means, variance))
    assert any_time.means["plain"].value == single.means["plain"].value
    assert single.means["plain"].limit < any_time.means["plain"].limit < 1.7 * single.means["plain"].limit
    mean = estimate_mean(total, "plain", lambda variance: variance / 1e9)
    assert mean.student == pytest.approx(student_limit(mean.dof, (4000 * mean.error) ** 2 / 1e9))
