"""Soaking: hundreds of calls of one program with few numbers in turn. The bits of their results are compared, and where
they differ, the numbers with the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ....adapters import Observation
from ...cases.case import Case, Group
from ...cases.regimes import REGIMES, Draw
from ...runners.runner import Answer, NoAnswer, Runner, Turn, differing
from ..verdict import SOAK, Grade, Verdict
from .again import RepeatJudge, describe_departure, grade_of, judge_other_bits

_CALLS_A_REQUEST = 50
_JUDGED_TOGETHER = 50


@dataclass(frozen=True)
class Soaked:
    """A call that did not give what an earlier call with the same numbers gave: the first one that is wrong by itself,
    or else the first one.

    `number` counts the calls of the program from 1, `total` is how many were due, and `first` is the number of the
    earlier call, which gave `expected`. `draw` is the index of both calls' `numbers` in the group, and `before` that of
    the call just before. `departure` is what the answer has wrong by itself, if anything. `is_unsteady` says that the
    same call, made once more, gave other bits than both.
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
    departure: Verdict | None = None
    is_unsteady: bool = False

    @property
    def grade(self) -> Grade:
        """Whether the answer is also wrong by itself."""
        return grade_of(self.answer, self.departure)

    def judge(self, case: str) -> Verdict:
        """The verdict, on a case: which call differs, and in what. If every repetition differs, the number of the call
        says nothing, and it is a finding about the same call made again.
        """
        if self.is_unsteady:
            return judge_other_bits(case, self.answer, self.names, self.departure)
        return Verdict(case, "contract", SOAK, self.grade, message=self._message)

    @property
    def _message(self) -> str:
        if self.answer.observation is None:
            return f"call {self.number} of {self.total} gave {'; '.join(self.answer.problems)}"
        return (
            f"call {self.number} of {self.total} gave other bits in {', '.join(self.names)} than call {self.first} "
            f"with the same numbers{describe_departure(self.departure)}"
        )


def soak(
    group: Group, draws: Draw, observed: Mapping[int, Observation], runner: Runner, judge: RepeatJudge
) -> Soaked | None:
    """Call the current program until it was called as often as the regime says, and compare each answer with the first
    to the same numbers. The first call that differs and is wrong by itself ends it. One that is right by itself does
    not: a framework may sum in another order in each call, and still be wrong in one call of hundreds. None if no call
    differs.

    `observed` holds the observation of each answered draw. The program was called with every draw, and then with the
    first answered one again. Raises NoAnswer.
    """
    total, made, indices, cases = REGIMES[group.regime].soak, len(draws.x) + 1, list(observed), group.cases
    # The first answered draw was called just now, so that the turn begins with the one after it.
    indices = indices[1:] + indices[:1]
    turn = [(one.parameters, one.x, one.y, observed[i]) for i, one in ((i, draws[i]) for i in indices)]
    done, found = 0, list[Soaked]()

    def judge_new(some: list[Soaked]) -> list[Soaked]:
        departures = judge.find_departures(
            [cases[one.draw] for one in some], [one.numbers for one in some], [one.answer for one in some]
        )
        return [replace(one, departure=departure) for one, departure in zip(some, departures, strict=True)]

    kept: Soaked | None = None
    while made + done < total:
        # A request of all calls could take so long that it counts as hung.
        count = min(_CALLS_A_REQUEST, total - made - done)
        differs = runner.call_in_turn(group.regime, _turned(turn, done), count)
        done += count if differs is None else differs[0] + 1
        if differs is not None:
            number, answer = done - 1, differs[1]
            at, before = indices[number % len(indices)], indices[(number - 1) % len(indices)]
            names = () if answer.observation is None else tuple(differing(observed[at], answer.observation))
            calls = made + number + 1, total, at + 1, at, before
            found.append(Soaked(*calls, draws[at], observed[at], answer, names))
        # The first is judged at once, since it mostly ends it, and the others together, since that is faster.
        if found and (kept is None or len(found) == _JUDGED_TOGETHER or made + done >= total):
            judged, found = judge_new(found), []
            wrong = next((one for one in judged if one.grade == "wrong"), None)
            if wrong is not None:
                return replace(wrong, is_unsteady=_is_unsteady(wrong, cases[wrong.draw], runner, judge))
            kept = kept or judged[0]
    return kept and replace(kept, is_unsteady=_is_unsteady(kept, cases[kept.draw], runner, judge))


def _is_unsteady(one: Soaked, case: Case, runner: Runner, judge: RepeatJudge) -> bool:
    """Whether the same call, made once more, gives neither the earlier bits nor those that differ from them; of a wrong
    answer, whether it then gives another wrong one.
    """
    numbers, seen = one.numbers, one.answer.observation
    try:
        answer = runner.call(case.regime, numbers.parameters, numbers.x, numbers.y)
    except NoAnswer as no:
        if no.lost:
            # As after any lost process, so that the structure has a program again.
            runner.build(case.structure)
        return False
    again = answer.observation
    if again is None or seen is None or not differing(seen, again) or not differing(one.expected, again):
        return False
    return one.departure is None or judge.find_departure(case, numbers, answer) is not None


def _turned(turn: Turn, done: int) -> Turn:
    start = done % len(turn)
    return [*turn[start:], *turn[:start]]
