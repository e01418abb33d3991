"""Shrinking: from a failing case to the smallest that fails in the same way (`alike.FailureKind` says what that is).

First the structure: small ones from the smallest up, since most mistakes show in a network of one or two layers; where
none fails, the original cut down in one dimension after another. Then the numbers, on the program that stands. It is
code of its own because a general shrinker tries hundreds of structures, each of which a compiling framework compiles.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....reference import Structure
from ...cases.case import Case
from ...cases.regimes import REGIMES, Draw
from ...checks.findings import ExpectationFor
from ...checks.verdict import Verdict
from ...runners.runner import NoAnswer, Runner
from .narrowing import Narrowing
from .same_failure import FailureKind
from .simpler import simplified
from .tries import BUDGET, Budget, Found, Meter, Spent, Tries

_LONG = 64
"""How many calls in a row a case is given to fail that does not at once: a mistake made once in fifty calls shows."""
_MOST_TRIES = 400
"""How often simpler numbers are tried."""
_CONFIRMING = Budget(builds=10, calls=400)
"""What is kept of the budget to confirm what was found with programs of its own."""
_OF_PROGRAMS = ("same call twice", "earlier observation", "twins")
"""What the contract asks of programs, and not of a single call."""


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that fails in the same way.

    `stack` holds the numbers of all calls that it takes, in the structure's dtype: one, but for what an adapter
    remembers of others; `at` is the one that fails, and `verdict` its failure. `original` is that of the case that was
    shrunk, with what explains it. `case` is a case of that structure, with
    its numbers as drawn, that fails in the same way too: `kterm replay` shows it. It is None where it takes numbers of
    the original to fail.
    """

    structure: Structure
    regime: str
    stack: Draw
    at: int
    case: Case | None
    verdict: Verdict
    original: Verdict
    tries: int
    builds: int
    calls: int
    stopped: str

    @property
    def draw(self) -> Draw:
        """The numbers that fail, un-stacked."""
        return self.stack[self.at]

    @property
    def is_lone(self) -> bool:
        """Whether a single call fails."""
        return len(self.stack.x) == 1


def shrink(
    case: Case,
    runs: Runner,
    *,
    budget: Budget = BUDGET,
    expectation_for: ExpectationFor = lambda _: None,
    progress: Callable[[str], object] | None = None,
) -> Shrunk | None:
    """The smallest case that fails in the same way as this one; None where it does not fail.

    `excuse` gives the id of the expectation that excuses a finding: what is expected is shrunk too, but never to what
    is not, or the reverse. `progress` is called with a line for every structure tried. The result is a function of the
    case and of what the adapter answers: it is the same again from a new process, unless the budget's seconds end it.
    Raises NoAnswer where the adapter does not support the case, or the budget does not suffice to examine it.
    """
    shrinking = _Shrinking(case, Meter(runs, budget), budget, expectation_for, progress)
    try:
        failing = shrinking.failing()
    except Spent as spent:
        raise NoAnswer("raised", f"{spent} do not suffice to examine {case.id}; give more") from None
    return None if failing is None else shrinking.shrunk(failing)


class _Shrinking:
    """One case, and what came of it so far."""

    def __init__(
        self,
        case: Case,
        meter: Meter,
        budget: Budget,
        expectation_for: ExpectationFor,
        progress: Callable[[str], object] | None,
    ) -> None:
        self._case, self._meter = case, meter
        self._kept = Budget(min(_CONFIRMING.builds, budget.builds // 2), min(_CONFIRMING.calls, budget.calls // 2))
        self._tries = Tries(case, meter, expectation_for, progress)

    def failing(self) -> Found | None:
        """How the case itself fails: by a call of its own, or, where an adapter remembers, after others or among its
        twins; None where it does not.
        """
        for regime, draws in self._ways():
            self._tries.regime = regime
            found = self._tries.given(self._case.structure, draws, diagnose=True)
            if found is not None:
                self._tries.kind, self._tries.calls_in_a_row = FailureKind.of(found.verdict), len(draws)
                return found
        return None

    def _ways(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        regime, number = self._case.regime, self._case.draw
        yield regime, (number,)
        if regime == "layout":
            return
        yield regime, (0, number or 1)
        if number > 1:
            yield regime, tuple(range(number + 1))
        yield regime, tuple(range(max(_LONG, number + 1)))
        if not REGIMES[regime].twins:
            yield "twins", (number,)

    def shrunk(self, failing: Found) -> Shrunk:
        """All phases, as far as the budget goes."""
        narrowing = Narrowing(failing, self._tries)
        self._meter.spared = self._kept
        stopped = [_spent(narrowing.run)]
        self._meter.spared = Budget(self._kept.builds // 2, self._kept.calls // 2)
        best = plain = self._alone(narrowing.best)
        if self._tries.regime != "layout":
            best, ended = self._simpler(plain)
            stopped.append(ended)
        number = plain.draws[plain.at]
        return Shrunk(
            best.structure,
            self._tries.regime,
            best.stack,
            best.at,
            Case(plain.structure, self._tries.regime, self._case.seed, number) if plain.is_plain else None,
            best.verdict,
            failing.verdict,
            self._tries.count,
            self._meter.builds,
            self._meter.calls,
            "; ".join(filter(None, stopped)) or "nothing smaller fails in the same way",
        )

    def _alone(self, best: Found) -> Found:
        """As few calls in a row as it takes, by a program of their own."""
        at = best.at
        ways = dict.fromkeys(((at,), (0, at or 1), (max(at - 1, 0), at or 1), tuple(range(len(best.draws)))))
        for chosen in (way for way in ways if len(way) == 1 or max(way) < len(best.draws)):
            draws = [best.draws[i] for i in chosen]
            stack = best.stack[np.array(chosen)]
            try:
                found = self._tries.given(best.structure, draws, stack)
            except Spent:
                break
            if found is not None:
                return replace(found, is_plain=best.is_plain)
        return best

    def _simpler(self, plain: Found) -> tuple[Found, str]:
        """The same with simpler numbers, and what ended the search for them."""
        most, simplest = self._tries.count + _MOST_TRIES, plain.stack

        def fails(stack: Draw) -> bool:
            if self._tries.count >= most:
                raise Spent(f"{_MOST_TRIES} tries of simpler numbers")
            return self._tries.given(plain.structure, plain.draws, stack) is not None

        def search() -> None:
            nonlocal simplest
            if self._meter.keeps and not fails(plain.stack):
                self._meter.keeps = False
            for stack in simplified(plain.structure, self._tries.regime, plain.stack, fails):
                simplest = stack

        self._meter.keeps = plain.verdict.quantity not in _OF_PROGRAMS
        ended = _spent(search)
        self._meter.keeps, self._meter.spared = False, Budget(0, 0)
        try:
            found = self._tries.given(plain.structure, plain.draws, simplest)
        except Spent:
            found = None
        return (plain if found is None else found), ended


def _spent(phase: Callable[[], None]) -> str:
    """What of the budget a phase used up; empty where it came to its end."""
    try:
        phase()
    except Spent as spent:
        return f"{spent} were spent"
    return ""
