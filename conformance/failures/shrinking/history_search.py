"""Search for the shortest history with which a call still fails, and for the smallest programs and numbers in it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ...cases.case import structure_id
from ...cases.draw import stacked
from ...cases.regimes import Draw
from ...checks.findings import ExpectationFor
from ..histories.history import History, Step, distinct_draws, same_numbers
from ..histories.playing import Played, play
from .budget import BudgetedRunner, BudgetSpent
from .candidates import Candidate, failing_layer, list_small_candidates
from .history_candidates import fit_history, replace_draws
from .number_search import simplify
from .same_failure import FailureKind

_SINGLE_STEPS = 12
"""If at most so many steps are left beside the failing call, each of them is tried to be left out."""
_CHUNKS = (2, 4, 8, 16)
_NUMBER_TRIALS = {False: 300, True: 16}
"""The most trials of simpler numbers, without and with a new process for each."""


class HistorySearch:
    """Makes a history shorter and smaller. `best` is the smallest so far that fails; it always fails, also when the
    budget ends the search.

    With `starts_anew` each trial begins in a new process. Without, it begins with newly built programs, which is enough
    if the adapter keeps its state in them.
    """

    def __init__(
        self,
        played: Played,
        runner: BudgetedRunner,
        expectation_for: ExpectationFor,
        seed: int,
        progress: Callable[[str], object] | None = None,
    ) -> None:
        self.best = replace(played, history=played.history.without_implied_builds())
        self._runner, self._expectation_for, self._seed, self._progress = runner, expectation_for, seed, progress
        # How wrong stale or accumulated numbers are depends on the numbers, so that any larger error will do.
        self._kind = replace(FailureKind.of(played.verdict), above=np.inf)
        self.starts_anew = runner.can_start
        self.count = 0

    def run(self, shrinks: bool) -> None:
        """Shorten the history; with `shrinks`, then make its programs smaller and its numbers simpler. Raises
        BudgetSpent.
        """
        self._shorten()
        self._unify()
        if not shrinks:
            return
        self._make_smaller()
        self._simplify_structure()
        self._simplify_numbers()

    def confirms(self, history: History) -> Played | None:
        """The history, played in a new process; None if it does not fail in the same way, or if its last call alone
        fails in a new process. Raises BudgetSpent.
        """
        self._runner.start()
        confirmed = self._matching(play(history, self._runner, self._expectation_for))
        if confirmed is None or history.aim != "answer" or history.is_single_call:
            return confirmed
        # Otherwise another failure was found on the way, one that needs no earlier call.
        self._runner.start()
        return confirmed if play(history.alone(), self._runner, self._expectation_for) is None else None

    def is_kept_in_programs(self) -> bool:
        """Whether newly built programs are as good as a new process: in the process in which the history failed, it
        fails again, and the last call alone does not. Raises BudgetSpent.
        """
        history = self.best.history
        alone = history.alone() if history.aim == "answer" else None
        for _ in range(2):
            if self._matching(play(history, self._runner, self._expectation_for)) is None:
                return False
            if alone is not None and play(alone, self._runner, self._expectation_for) is not None:
                return False
        return True

    def _matching(self, played: Played | None) -> Played | None:
        return played if played is not None and self._kind.matches(played.verdict) else None

    def _try(self, history: History | None) -> bool:
        if history is None:
            return False
        self.count += 1
        if self.starts_anew:
            self._runner.start()
        found = self._matching(play(history, self._runner, self._expectation_for))
        if self._progress is not None:
            how = "does not fail" if found is None else "fails"
            self._progress(f"{structure_id(history.structure)} in step {len(history.steps)}: {how} in the same way")
        if found is not None:
            self.best = found
        return found is not None

    # Fewer steps.

    def _shorten(self) -> None:
        """Leave out steps: all, all but the last or first ones, then parts of them."""
        if not self._try_keeping(()) and not any(self._try_keeping(few) for few in self._few_steps()):
            before = len(self.best.history.removable)
            self._bisect(lambda steps, count: steps[len(steps) - count :])
            if len(self.best.history.removable) < before:
                self._bisect(lambda steps, count: steps[:count])
            self._unify()
            if not self._is_one_call_again_and_again():
                for chunks in _CHUNKS:
                    self._leave_out(chunks)
        if len(self.best.history.removable) <= _SINGLE_STEPS:
            self._leave_out(_SINGLE_STEPS)

    def _is_one_call_again_and_again(self) -> bool:
        """Whether the steps that may be left out are all the same: only their number matters, and it was bisected."""
        history = self.best.history
        steps = [history.steps[i] for i in history.removable]
        return (
            all(
                step.draw is not None and steps[0].draw is not None and same_numbers(step.draw, steps[0].draw)
                for step in steps
            )
            and len(history.programs) == 1
        )

    def _try_keeping(self, steps: tuple[int, ...]) -> bool:
        history = self.best.history
        return len(steps) < len(history.removable) and self._try(history.keep(set(steps)))

    def _few_steps(self) -> Iterator[tuple[int, ...]]:
        """Only the call before the failing one, only the first, and each other program alone."""
        history = self.best.history
        steps, last = history.removable, history.steps[-1].program
        calls = [i for i in steps if history.steps[i].draw is not None]
        own = [i for i in calls if history.steps[i].program == last]
        others = [i for i in steps if history.steps[i].program != last]
        for few in (own[-1:], own[:1], calls[-1:]):
            if few:
                yield tuple(few)
        for program in dict.fromkeys(history.steps[i].program for i in others):
            some = [i for i in others if history.steps[i].program == program]
            yield tuple(some[:1])
            yield tuple(some[:2])

    def _bisect(self, keep: Callable[[tuple[int, ...], int], tuple[int, ...]]) -> None:
        """The fewest steps at one end, as if a failure with some of them showed with more of them as well."""
        low, high = 0, len(self.best.history.removable)
        while high - low > 1:
            middle = (low + high) // 2
            steps = self.best.history.removable
            if self._try_keeping(keep(steps, middle)):
                high = middle
            else:
                low = middle

    def _leave_out(self, chunks: int) -> None:
        """Leave out one part after another of so many parts."""
        parts = np.array_split(np.arange(len(self.best.history.removable)), min(chunks, 10**6))
        for part in reversed([part for part in parts if len(part)]):
            steps = self.best.history.removable
            left = tuple(step for i, step in enumerate(steps) if i not in part)
            self._try_keeping(left)

    def _unify(self) -> None:
        """The same numbers in all earlier calls of the failing program: those of the failing call, or of the first."""
        history = self.best.history
        own = history.steps[-1].program
        earlier = [step.draw for step in history.steps[:-1] if step.program == own and step.draw is not None]
        if history.aim != "answer" or not earlier:
            return
        for draw in (history.draw, earlier[0]):
            if all(same_numbers(draw, one) for one in earlier):
                return
            steps = [
                Step(own, draw) if step.program == own and step.draw is not None else step
                for step in history.steps[:-1]
            ]
            if self._try(replace(history, steps=(*steps, history.steps[-1]))):
                return

    # Smaller programs.

    def _make_smaller(self) -> None:
        """The smallest structure that fails, with new numbers."""
        history = self.best.history
        layer = failing_layer(self.best.verdict, history.structure.network)
        for candidate in list_small_candidates(history.structure, layer):
            if self._try(fit_history(history, candidate, self._seed, 0)):
                return

    def _simplify_structure(self) -> None:
        """No biases, and f64, as far as the adapter declares them."""
        adapter, history = self._runner.describe(), self.best.history
        structure = history.structure
        if "none" in adapter.biases and all(p.network.bias == structure.network.bias for p in history.programs):
            self._try_structure(Candidate(replace(structure, network=replace(structure.network, bias="none"))))
        structure = self.best.history.structure
        if "f64" in adapter.dtypes and all(p.dtype == structure.dtype for p in history.programs):
            self._try_structure(Candidate(replace(structure, dtype="f64")))

    def _try_structure(self, candidate: Candidate) -> None:
        history = self.best.history
        if candidate.structure != history.structure:
            self._try(fit_history(history, candidate, self._seed, 0))

    # Simpler numbers.

    def _simplify_numbers(self) -> None:
        history = self.best.history
        own, drawn = history.programs.index(history.structure), distinct_draws(history)
        chosen = [i for i, (program, _) in enumerate(drawn) if program == own]
        most = self.count + _NUMBER_TRIALS[self.starts_anew]

        def fails(stack: Draw) -> bool:
            draws = [draw for _, draw in drawn]
            for at, i in enumerate(chosen):
                draws[i] = stack[at]
            return self.count < most and self._try(replace_draws(history, draws))

        for _ in simplify(history.structure, history.regime, stacked([drawn[i][1] for i in chosen]), fails):
            pass


def search_history(
    played: Played,
    runner: BudgetedRunner,
    expectation_for: ExpectationFor,
    seed: int,
    shrinks: bool = True,
    progress: Callable[[str], object] | None = None,
) -> tuple[Played, int, str]:
    """The smallest history that fails in the same way in a new process, the number of trials, and what ended the
    search; empty if nothing did. `played` was played in the runner's present process, the first thing there.
    """
    count, ended = 0, ""
    try:
        search = HistorySearch(played, runner, expectation_for, seed, progress)
        ways = [False, True] if search.is_kept_in_programs() else [True]
        for starts_anew in ways if runner.can_start else [False]:
            search = HistorySearch(played, runner, expectation_for, seed, progress)
            search.starts_anew, ended = starts_anew, ""
            try:
                search.run(shrinks)
            except BudgetSpent as spent:
                ended = f"{spent} were spent"
            count += search.count
            runner.reserve = replace(runner.reserve, builds=0, calls=0, starts=0)
            confirmed = search.confirms(search.best.history)
            if confirmed is not None:
                return confirmed, count, ended
    except BudgetSpent as spent:
        ended = f"{spent} were spent"
    return played, count, ended
