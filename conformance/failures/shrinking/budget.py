"""What shrinking may cost, and a runner that keeps to it."""

import time
from dataclasses import dataclass

from ....reference import Array, Parameters, Structure
from ...cases.description import Description
from ...runners.runner import Answer, NoAnswer, Runner


@dataclass(frozen=True)
class Budget:
    """The most that shrinking may cost: programs built, calls of them, and seconds.

    Builds are what a compiling framework spends its time on. Builds and calls are counted, so the result is the same
    every time when one of them ends the search. The seconds are a last resort for a slow adapter, and rarely reached.
    """

    builds: int = 160
    calls: int = 6000
    seconds: float = 300.0


DEFAULT_BUDGET = Budget()


class BudgetSpent(Exception):
    """The budget is used up; the message is the limit that was reached, such as "160 builds"."""


class BudgetedRunner:
    """A runner that counts builds and calls, and raises BudgetSpent instead of exceeding its budget.

    `reserve` is the part of the budget that is kept back for later. With `reuses_program`, building the structure that
    is built already does nothing, so that calls go on with the same program.
    """

    def __init__(self, runner: Runner, budget: Budget) -> None:
        self._runner, self._budget = runner, budget
        self._end = time.monotonic() + budget.seconds
        self._built: Structure | None = None
        self.builds, self.calls = 0, 0
        self.reserve = Budget(0, 0)
        self.reuses_program = False

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

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        return self._runner.changed_since()

    def _require(self, is_left: bool, limit: str) -> None:
        if not is_left:
            raise BudgetSpent(limit)
        if time.monotonic() > self._end:
            raise BudgetSpent(f"{self._budget.seconds:g} seconds")
