"""Recording what is asked of an adapter, so that the calls before a failure are known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....reference import Array, Parameters, Structure
from ...cases.description import Description
from ...cases.regimes import Draw
from ...checks.findings import ExpectationFor
from ...runners.runner import Answer, NoAnswer, Runner, Turn, call_in_turn, differing
from .history import History, Step, same_numbers
from .playing import judge_answer


@dataclass(frozen=True)
class Event:
    """A step, what it returned, and whether the first results of its program were seen to have changed after it."""

    step: Step
    answer: Answer | NoAnswer | None = None
    is_overwritten: bool = False


class RecordingRunner:
    """A runner that records the programs that are built and the calls that are made since its last start."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.programs: list[Structure] = []
        self.events: list[Event] = []
        self.regime = "normal"
        self._numbers: list[int] = []
        self._current = 0
        self._lost = False

    def describe(self) -> Description:
        """As `Runner.describe`."""
        return self._runner.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `Runner.build`."""
        if self._lost:
            # What was built in the lost process does not matter to what follows.
            self.programs, self.events, self._lost = [], [], False
        self._runner.build(structure, layout, beside)
        if not beside:
            self._numbers = []
        self._current = len(self.programs)
        self._numbers.append(self._current)
        self.programs.append(structure)
        self.events.append(Event(Step(self._current)))

    def recall(self, number: int) -> None:
        """As `Runner.recall`."""
        self._runner.recall(number)
        self._current = self._numbers[number]

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        self.regime = regime
        step = Step(self._current, Draw(parameters, x, y, np.zeros((), bool)))
        try:
            answer = self._runner.call(regime, parameters, x, y)
        except NoAnswer as no:
            self.events.append(Event(step, no))
            self._lost = no.lost
            raise
        self.events.append(Event(step, answer))
        return answer

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `Runner.call_in_turn`; every call is recorded."""
        return call_in_turn(self.call, regime, turn, count)

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        changed = self._runner.changed_since()
        if changed:
            self.events.append(Event(Step(self._current), is_overwritten=True))
        return changed

    @property
    def calls(self) -> list[Event]:
        """The calls that were made."""
        return [event for event in self.events if event.step.draw is not None]

    def find_histories(self, expectation_for: ExpectationFor, expectation: str | None) -> Iterator[History]:
        """The histories of what failed, with findings that this expectation matches, or that none does.

        First comes that of the first call whose results are wrong by themselves, then that of the first call that gave
        other results than an earlier call with the same numbers, then that of the first call whose results were
        overwritten.
        """
        for found in (
            self._find_wrong(expectation_for, expectation),
            self._find_other(),
            self._find_overwritten(),
        ):
            if found is not None:
                yield found

    def _up_to(self, i: int) -> tuple[Step, ...]:
        return tuple(event.step for event in self.events[: i + 1] if not event.is_overwritten)

    def _index(self, i: int) -> int:
        """The index among the steps of the event at index i."""
        return len(self._up_to(i)) - 1

    def _find_wrong(self, expectation_for: ExpectationFor, expectation: str | None) -> History | None:
        judged: list[Event] = []
        for i, event in enumerate(self.events):
            if event.answer is None or any(_is_same_outcome(event, one) for one in judged):
                continue
            judged.append(event)
            structure = self.programs[event.step.program]
            verdict = judge_answer(structure, self.regime, event.step, event.answer, self.describe(), expectation_for)
            if verdict is not None and verdict.grade != "unsupported" and verdict.expectation == expectation:
                return History(tuple(self.programs), self._up_to(i), self.regime)
        return None

    def _find_other(self) -> History | None:
        firsts: list[tuple[int, Event, Answer]] = []
        for i, event in enumerate(self.events):
            if not isinstance(event.answer, Answer):
                continue
            first = next((one for one in firsts if _is_same_call(event.step, one[1].step)), None)
            if first is None:
                firsts.append((i, event, event.answer))
            elif _differs(first[2], event.answer):
                steps, reference = self._up_to(i), self._index(first[0])
                return History(tuple(self.programs), steps, self.regime, "repeat", reference)
        return None

    def _find_overwritten(self) -> History | None:
        for i, event in enumerate(self.events):
            if event.is_overwritten:
                of = event.step.program
                first = next(j for j, one in enumerate(self.events) if one.step.program == of and one.step.draw)
                last = max(j for j, one in enumerate(self.events[:i]) if one.step.draw is not None)
                if last > first:
                    return History(
                        tuple(self.programs), self._up_to(last), self.regime, "overwritten", self._index(first)
                    )
        return None


def _is_same_call(a: Step, b: Step) -> bool:
    return (
        a.program == b.program
        and a.draw is not None
        and b.draw is not None
        and (a.draw is b.draw or same_numbers(a.draw, b.draw))
    )


def _differs(first: Answer, later: Answer) -> bool:
    if first.observation is None or later.observation is None:
        return (first.observation is None) != (later.observation is None)
    return bool(differing(first.observation, later.observation))


def _is_same_outcome(a: Event, b: Event) -> bool:
    return (
        isinstance(a.answer, Answer)
        and isinstance(b.answer, Answer)
        and a.answer.all_problems == b.answer.all_problems
        and _is_same_call(a.step, b.step)
        and not _differs(a.answer, b.answer)
    )
