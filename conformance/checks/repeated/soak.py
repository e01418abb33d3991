"""Soaking: hundreds of calls of one program with few numbers in turn; only the bits of their results are compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from ....adapters import Observation
from ...cases.case import Group
from ...cases.regimes import REGIMES, Draw
from ...runners.runner import Answer, Runner, Turn, differing

_CALLS_A_REQUEST = 50


@dataclass(frozen=True)
class Soaked:
    """The first call that did not give what an earlier call with the same numbers gave.

    `number` counts the calls of the program from 1, `total` is how many were due, and `first` is the number of the
    earlier call, which gave `expected`. `draw` is the index of both calls' `numbers` in the group, and `before` that of
    the call just before.
    """

    number: int
    total: int
    first: int
    draw: int
    before: int
    numbers: Draw
    expected: Observation
    answer: Answer
    names: tuple[str, ...]

    @property
    def message(self) -> str:
        """Which call differs, and in what."""
        if self.answer.observation is None:
            return f"call {self.number} of {self.total} gave {'; '.join(self.answer.problems)}"
        return (
            f"call {self.number} of {self.total} gave other bits in {', '.join(self.names)} than call {self.first} "
            "with the same numbers"
        )


def soak(group: Group, draws: Draw, observed: Mapping[int, Observation], runner: Runner) -> Soaked | None:
    """Call the current program until it was called as often as the regime says, and compare each answer with the first
    to the same numbers; the first call that differs ends it. None if none does.

    `observed` holds the observation of each answered draw. The program was called with every draw, and then with the
    first answered one again. Raises NoAnswer.
    """
    total, made, indices = REGIMES[group.regime].soak, len(draws.x) + 1, list(observed)
    # The first answered draw was called just now, so that the turn begins with the one after it.
    indices = indices[1:] + indices[:1]
    turn = [(one.parameters, one.x, one.y, observed[i]) for i, one in ((i, draws[i]) for i in indices)]
    done = 0
    while made + done < total:
        # A request of all calls could take so long that it counts as hung.
        count = min(_CALLS_A_REQUEST, total - made - done)
        found = runner.call_in_turn(group.regime, _turned(turn, done), count)
        if found is not None:
            number, answer = done + found[0], found[1]
            at, before = indices[number % len(indices)], indices[(number - 1) % len(indices)]
            names = () if answer.observation is None else tuple(differing(observed[at], answer.observation))
            return Soaked(made + number + 1, total, at + 1, at, before, draws[at], observed[at], answer, names)
        done += count
    return None


def _turned(turn: Turn, done: int) -> Turn:
    start = done % len(turn)
    return [*turn[start:], *turn[:start]]
