"""Shrinking: from a failing case to the smallest case that fails in the same way (`FailureKind` says what that means).

The structure is made smaller first, then the numbers of the failing call are made simpler. Small structures are tried
from the smallest up, since most mistakes show in a network of one or two layers; if none of them fails, the original is
cut down in one dimension after another. A general-purpose shrinker tries hundreds of structures, and a compiling
framework compiles every one; so this is code of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....reference import Structure
from ...cases.case import Case
from ...cases.regimes import REGIMES, Draw
from ...checks.findings import ExpectationFor
from ...checks.verdict import NOTHING_EXPECTED, Verdict, failure_of
from ...diagnosis.diagnose import diagnose
from ...runners.runner import NoAnswer, Runner
from .budget import DEFAULT_BUDGET, Budget, BudgetedRunner, BudgetSpent
from .number_search import simplify
from .same_failure import FailureKind
from .structure_search import StructureSearch
from .trials import FailingCandidate, Trials

_CALLS_IN_A_ROW = 64
"""The calls in a row in which a case may fail that does not fail at once: enough for one mistake in fifty calls."""
_MOST_NUMBER_TRIALS = 400
"""The most trials of simpler numbers."""
_CONFIRMATION = Budget(builds=10, calls=400)
"""The part of the budget that is kept back to confirm what was found with newly built programs."""
_PROGRAM_CHECKS = ("same call twice", "earlier observation", "twins")
"""What the contract requires of a program, and not of a single call."""


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that fails in the same way.

    `stack` holds the numbers of all calls that the failure needs, in the structure's dtype: one draw, or more if the
    adapter keeps state from call to call. The draw at index `at` fails, with `verdict`. `original` is the failure of
    the case that was shrunk, with its explanations. `case` is a case of the structure whose own numbers fail in the
    same way, for `kterm replay`; None if only numbers of the original fail. `trials`, `builds` and `calls` are what
    shrinking took, and `stopped` says in words what ended it.
    """

    structure: Structure
    regime: str
    stack: Draw
    at: int
    case: Case | None
    verdict: Verdict
    original: Verdict
    trials: int
    builds: int
    calls: int
    stopped: str

    @property
    def draw(self) -> Draw:
        """The draw that fails, without the leading dimension of the stack."""
        return self.stack[self.at]

    @property
    def is_single_call(self) -> bool:
        """Whether one call is enough to fail."""
        return len(self.stack.x) == 1


def shrink(
    case: Case,
    runner: Runner,
    *,
    budget: Budget = DEFAULT_BUDGET,
    expectation_for: ExpectationFor = NOTHING_EXPECTED,
    progress: Callable[[str], object] | None = None,
) -> Shrunk | None:
    """The smallest case that fails in the same way as `case`; None if `case` does not fail.

    `expectation_for` gives the id of the expectation that matches a finding, or None. An expected finding is shrunk to
    one that the same expectation matches, and an unexpected finding to an unexpected one. `progress` is called with one
    line for each structure that is tried. The result depends only on the case and on the adapter's answers, unless the
    budget's seconds end the search. Raises NoAnswer if the adapter does not support the case, or if the budget is too
    small to examine it.
    """
    shrinker = _Shrinker(case, BudgetedRunner(runner, budget), budget, expectation_for, progress)
    try:
        failing = shrinker.find_failure()
    except BudgetSpent as spent:
        message = f"{spent} are not enough to examine {case.id}; give a larger budget"
        raise NoAnswer("raised", message) from None
    return None if failing is None else shrinker.shrink(failing)


