"""From comparisons to verdicts: grades, expectations, and the checks that a failure blocks.

Every verdict on numbers is made here: of the draws of a group, of the steps of a descent, of the parts of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..cases.case import Case, Group
from ..cases.level import Level
from ..cases.regimes import REGIMES
from .comparison.compare import Comparison
from .verdict import CHECKS, Check, ExpectationFor, Verdict


def judge(
    group: Group,
    case: Case,
    compared: Sequence[Comparison],
    i: int,
    expectation_for: ExpectationFor,
    *,
    dead: bool = False,
    check: Check | None = None,
    step: int | None = None,
    level: Level = "componentwise",
) -> list[Verdict]:
    """The verdicts on call `i` of a stack, one for each comparison, with their expectations.

    `dead` says that the draw can show nothing. `check` replaces the check of each comparison (descent, batch), and
    `step` is the number of the descent step. `level` is the level of the run.
    """
    verdicts = [verdict_on(group, case.id, one, i, dead) for one in compared]
    if check is not None:
        verdicts = [replace(verdict, check=check, step=step) for verdict in verdicts]
    return [with_level(with_expectation(verdict, expectation_for), level) for verdict in verdicts]


def verdict_on(group: Group, case: str, one: Comparison, i: int, dead: bool) -> Verdict:
    """The verdict on one quantity of call `i` of a stack."""
    grade = one.grade(i)
    if dead and (grade == "pass" or REGIMES[group.regime].rounding == "exact"):
        grade = "inconclusive"  # numbers that are not exact cannot be required to match bit for bit
    at = tuple(int(j) for j in np.unravel_index(int(one.at[i]), one.shape)) if one.shape and 0 not in one.shape else ()
    layer = one.layer or group.structure.network.depth
    passed = grade in ("pass", "inconclusive")
    norms = None if passed else one.norms
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
        jump=None if passed or one.jump is None or not one.jump[i] else float(one.jump[i]),
        slack=None if passed or np.isinf(one.slack[i]) else float(one.slack[i]),
        activation=group.structure.network.activations[layer - 1],
        normwise=None if norms is None else float(norms.normwise[i]),
        relative=None if norms is None else float(norms.relative[i]),
        region=None if norms is None else norms.region_of(i),
        formulas=one.formulas[i] if one.formulas else (),
    )


def with_expectation(verdict: Verdict, expectation_for: ExpectationFor) -> Verdict:
    """The verdict with the id of the expectation that matches it, if it is a finding and one does."""
    return replace(verdict, expectation=expectation_for(verdict)) if verdict.is_finding else verdict


def with_level(verdict: Verdict, level: Level) -> Verdict:
    """The verdict, marked as below the level of the run if the level lets an unexpected finding pass."""
    return replace(verdict, below_level=True) if is_below(verdict, level) else verdict


def is_below(verdict: Verdict, level: Level) -> bool:
    """Whether a level lets a finding pass that no expectation matches."""
    return level == "normwise" and verdict.level == "componentwise" and verdict.expectation is None


def with_contract(case: Case, found: Sequence[Verdict], expectation_for: ExpectationFor) -> list[Verdict]:
    """Findings about the contract with their expectations; if one is unexpected, the rest of the case is blocked."""
    found = [with_expectation(verdict, expectation_for) for verdict in found]
    fails = any(verdict.fails for verdict in found)
    return [*found, *(blocked(case, "contract") if fails else ())]


def blocked(case: Case, behind: Check) -> list[Verdict]:
    """A blocked verdict for every check of a case after a failed one, except those that run once a structure."""
    besides = {"layout", "descent", "batch"} | ({"bias_gradients"} if case.structure.network.bias == "none" else set())
    return [
        Verdict(case.id, check, "all", "blocked", message=f"behind {behind}")
        for check in CHECKS[CHECKS.index(behind) + 1 :]
        if check not in besides
    ]


def is_expected_in(
    group: Group, expectation_for: ExpectationFor, level: Level = "componentwise"
) -> Callable[[Comparison, int], bool]:
    """A function that says whether an expectation, or the level of the run, lets pass what call `i` of a comparison
    shows.
    """
    case = group.cases[0].id

    def is_expected(one: Comparison, i: int) -> bool:
        verdict = with_expectation(verdict_on(group, case, one, i, False), expectation_for)
        return verdict.expectation is not None or is_below(verdict, level)

    return is_expected
