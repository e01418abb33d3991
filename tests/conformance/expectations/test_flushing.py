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

from ...support.flushing import Backwards, Flushing, Fused, SilentFlushing

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


def test_normal_operands_with_normal_products_of_one_sign_lose_nothing() -> None:
    tiny = DTYPES["f32"].tiny
    a, b = exact(np.array([[2.0**-60, 2.0**-62]]), None), exact(np.array([[2.0**-61], [2.0**-58]]), None)
    assert (a.value @ b.value > 32 * tiny).all()
    assert lost_in_product(a, b, tiny) == 0
    # Terms of both signs: a partial sum may be below the normal range, but loses less than the smallest normal number.
    assert lost_in_product(a, exact(b.value * [[1], [-1]], None), tiny) == tiny


def test_what_is_below_the_normal_range_may_be_lost_and_no_more() -> None:
    tiny = DTYPES["f32"].tiny
    terms = exact(np.array([[2.0**-64, 2.0**-40]]), None)
    factors = exact(np.array([[2.0**-64], [2.0**-40]]), None)
    assert lost_in_product(terms, factors, tiny) == 2.0**-128  # the term, which is below; the other is not
    small = exact(np.array([[tiny / 4, 1.0]]), None)
    assert lost_in_product(small, exact(np.array([[1024.0], [1.0]]), None), tiny) == 256 * tiny  # an operand's share
    zeros = exact(np.zeros((1, 2)), None)
    assert lost_in_product(zeros, factors, tiny) == 0
