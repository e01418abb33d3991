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
from ...cases.draw import stacked
from ...cases.regimes import REGIMES, Draw
from ...checks.findings import ExpectationFor
from ...checks.verdict import NOTHING_EXPECTED, Verdict, failure_of
from ...diagnosis.diagnose import diagnose
from ...runners.runner import NoAnswer, Runner
from ..histories.history import History, Step
from ..histories.playing import Played, explain_played, play
from ..histories.recording import RecordingRunner
from .budget import DEFAULT_BUDGET, Budget, BudgetedRunner, BudgetSpent
from .history_search import search_history
from .number_search import simplify
from .structure_search import StructureSearch
from .trials import FailingCandidate, Trials

_CALLS_IN_A_ROW = 64
"""The calls in a row in which a case may fail that does not fail at once: enough for one mistake in fifty calls."""
_MOST_NUMBER_TRIALS = 400
"""The most trials of simpler numbers."""
_CONFIRMATION = Budget(builds=10, calls=400, starts=2)
"""The part of the budget that is kept back to confirm what was found with newly built programs."""
TRIED = (
    "it was called alone, after others of its structure, beside twins and 400 times, each in a new process; if it "
    "failed in a run, calls of other cases came before it"
)
"""What was tried if a case does not fail, as a sentence."""
_PROGRAM_CHECKS = ("same call twice", "repeated calls", "earlier observation", "twins")
"""What the contract requires of a program, and not of a single call."""


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that fails in the same way.

    `stack` holds the numbers of the calls that were made, in the structure's dtype. The draw at index `at` fails, with
    `verdict`. `original` is the failure of the case that was shrunk, with its explanations. `case` is a case of the
    structure whose own numbers fail in the same way, for `kterm replay`; None if only numbers of the original fail.
    `trials`, `builds`, `calls` and `starts` are what shrinking took, and `stopped` says in words what ended it.

    If the failure depends on earlier calls, `played` is the shortest history with which it shows in a new process.
    `is_repeatable` is false if the calls that failed did not fail when they were made again in a new process.
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
    starts: int = 0
    played: Played | None = None
    is_repeatable: bool = True

    @property
    def draw(self) -> Draw:
        """The draw that fails, without the leading dimension of the stack."""
        return self.stack[self.at]

    @property
    def is_single_call(self) -> bool:
        """Whether one call is enough to fail."""
        return len(self.stack.x) == 1 if self.played is None else self.played.history.is_single_call