class _Shrinker:
    """Shrinks one case."""

    def __init__(
        self,
        case: Case,
        runner: BudgetedRunner,
        budget: Budget,
        expectation_for: ExpectationFor,
        progress: Callable[[str], object] | None,
    ) -> None:
        self._case, self._runner, self._expectation_for = case, runner, expectation_for
        self._confirmation = Budget(
            min(_CONFIRMATION.builds, budget.builds // 2), min(_CONFIRMATION.calls, budget.calls // 2)
        )
        self._trials = Trials(case, runner, expectation_for, progress)

    def find_failure(self) -> FailingCandidate | None:
        """How the case itself fails: in a single call, after other calls, or beside its twins. None if it does not."""
        for regime, draws in self._list_call_sequences():
            self._trials.regime = regime
            found = self._trials.try_numbers(self._case.structure, draws)
            if found is not None:
                self._trials.kind, self._trials.calls_in_a_row = FailureKind.of(found.verdict), len(draws)
                return self._diagnose(found)
        return None

    def _diagnose(self, found: FailingCandidate) -> FailingCandidate:
        """The same candidate; its verdict has a diagnosis."""
        group = self._trials.make_group(found.structure, found.draws)
        verdict = failure_of(diagnose(group, found.examination, self._expectation_for)[found.at])
        return found if verdict is None else replace(found, verdict=verdict)

    def _list_call_sequences(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(regime, draws to call one after another): the case alone, then after more and more other calls."""
        regime, index = self._case.regime, self._case.draw
        yield regime, (index,)
        if regime == "layout":
            return
        yield regime, (0, index or 1)
        if index > 1:
            yield regime, tuple(range(index + 1))
        yield regime, tuple(range(max(_CALLS_IN_A_ROW, index + 1)))
        if not REGIMES[regime].twins:
            yield "twins", (index,)

    def shrink(self, failing: FailingCandidate) -> Shrunk:
        """Make the structure smaller, drop calls, and simplify the numbers, as far as the budget goes."""
        search = StructureSearch(failing, self._trials)
        self._runner.reserve = self._confirmation
        stopped = [_run_phase(search.run)]
        self._runner.reserve = Budget(self._confirmation.builds // 2, self._confirmation.calls // 2)
        best = small = self._drop_calls(search.best)
        if self._trials.regime != "layout":
            best, ended = self._simplify_numbers(small)
            stopped.append(ended)
        index = small.draws[small.at]
        return Shrunk(
            best.structure,
            self._trials.regime,
            best.stack,
            best.at,
            Case(small.structure, self._trials.regime, self._case.seed, index) if small.has_drawn_numbers else None,
            best.verdict,
            failing.verdict,
            self._trials.count,
            self._runner.builds,
            self._runner.calls,
            "; ".join(filter(None, stopped)) or "nothing smaller fails in the same way",
        )

    def _drop_calls(self, best: FailingCandidate) -> FailingCandidate:
        """The same candidate with as few calls in a row as the failure needs, in a newly built program."""
        at = best.at
        ways = dict.fromkeys(((at,), (0, at or 1), (max(at - 1, 0), at or 1), tuple(range(len(best.draws)))))
        for chosen in (way for way in ways if len(way) == 1 or max(way) < len(best.draws)):
            draws = [best.draws[i] for i in chosen]
            stack = best.stack[np.array(chosen)]
            try:
                found = self._trials.try_numbers(best.structure, draws, stack)
            except BudgetSpent:
                break
            if found is not None:
                return replace(found, has_drawn_numbers=best.has_drawn_numbers)
        return best

    def _simplify_numbers(self, small: FailingCandidate) -> tuple[FailingCandidate, str]:
        """The same candidate with simpler numbers, and what ended the search for them, empty if nothing did."""
        most, simplest = self._trials.count + _MOST_NUMBER_TRIALS, small.stack

        def fails(stack: Draw) -> bool:
            if self._trials.count >= most:
                raise BudgetSpent(f"{_MOST_NUMBER_TRIALS} trials of simpler numbers")
            return self._trials.try_numbers(small.structure, small.draws, stack) is not None

        def search() -> None:
            nonlocal simplest
            if self._runner.reuses_program and not fails(small.stack):
                self._runner.reuses_program = False
            for stack in simplify(small.structure, self._trials.regime, small.stack, fails):
                simplest = stack

        self._runner.reuses_program = small.verdict.quantity not in _PROGRAM_CHECKS
        ended = _run_phase(search)
        self._runner.reuses_program, self._runner.reserve = False, Budget(0, 0)
        try:
            found = self._trials.try_numbers(small.structure, small.draws, simplest)
        except BudgetSpent:
            found = None
        return (small if found is None else found), ended


def _run_phase(phase: Callable[[], None]) -> str:
    """Run a phase, and return which limit of the budget ended it; empty if it finished."""
    try:
        phase()
    except BudgetSpent as spent:
        return f"{spent} were spent"
    return ""
