"""What makes trials of many mutants cheap: a cache of a framework's answers, and runners that record what they answer.

All mutants of an adapter start from the same answers of its framework. `AnswerCache` asks the framework once for each;
`RecordedRunner` keeps a mutant's answers, so that they can be judged a second time, for example without z, x and k
(`hide_intermediates`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from ....adapters import Adapter, Observation, Program
from ....adapters.quantities import arrays
from ....reference import Array, Parameters, Structure
from ....reference.rounding import Conventions
from ....reference.steps import Work
from ...cases.description import Description
from ...mutants import Mutant, PlantedAdapter, plant_mutant
from ...mutants.mutant import Make
from ...mutants.planted import pass_of_rule, planting
from ...runners.runner import Answer, NoAnswer, Runner, Turn, call_in_turn, detached


class AnswerCache:
    """What a framework answered to the calls of a group, and the rule's pass through each of them, whichever mutant
    makes the call.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._programs: dict[tuple, Program] = {}
        self._answers: dict[tuple, Observation] = {}
        self._passes: dict[tuple, tuple[Observation, Work]] = {}

    def clear(self) -> None:
        """Forget everything, at the end of a group."""
        for known in (self._programs, self._answers, self._passes):
            known.clear()

    def wrap(self, make: Make) -> Make:
        """Wrap an adapter's function that makes programs: each program is made once, and called once for each set of
        arguments. Arrays that hold the same numbers in another memory layout are other arguments.
        """
        number = next(self._numbers)  # another layout of the weights is another way to make programs

        def make_cached(structure: Structure) -> Program:
            key = number, structure
            if key not in self._programs:
                self._programs[key] = make(structure)
            program = self._programs[key]

            def cached(parameters: Parameters, x: Array, y: Array) -> Observation:
                arguments = *key, _contents(parameters, x, y)
                if arguments not in self._answers:
                    self._answers[arguments] = detached(program(parameters, x, y))
                return self._answers[arguments]

            return cached

        return make_cached

    def compute_pass(
        self,
        conventions: Conventions,
        structure: Structure,
        parameters: Parameters,
        x: Array,
        y: Array,
        observed: Observation,
    ) -> Work:
        """`mutants.planted.pass_of_rule`, computed once for each answer."""
        arguments = structure, _contents(parameters, x, y), id(observed)
        if arguments not in self._passes:
            # The observation is kept with its pass: as long as it lives, no other object can have its id.
            self._passes[arguments] = observed, pass_of_rule(conventions, structure, parameters, x, y, observed)
        return self._passes[arguments][1]

    def wrap_adapter(self, adapter: Adapter) -> PlantedAdapter:
        """The adapter with all its programs cached."""
        return plant_mutant(adapter, Mutant("cached", "", "", "", wraps=self.wrap))

    def plant_mutant(self, adapter: Adapter, mutant: Mutant) -> PlantedAdapter:
        """`mutants.plant_mutant`, with the rule's pass computed once for all mutants."""
        if not mutant.changes:
            return plant_mutant(adapter, mutant)
        right_of = partial(self.compute_pass, adapter.slopes_at_kinks)
        return plant_mutant(adapter, replace(mutant, changes={}, wraps=planting(mutant, right_of)))


def _contents(parameters: Parameters, x: Array, y: Array) -> tuple:
    given = (*parameters.weights, *parameters.biases, x, y)
    return tuple((a.dtype, a.shape, a.strides, a.tobytes()) for a in given)


@dataclass(frozen=True)
class _Entry:
    """One request and its outcome: what the runner returned, or the NoAnswer that it raised."""

    request: tuple
    outcome: Any


class RecordedRunner:
    """A runner that records every request and its outcome, so that they can be replayed and compared."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self._entries = runner, list[_Entry]()
        self._ahead: Iterator[_Entry] = iter(())

    def replay(self) -> "RecordedRunner":
        """A runner that gives the recorded outcomes as long as it gets the same requests in the same order. From the
        first other request on, it asks the underlying runner.
        """
        other = RecordedRunner(self._runner)
        other._ahead = iter(self._entries)
        return other

    def describe(self) -> Description:
        """As `Runner.describe`."""
        return self._runner.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `Runner.build`."""
        self._record(("build", structure, layout, beside), lambda: self._runner.build(structure, layout, beside))

    def recall(self, number: int) -> None:
        """As `Runner.recall`."""
        self._record(("recall", number), lambda: self._runner.recall(number))

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        request = "call", regime, _contents(parameters, x, y)
        return self._record(request, lambda: self._runner.call(regime, parameters, x, y))

    def changed_since(self) -> bool:
        """As `Runner.changed_since`."""
        return self._record(("changed_since",), self._runner.changed_since)

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `Runner.call_in_turn`, every call recorded."""
        return call_in_turn(self.call, regime, turn, count)

    def _record(self, request: tuple, ask: Any) -> Any:
        entry = next(self._ahead, None)
        if entry is None or entry.request != request:
            self._ahead = iter(())
            try:
                entry = _Entry(request, ask())
            except NoAnswer as no:
                entry = _Entry(request, no)
        self._entries.append(entry)
        if isinstance(entry.outcome, NoAnswer):
            raise entry.outcome
        return entry.outcome

    @property
    def calls(self) -> int:
        """How often a program was called."""
        return sum(entry.request[0] == "call" for entry in self._entries)

    def equals(self, other: "RecordedRunner") -> bool:
        """Whether both got the same requests, and gave the same outcomes bit for bit."""
        mine, others = self._entries, other._entries
        return len(mine) == len(others) and all(
            a.request == b.request and _bits(a.outcome) == _bits(b.outcome) for a, b in zip(mine, others, strict=True)
        )


def _bits(outcome: Any) -> Any:
    if isinstance(outcome, NoAnswer):
        return outcome.kind, outcome.message
    if not isinstance(outcome, Answer):
        return outcome
    shown = {} if outcome.observation is None else arrays(outcome.observation)
    return outcome.all_problems, {name: (a.dtype, a.shape, a.tobytes()) for name, a in shown.items()}


class ChangesObservations:
    """A runner that changes the observations of another."""

    def __init__(self, runner: Runner, change: Callable[[Observation], Observation]) -> None:
        self._runner, self._change = runner, change
        self.describe, self.build, self.recall = runner.describe, runner.build, runner.recall
        self.changed_since = runner.changed_since

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `Runner.call`."""
        answer = self._runner.call(regime, parameters, x, y)
        return answer if answer.observation is None else replace(answer, observation=self._change(answer.observation))

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `Runner.call_in_turn`."""
        return call_in_turn(self.call, regime, turn, count)


def hide_intermediates(runner: Runner) -> ChangesObservations:
    """A runner that removes z, x and k from the observations of another."""
    return ChangesObservations(runner, lambda observed: replace(observed, z=None, x=None, k=None))