def shrink(
    case: Case,
    runner: Runner,
    *,
    budget: Budget = DEFAULT_BUDGET,
    expectation_for: ExpectationFor = NOTHING_EXPECTED,
    progress: Callable[[str], object] | None = None,
    start: Callable[[], object] | None = None,
    shrinks: bool = True,
) -> Shrunk | None:
    """The smallest case that fails in the same way as `case`; None if `case` does not fail.

    `expectation_for` gives the id of the expectation that matches a finding, or None. An expected finding is shrunk to
    one that the same expectation matches, and an unexpected finding to an unexpected one. `progress` is called with one
    line for each structure that is tried. `start` makes the runner's next build start a new process, as
    `ProcessRunner.close` does; without it, a failure that depends on what the process did before may not be shrunk. The
    numbers and structure of the case stay as they are unless `shrinks`; only calls that are not needed are left out.

    The result depends only on the case and on the adapter's answers, unless the budget's seconds end the search. Raises
    NoAnswer if the adapter does not support the case, or if the budget is too small to examine it.
    """
    shrinker = _Shrinker(case, BudgetedRunner(runner, budget, start), budget, expectation_for, progress)
    try:
        failing = shrinker.find_failure()
    except BudgetSpent as spent:
        message = f"{spent} are not enough to examine {case.id}; give a larger budget"
        raise NoAnswer("raised", message) from None
    if failing is None:
        return None
    if shrinker.played is not None:
        return shrinker.shrink_history(failing, shrinker.played, shrinks)
    return shrinker.shrink(failing) if shrinks else shrinker.describe(failing, failing, "nothing was made smaller")


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
            min(_CONFIRMATION.builds, budget.builds // 2),
            min(_CONFIRMATION.calls, budget.calls // 2),
            starts=min(_CONFIRMATION.starts, budget.starts // 2),
        )
        self._trials = Trials(case, runner, expectation_for, progress)
        self._progress = progress
        self.played: Played | None = None
        self._is_repeatable = True

    def find_failure(self) -> FailingCandidate | None:
        """How the case itself fails: in a single call, after other calls, or beside its twins. None if it does not."""
        for number, (regime, draws) in enumerate(self._list_call_sequences()):
            if number:
                self._runner.start()
            self._trials.regime = regime
            recording = RecordingRunner(self._runner)
            found = self._trials.try_numbers(self._case.structure, draws, runner=recording)
            if found is not None:
                self._trials.kind, self._trials.calls_in_a_row = self._trials.kind_of(found), len(draws)
                found = self._diagnose(found)
                self._find_history(found, recording)
                return found
        return None

    def _find_history(self, found: FailingCandidate, recording: RecordingRunner) -> None:
        """See whether the failing call fails by itself in a new process, and if not, with which calls before it."""
        verdict = found.verdict
        if verdict.check == "layout":
            return
        if verdict.check != "batch" and verdict.quantity not in _PROGRAM_CHECKS:
            draw = found.examination.failing_calls(found.at, verdict)[0].draw
            alone = History((found.structure,), (Step(0, draw),), self._trials.regime)
            self._runner.start()
            played = play(alone, self._runner, self._expectation_for)
            if played is not None and _is_alike(played.verdict, verdict):
                self._runner.skips_soak, self._trials.calls_in_a_row = True, 1
                return
        for history in recording.find_histories(self._expectation_for, verdict.expectation):
            self._runner.start()
            played = play(history, self._runner, self._expectation_for)
            if played is not None and verdict.check == "batch":
                # A part of the batch that is wrong by itself may be wrong only after other calls.
                self._runner.start()
                alone = play(history.alone(), self._runner, self._expectation_for)
                played = played if alone is None else None
            if played is not None:
                self.played = played
                return
        # Whether the parts of a batch add up is seen in no single call.
        self._is_repeatable = verdict.check == "batch"

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
        if not REGIMES[regime].soak:
            yield "soak", (0, 1, 2)

    def shrink(self, failing: FailingCandidate) -> Shrunk:
        """Make the structure smaller, drop calls, and simplify the numbers, as far as the budget goes."""
        search = StructureSearch(failing, self._trials)
        self._runner.reserve = self._confirmation
        stopped = [_run_phase(search.run)]
        self._runner.reserve = Budget(self._confirmation.builds // 2, self._confirmation.calls // 2, starts=0)
        best = small = self._drop_calls(search.best)
        if self._trials.regime != "layout":
            best, ended = self._simplify_numbers(small)
            stopped.append(ended)
        ended = "; ".join(filter(None, stopped)) or "nothing smaller fails in the same way"
        return self.describe(failing, best, ended, small)

    def describe(
        self, failing: FailingCandidate, best: FailingCandidate, ended: str, small: FailingCandidate | None = None
    ) -> Shrunk:
        """What a candidate was shrunk to. `small` is the last candidate with numbers that a case id may stand for."""
        small = small or best
        index = small.draws[small.at]
        case = Case(small.structure, self._trials.regime, self._case.seed, index) if small.has_drawn_numbers else None
        return Shrunk(
            best.structure,
            self._trials.regime,
            best.stack,
            best.at,
            case,
            self._diagnose(best).verdict,
            failing.verdict,
            self._trials.count,
            self._runner.builds,
            self._runner.calls,
            ended,
            self._runner.starts,
            is_repeatable=self._is_repeatable,
        )

    def shrink_history(self, failing: FailingCandidate, played: Played, shrinks: bool) -> Shrunk:
        """Leave out calls, make the programs smaller, and simplify the numbers, as far as the budget goes."""
        self._runner.reserve = self._confirmation
        best, count, ended = search_history(
            played, self._runner, self._expectation_for, self._case.seed, shrinks, self._progress
        )
        history = best.history
        own = [step.draw for step in history.steps if step.program == history.steps[-1].program and step.draw]
        best = replace(best, verdict=explain_played(best, self._runner.describe(), self._expectation_for))
        return Shrunk(
            history.structure,
            history.regime,
            stacked(own),
            len(own) - 1,
            None,
            best.verdict,
            failing.verdict,
            self._trials.count + count,
            self._runner.builds,
            self._runner.calls,
            ended or "nothing smaller fails in the same way",
            self._runner.starts,
            best,
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
        self._runner.reuses_program, self._runner.reserve = False, Budget(0, 0, starts=0)
        try:
            found = self._trials.try_numbers(small.structure, small.draws, simplest)
        except BudgetSpent:
            found = None
        return (small if found is None else found), ended


def _is_alike(one: Verdict, other: Verdict) -> bool:
    """Whether two failures are about the same quantity, and both unexpected or expected by the same expectation. What
    is a step of a descent in one may be a call by itself in the other.
    """
    return (one.quantity, one.grade, one.expectation) == (other.quantity, other.grade, other.expectation)


def _run_phase(phase: Callable[[], None]) -> str:
    """Run a phase, and return which limit of the budget ended it; empty if it finished."""
    try:
        phase()
    except BudgetSpent as spent:
        return f"{spent} were spent"
    return ""
