"""Trials: run a candidate on the adapter, and see whether it fails in the same way as the case that is shrunk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ....reference import Structure
from ...cases.case import Case, Group
from ...cases.draw import make_draws, stacked
from ...cases.regimes import Draw
from ...checks.examine import Examination, examine
from ...checks.findings import ExpectationFor
from ...checks.verdict import Verdict, failure_of
from ...runners.runner import NoAnswer, Runner
from .budget import BudgetedRunner
from .candidates import count_numbers
from .same_failure import FailureKind, find_origin

DRAWS = 8
"""The draws that a small structure is called with: calls are cheap, builds are not."""
_MOST_NUMBERS = 1 << 16
"""The most numbers that those draws hold together."""


@dataclass(frozen=True)
class FailingCandidate:
    """A structure that fails in the same way as the original.

    It is called with `stack`, one draw after another, and the draw at index `at` fails with `verdict`. `draws` are the
    indices of the draws, and `examination` holds the verdicts on all of them. With `has_drawn_numbers` the numbers of
    the failing draw are those that its case id stands for; otherwise they come from the original case.
    """

    structure: Structure
    draws: tuple[int, ...]
    stack: Draw
    at: int
    verdict: Verdict
    examination: Examination
    has_drawn_numbers: bool = True

    @property
    def draw(self) -> Draw:
        """The draw that fails."""
        return self.stack[self.at]


class Trials:
    """Runs candidates on an adapter.

    `kind` is the failure that they should have; while it is None, any failure counts. `calls_in_a_row` is the number of
    calls that the failure needs: 1 for most, more where an adapter keeps state from call to call. `count` is the number
    of trials so far.
    """

    def __init__(
        self,
        case: Case,
        runner: BudgetedRunner,
        expectation_for: ExpectationFor,
        progress: Callable[[str], object] | None = None,
    ) -> None:
        self._case, self._expectation_for, self._progress = case, expectation_for, progress
        self.runner, self.regime = runner, case.regime
        self.kind: FailureKind | None = None
        self.calls_in_a_row = 1
        self.count = 0

    def try_structure(self, structure: Structure, cut_draw: Draw | None = None) -> FailingCandidate | None:
        """Call a structure with up to eight draws of its own, and after them with `cut_draw` if there is one. Returns
        None if it does not fail in the same way. Raises BudgetSpent.
        """
        count = 1
        if self.regime != "layout":
            count = max(self.calls_in_a_row, min(DRAWS, _MOST_NUMBERS // count_numbers(structure)), 1)
        draws = tuple(range(count))
        stack = make_draws(self.make_group(structure, draws).cases)
        if cut_draw is not None:
            stack = stacked([*(stack[i] for i in draws), cut_draw])
            draws = (*draws, len(draws))
        found = self.try_numbers(structure, draws, stack)
        is_cut = found is not None and cut_draw is not None and found.at == len(draws) - 1
        return replace(found, has_drawn_numbers=False) if found is not None and is_cut else found

    def try_numbers(
        self, structure: Structure, draws: Sequence[int], stack: Draw | None = None, runner: Runner | None = None
    ) -> FailingCandidate | None:
        """Call a structure with the numbers in `stack`, by default those of the draws. Returns the first draw that
        fails in the same way, or None. `runner` is one that records what it is asked.

        Raises BudgetSpent, and NoAnswer if the adapter does not support the structure while any failure counts.
        """
        group = self.make_group(structure, draws)
        stack = make_draws(group.cases) if stack is None else stack
        self.count += 1
        examination = examine(group, runner or self.runner, self._expectation_for, draws=stack)
        first = examination.verdicts[0][0]
        if self.kind is None and first.grade == "unsupported":
            raise NoAnswer("unsupported", first.message)
        failures = [failure_of(verdicts) for verdicts in examination.verdicts]
        found = next(
            (
                FailingCandidate(structure, group.draws, stack, at, failure, examination)
                for at, failure in enumerate(failures)
                if failure is not None and (self.kind is None or self._matches(self.kind, group, examination, failure))
            ),
            None,
        )
        if self._progress is not None:
            self._progress(f"{group.id}: {'does not fail' if found is None else 'fails'} in the same way")
        return found

    def _matches(self, kind: FailureKind, group: Group, examination: Examination, failure: Verdict) -> bool:
        # Where it begins is looked for only in what agrees otherwise.
        return kind.matches(failure) and kind.matches(
            failure, find_origin(group, examination.judged, failure, self._expectation_for)
        )

    def kind_of(self, found: FailingCandidate) -> FailureKind:
        """The kind of failure of a candidate."""
        group = self.make_group(found.structure, found.draws)
        origin = find_origin(group, found.examination.judged, found.verdict, self._expectation_for)
        return FailureKind.of(found.verdict, origin)

    def make_group(self, structure: Structure, draws: Sequence[int]) -> Group:
        """The cases of a structure with these draws, in the regime and with the seed of the original case."""
        return Group(structure, self.regime, self._case.seed, tuple(draws))
