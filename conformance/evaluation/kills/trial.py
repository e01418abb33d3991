"""Trials: many mutants put on one framework, which is asked for each answer once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from ....adapters import Adapter, Observation, Program
from ....adapters.quantities import arrays
from ....reference import Array, Parameters, Structure
from ....reference.rounding import Conventions
from ....reference.steps import Work
from ...cases.plan import Description
from ...mutants import Mutant, PlantedAdapter, plant_mutant
from ...mutants.mutant import Make
from ...mutants.planted import pass_of_rule, planting
from ...runners.runner import Answer, NoAnswer, Runner, detached


class Memory:
    """What a framework answered to the calls of a group, and what is right of them, whichever mutant makes the call."""

    def __init__(self) -> None:
        self._numbers = count()
        self._programs: dict[tuple, Program] = {}
        self._answers: dict[tuple, Observation] = {}
        self._rights: dict[tuple, tuple[Observation, Work]] = {}

    def forget(self) -> None:
        """Give up what is known, at the end of a group."""
        for known in (self._programs, self._answers, self._rights):
            known.clear()

    def wrap(self, make: Make) -> Make:
        """An adapter's way to make programs, by which each is made once, and asked once for the same numbers in the
        same arrays.
        """
        number = next(self._numbers)  # another layout of the weights is another way to make programs

        def made(structure: Structure) -> Program:
            key = number, structure
            if key not in self._programs:
                self._programs[key] = make(structure)
            program = self._programs[key]

            def remembered(parameters: Parameters, x: Array, y: Array) -> Observation:
                asked = *key, _contents(parameters, x, y)
                if asked not in self._answers:
                    self._answers[asked] = detached(program(parameters, x, y))
                return self._answers[asked]

            return remembered

        return made

    def right(
        self,
        conventions: Conventions,
        structure: Structure,
        parameters: Parameters,
        x: Array,
        y: Array,
        observed: Observation,
    ) -> Work:
        """As `mutants.worn.rightly`, once for each answer."""
        asked = structure, _contents(parameters, x, y), id(observed)
        if asked not in self._rights:
            # Kept with what was observed, whose id no other can have as long as it lives.
            self._rights[asked] = observed, pass_of_rule(conventions, structure, parameters, x, y, observed)
        return self._rights[asked][1]

    def around(self, adapter: Adapter) -> PlantedAdapter:
        """The adapter, remembered."""
        return plant_mutant(adapter, Mutant("remembered", "", "", "", wraps=self.wrap))

    def plant_mutant(self, adapter: Adapter, mutant: Mutant) -> PlantedAdapter:
        """As `mutants.wear`, with what is right computed once for all mutants."""
        if not mutant.changes:
            return plant_mutant(adapter, mutant)
        right_of = partial(self.right, adapter.slopes_at_kinks)
        return plant_mutant(adapter, replace(mutant, changes={}, wraps=planting(mutant, right_of)))


def _contents(parameters: Parameters, x: Array, y: Array) -> tuple:
    given = (*parameters.weights, *parameters.biases, x, y)
    return tuple((a.dtype, a.shape, a.strides, a.tobytes()) for a in given)


@dataclass(frozen=True)
class _Entry:
    """What was asked, and what came of it."""

    asked: tuple
    outcome: Any


class Tape:
    """Runs, and all that was asked of them, so that it can be judged again and compared with others."""

    def __init__(self, runs: Runner) -> None:
        self._runs, self._entries = runs, list[_Entry]()
        self._ahead: Iterator[_Entry] = iter(())

    def again(self) -> "Tape":
        """From the beginning: what is asked again, in the same order, has the same outcome; what is asked in another
        way is asked of the runs.
        """
        other = Tape(self._runs)
        other._ahead = iter(self._entries)
        return other

    def describe(self) -> Description:
        """As `Runner.describe`."""
        return self._runs.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `Runner.build`."""
        self._kept(("build", structure, layout, beside), lambda: self._runs.build(structure, layout, beside))

    def recall(self, number: int) -> None:
        """As `Runner.recall`."""
        self._kept(("recall", number), lambda: self._runs.recall(number))

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        asked = "call", regime, _contents(parameters, x, y)
        return self._kept(asked, lambda: self._runs.call(regime, parameters, x, y))

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        return self._kept(("changed_since",), self._runs.changed_since)

    def _kept(self, asked: tuple, ask: Any) -> Any:
        entry = next(self._ahead, None)
        if entry is None or entry.asked != asked:
            self._ahead = iter(())
            try:
                entry = _Entry(asked, ask())
            except NoAnswer as no:
                entry = _Entry(asked, no)
        self._entries.append(entry)
        if isinstance(entry.outcome, NoAnswer):
            raise entry.outcome
        return entry.outcome

    @property
    def calls(self) -> int:
        """How often a program was called."""
        return sum(entry.asked[0] == "call" for entry in self._entries)

    def equals(self, other: "Tape") -> bool:
        """Whether the same was asked of both, and had the same outcome bit for bit."""
        mine, others = self._entries, other._entries
        return len(mine) == len(others) and all(
            a.asked == b.asked and _bits(a.outcome) == _bits(b.outcome) for a, b in zip(mine, others, strict=True)
        )


def _bits(outcome: Any) -> Any:
    if isinstance(outcome, NoAnswer):
        return outcome.kind, outcome.message
    if not isinstance(outcome, Answer):
        return outcome
    shown = {} if outcome.observation is None else arrays(outcome.observation)
    return outcome.problems, {name: (a.dtype, a.shape, a.tobytes()) for name, a in shown.items()}


class Silent:
    """Runs of an adapter that shows neither z, x nor k."""

    def __init__(self, runs: Runner) -> None:
        self._runs = runs
        self.describe, self.build, self.recall = runs.describe, runs.build, runs.recall
        self.changed_since = runs.changed_since

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        answer = self._runs.call(regime, parameters, x, y)
        if answer.observation is None:
            return answer
        return replace(answer, observation=replace(answer.observation, z=None, x=None, k=None))
