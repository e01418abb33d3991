"""The search for the smallest structure that fails."""

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case, structure_id
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.shrinking.budget import Budget, BudgetedRunner, BudgetSpent
from kterm.conformance.failures.shrinking.same_failure import FailureKind
from kterm.conformance.failures.shrinking.structure_search import StructureSearch
from kterm.conformance.failures.shrinking.trials import Trials
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner


def _search(case_id: str, mutant: str, budget: Budget) -> StructureSearch:
    case = parse_case(case_id, tuple(REGIMES))
    runner = BudgetedRunner(LocalRunner(plant_mutant(Numpy(), MUTANTS[mutant])), budget)
    trials = Trials(case, runner, NOTHING_EXPECTED)
    failing = trials.try_numbers(case.structure, (case.draw,))
    assert failing is not None
    trials.kind = FailureKind.of(failing.verdict)
    return StructureSearch(failing, trials)


def test_a_mistake_past_a_column_is_bisected_to_that_column() -> None:
    search = _search("3x4x65-sin.relu-b3-none-f64-tiles-s0", "columns-past-32", Budget())
    search.run()
    assert structure_id(search.best.structure) == "1x33-relu-b1-none-f64"


def test_the_best_so_far_stands_when_the_budget_ends() -> None:
    search = _search("3x4x65-sin.relu-b3-none-f64-tiles-s0", "columns-past-32", Budget(builds=10))
    with pytest.raises(BudgetSpent, match="10 builds"):
        search.run()
    assert max(search.best.structure.network.widths) > 32
    assert search.best.verdict.is_finding
