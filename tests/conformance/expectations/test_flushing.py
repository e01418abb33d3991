"""The formula of flushing to zero: it explains flushing in any order of the sums, and hides no mistake."""

from collections.abc import Sequence

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.expectations.flushing import lost_in_product
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import DTYPES
from kterm.reference.value import exact

from ...support.frameworks.flushing import Backwards, Flushing, Fused, SilentFlushing

ENTRY = Expectation("1", "*", "known", formula="flush-to-zero")
DRAWS = 8
CASES = [
    "3x4x2-relu.leaky_relu-b4-none-f32-subnormal-s0",
    "5x3x4-identity.relu6-b3-pre-f64-subnormal-s0",
    "2x5x3-hardtanh.relu-b5-post-f32-subnormal-s0",
    "4x2x5-leaky_relu.identity-b2-pre-bf16-subnormal-s0",
]


def _statuses(adapter: Adapter, case: str, entries: Sequence[Expectation] = (ENTRY,)) -> list[str]:
    parsed = parse_case(case, tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(DRAWS)))
    return [status(some) for some in examine(group, LocalRunner(adapter), known.matcher(entries)).verdicts]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("adapter", [Flushing, Backwards, Fused, SilentFlushing])
def test_flushing_is_explained(adapter: type[Flushing], case: str) -> None:
    assert "failed" in _statuses(adapter(), case, [])
    assert set(_statuses(adapter(), case)) <= {"expected", "passed", "inconclusive"}


MISTAKES = ("factor-2", "factor-half", "no-slope-last", "slope-of-another", "bias-zero", "stopped-after-last", "sign")


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("adapter", [Flushing, SilentFlushing])
def test_a_mistake_does_not_hide_behind_flushing(adapter: type[Flushing], name: str) -> None:
    assert "failed" in _statuses(plant_mutant(adapter(), MUTANTS[name]), CASES[1])


def _lost(a: list[float], b: list[float]) -> tuple[float, float]:
    """By how much the sum of products may be lowered and raised, in units of the smallest normal number."""
    tiny = DTYPES["f32"].tiny
    lost = lost_in_product(exact(np.array([a]), None), exact(np.array(b)[:, None], None), tiny)
    return float(lost.lowers[0, 0]) / tiny, float(lost.raises[0, 0]) / tiny


def test_normal_operands_with_normal_products_of_one_sign_lose_nothing() -> None:
    assert _lost([2.0**-60, 2.0**-62], [2.0**-61, 2.0**-58]) == (0, 0)
    # Terms of both signs: a partial sum may be below the normal range, but loses less than the smallest normal number.
    assert _lost([2.0**-60, 2.0**-62], [2.0**-61, -(2.0**-58)]) == (1, 1)


def test_what_is_below_the_normal_range_may_be_lost_and_no_more() -> None:
    assert _lost([2.0**-64, 2.0**-40], [2.0**-64, 2.0**-40]) == (0.25, 0)  # the first term; the other is normal
    assert _lost([-(2.0**-64)], [2.0**-64]) == (0, 0.25)
    assert _lost([2.0**-128, 1.0], [1024.0, 1.0]) == (256, 0)  # an operand's share
    assert _lost([0.0, 0.0], [1.0, 2.0**-64]) == (0, 0)
