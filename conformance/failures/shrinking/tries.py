"""Tries: networks put to an adapter to see whether they fail in the same way as a case, within a budget."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ....reference import Array, Parameters, Structure
from ...cases.case import Case, Group
from ...cases.draw import make_draws, stacked
from ...cases.plan import Description
from ...cases.regimes import Draw
from ...checks.examine import examine
from ...checks.findings import ExpectationFor
from ...checks.verdict import Verdict, failure_of
from ...diagnosis.diagnose import diagnose as with_diagnosis
from ...runners.runner import Answer, NoAnswer, Runner
from .same_failure import FailureKind
from .smaller import size

DRAWS = 8
"""How many draws of a structure are put in, where it is small: calls are cheap, and builds are not."""
_MOST_NUMBERS = 1 << 16
"""How many numbers those draws may hold together."""


@dataclass(frozen=True)
class Budget:
    """The most that shrinking may cost: programs built (which a compiling framework makes dear), calls of them, and,
    should an adapter be slow, seconds. Builds and calls are counted, so that where they are what ends it the result is
    the same every time; the seconds are a last resort, long enough not to be met.
    """

    builds: int = 160
    calls: int = 6000
    seconds: float = 300.0


BUDGET = Budget()
"""What shrinking costs at most where nothing else is asked for."""


class Spent(Exception):
    """The budget is used up; the message says what of it."""


class Meter:
    """Runs that count what is asked of them, and end with Spent before it is more than a budget allows."""

    def __init__(self, runs: Runner, budget: Budget) -> None:
        self._runs, self._budget = runs, budget
        self._end = time.monotonic() + budget.seconds
        self._standing: Structure | None = None
        self.builds, self.calls = 0, 0
        self.spared = Budget(0, 0)
        """What of the budget is kept for later."""
        self.keeps = False
        """Whether the program that stands is used again instead of another being built of the same structure."""

    def describe(self) -> Description:
        """As `Runner.describe`."""
        return self._runs.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `Runner.build`."""
        plain = layout is None and not beside
        if self.keeps and plain and structure == self._standing:
            return
        self._require(self.builds < self._budget.builds - self.spared.builds, f"{self._budget.builds} builds")
        self.builds, self._standing = self.builds + 1, None
        self._runs.build(structure, layout, beside)
        self._standing = structure if plain else None

    def recall(self, number: int) -> None:
        """As `Runner.recall`."""
        self._runs.recall(number)

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        self._require(self.calls < self._budget.calls - self.spared.calls, f"{self._budget.calls} calls")
        self.calls += 1
        try:
            return self._runs.call(regime, parameters, x, y)
        except NoAnswer:
            self._standing = None
            raise

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        return self._runs.changed_since()

    def _require(self, is_left: bool, what: str) -> None:
        if not is_left:
            raise Spent(what)
        if time.monotonic() > self._end:
            raise Spent(f"{self._budget.seconds:g} seconds")


@dataclass(frozen=True)
class Found:
    """A structure that fails: the draws that are put in one after another, their numbers as a stack, and which of them
    fails, with its failure. `is_plain` says that this one's numbers are those of its case id.
    """

    structure: Structure
    draws: tuple[int, ...]
    stack: Draw
    at: int
    verdict: Verdict
    is_plain: bool = True

    @property
    def one(self) -> Draw:
        """The numbers that fail."""
        return self.stack[self.at]


class Tries:
    """Puts structures to an adapter. `like` is what they should fail like; where it is None any failure will do."""

    def __init__(
        self, case: Case, meter: Meter, expectation_for: ExpectationFor, progress: Callable[[str], object] | None = None
    ) -> None:
        self._case, self._excuse, self._progress = case, expectation_for, progress
        self.meter, self.regime = meter, case.regime
        self.kind: FailureKind | None = None
        self.calls_in_a_row = 1
        """How many calls in a row it takes: 1 for most, more for what an adapter remembers."""
        self.count = 0

    def of(self, structure: Structure, own: Draw | None = None) -> Found | None:
        """How a structure fails with a few draws of its own, and after them with the numbers given."""
        count = max(self.calls_in_a_row, min(DRAWS, _MOST_NUMBERS // size(structure))) if self.regime != "layout" else 1
        draws = tuple(range(max(count, 1)))
        stack = make_draws(self._group(structure, draws).cases)
        if own is not None:
            stack = stacked([*(stack[i] for i in draws), own])
            draws = (*draws, len(draws))
        found = self.given(structure, draws, stack)
        is_own = found is not None and own is not None and found.at == len(draws) - 1
        return found if found is None or not is_own else replace(found, is_plain=False)

    def given(
        self, structure: Structure, draws: Sequence[int], stack: Draw | None = None, diagnose: bool = False
    ) -> Found | None:
        """How a structure fails with these numbers, by default those of the draws: the first of them that does. Raises
        NoAnswer where it is not supported and any failure would do.
        """
        group = self._group(structure, tuple(draws))
        stack = make_draws(group.cases) if stack is None else stack
        self.count += 1
        failures = [failure_of(verdicts) for verdicts in self._verdicts(group, stack, diagnose)]
        at = next((i for i, failure in enumerate(failures) if self._is_due(failure)), None)
        if self._progress is not None:
            self._progress(f"{group.id}: {'does not fail so' if at is None else 'fails in the same way'}")
        failure = None if at is None else failures[at]
        return None if at is None or failure is None else Found(structure, group.draws, stack, at, failure)

    def _is_due(self, failure: Verdict | None) -> bool:
        return failure is not None if self.kind is None else self.kind.matches(failure)

    def _verdicts(self, group: Group, stack: Draw, diagnose: bool) -> list[list[Verdict]]:
        examination = examine(group, self.meter, self._excuse, draws=stack)
        verdicts = with_diagnosis(group, examination, self._excuse) if diagnose else examination.verdicts
        if self.kind is None and verdicts[0][0].grade == "unsupported":
            raise NoAnswer("unsupported", verdicts[0][0].message)
        return verdicts

    def _group(self, structure: Structure, draws: tuple[int, ...]) -> Group:
        return Group(structure, self.regime, self._case.seed, draws)
