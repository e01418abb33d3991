"""What shrinking may cost, and a runner that keeps to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ....reference import Array, Parameters, Structure
from ...cases.description import Description
from ...runners.runner import Answer, NoAnswer, Runner, Turn


@dataclass(frozen=True)
class Budget:
    """The most that shrinking may cost: programs built, calls of them, seconds, and starts of the adapter's process.

    Builds are what a compiling framework spends its time on. Builds, calls and starts are counted, so the result is the
    same every time when one of them ends the search. The seconds are a last resort for a slow adapter, and rarely
    reached. A process is started to see whether a failure depends on earlier calls. If it does, each trial of fewer
    calls starts one, unless it is enough to build the programs again.
    """

    builds: int = 160
    calls: int = 20_000
    seconds: float = 300.0
    starts: int = 60


DEFAULT_BUDGET = Budget()


class BudgetSpent(Exception):
    """The budget is used up; the message is the limit that was reached, such as "160 builds"."""


class BudgetedRunner:
    """A runner that counts builds and calls, and raises BudgetSpent instead of exceeding its budget.

    `reserve` is the part of the budget that is kept back for later. With `reuses_program`, building the structure that
    is built already does nothing, so that calls go on with the same program. With `skips_soak`, calls in turn are not
    made: what fails in a single call needs none. `start` makes the runner's next build start a new process; None if it
    cannot.
    """

    def __init__(self, runner: Runner, budget: Budget, start: Callable[[], object] | None = None) -> None:
        self._runner, self._budget, self._start = runner, budget, start
        self._end = time.monotonic() + budget.seconds
        self._built: Structure | None = None
        self.builds, self.calls, self.starts = 0, 0, 0
        self.reserve = Budget(0, 0, starts=0)
        self.reuses_program = False
        self.skips_soak = False

    @property
    def can_start(self) -> bool:
        """Whether a new process can be started."""
        return self._start is not None

    def start(self) -> None:
        """Have the next build start a new process, if the runner can. Raises BudgetSpent."""
        if self._start is None:
            return
        self._require(self.starts < self._budget.starts - self.reserve.starts, f"{self._budget.starts} starts")
        self.starts, self._built = self.starts + 1, None
        self._start()

    def describe(self) -> Description:
        """As `Runner.describe`."""
        return self._runner.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `Runner.build`; raises BudgetSpent as well."""
        is_only_program = layout is None and not beside
        if self.reuses_program and is_only_program and structure == self._built:
            return
        self._require(self.builds < self._budget.builds - self.reserve.builds, f"{self._budget.builds} builds")
        self.builds, self._built = self.builds + 1, None
        self._runner.build(structure, layout, beside)
        self._built = structure if is_only_program else None

    def recall(self, number: int) -> None:
        """As `Runner.recall`."""
        self._runner.recall(number)

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`; raises BudgetSpent as well."""
        self._require(self.calls < self._budget.calls - self.reserve.calls, f"{self._budget.calls} calls")
        self.calls += 1
        try:
            return self._runner.call(regime, parameters, x, y)
        except NoAnswer:
            self._built = None
            raise

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `Runner.call_in_turn`; raises BudgetSpent as well."""
        if self.skips_soak:
            return None
        self._require(self.calls + count <= self._budget.calls - self.reserve.calls, f"{self._budget.calls} calls")
        self.calls += count
        return self._runner.call_in_turn(regime, turn, count)

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        return self._runner.changed_since()

    def _require(self, is_left: bool, limit: str) -> None:
        if not is_left:
            raise BudgetSpent(limit)
        if time.monotonic() > self._end:
            raise BudgetSpent(f"{self._budget.seconds:g} seconds")
