"""Verdicts on single quantities and calls, and what follows from them for the rest of a case."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..cases.case import Case, Group
from ..cases.regimes import REGIMES
from .compare import Comparison
from .verdict import CHECKS, Check, Verdict

ExpectationFor = Callable[[Verdict], str | None]
"""The id of the expectation that excuses a finding, or None."""


def verdict_on(group: Group, case: str, one: Comparison, i: int, dead: bool) -> Verdict:
    """The verdict on one quantity of the i-th call of a stack; `dead` as of its draw."""
    grade = one.grade(i)
    if dead and (grade == "pass" or REGIMES[group.regime].rounding == "exact"):
        grade = "inconclusive"  # numbers that are not exact say nothing of an exact match
    at = tuple(int(j) for j in np.unravel_index(int(one.at[i]), one.shape)) if one.shape and 0 not in one.shape else ()
    layer = one.layer or group.structure.network.depth
    passed = grade in ("pass", "inconclusive")
    return Verdict(
        case,
        one.check,
        one.quantity,
        grade,
        worst=float(one.worst[i]),
        at=at,
        power=float(one.power[i]),
        observed=None if passed else float(one.observed[i]),
        expected=None if passed else float(one.expected[i]),
        tolerance=None if passed else float(one.tolerance[i]),
        slack=None if passed or np.isinf(one.slack[i]) else float(one.slack[i]),
        activation=group.structure.network.activations[layer - 1],
    )


def with_expectation(verdict: Verdict, expectation_for: ExpectationFor) -> Verdict:
    """The verdict, with the expectation that excuses it where it is a finding and one does."""
    return replace(verdict, expectation=expectation_for(verdict)) if verdict.is_finding else verdict


def contracted(case: Case, found: Sequence[Verdict], expectation_for: ExpectationFor) -> list[Verdict]:
    """What was found of the contract, and the rest of the case blocked where that is not expected."""
    found = [with_expectation(verdict, expectation_for) for verdict in found]
    troubled = any(verdict.fails for verdict in found)
    return [*found, *(blocked(case, "contract") if troubled else ())]


def blocked(case: Case, behind: Check) -> list[Verdict]:
    """Every check of a case that comes after a failed one, but for those asked once a structure."""
    besides = {"layout", "descent", "batch"} | ({"bias_gradients"} if case.structure.network.bias == "none" else set())
    return [
        Verdict(case.id, check, "all", "blocked", message=f"behind {behind}")
        for check in CHECKS[CHECKS.index(behind) + 1 :]
        if check not in besides
    ]


def is_expected_in(group: Group, expectation_for: ExpectationFor) -> Callable[[Comparison, int], bool]:
    """Whether an expectation covers a departure."""
    return lambda one, i: (
        with_expectation(verdict_on(group, group.cases[0].id, one, i, False), expectation_for).expectation is not None
    )


def before_each(chosen: Sequence[int]) -> list[int | None]:
    """The number of the call before each draw's."""
    return [i - 1 if i else None for i in chosen]
