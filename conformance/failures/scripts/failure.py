"""Failures: the call of a case that fails, and what is wrong with it. A script is written from this."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, Parameters, Structure
from ....reference.rounding import Conventions
from ...cases.case import Case, Group
from ...cases.draw import draw
from ...cases.plan import Description
from ...cases.regimes import Draw
from ...checks.examine import examine
from ...checks.findings import ExpectationFor
from ...checks.layout_probe import probe
from ...checks.verdict import Verdict, failure_of, quantity_of
from ...runners.runner import Answer, NoAnswer, Runner

Kind = Literal["numbers", "sum", "repeat", "overwritten", "inputs", "form", "raised", "programs", "layout"]
"""What is wrong:

- numbers: a quantity departs from the rule;
- sum: the gradients of the parts of a batch do not add up to the gradient of the batch;
- repeat: the same call gives other bits when it is repeated;
- overwritten: a later call changes arrays that an earlier call returned;
- inputs: a call modifies its inputs;
- form: an array has the wrong shape or dtype;
- raised: the program raises, hangs or dies;
- programs: programs of several structures influence each other;
- layout: the weights are laid out otherwise than declared.
"""

_CONTRACT_KINDS: Mapping[str, Kind] = {"earlier observation": "overwritten", "twins": "programs"}


@dataclass(frozen=True)
class PlantedMistake:
    """A mistake that was planted in a framework's results on purpose.

    `text` completes "the rule with ...". `addends` are what the mistake adds to each quantity that it changes, by name,
    as float64 arrays; inputs have the names x_0, y, W_1, b_1.
    """

    text: str
    addends: Mapping[str, Array]


def compute_addends(text: str, right: Observation, wrong: Observation) -> PlantedMistake:
    """The planted mistake, given a call's results without it and with it."""
    pairs = {name: (a.astype(np.float64), arrays(wrong)[name].astype(np.float64)) for name, a in arrays(right).items()}
    with np.errstate(invalid="ignore"):
        return PlantedMistake(text, {name: b - a for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()})


@dataclass(frozen=True)
class Failure:
    """One call that fails.

    `draw` holds its numbers (a single draw, in the structure's dtype), and `observation` its results, None if it
    returned none. `quantity` is the quantity that departs, empty for kinds other than "numbers" and "sum"; `message` is
    what the verdict says in words. `case` is the id of the case that the numbers come from. `parts` are the numbers of
    the two calls for the parts of the batch, in the kind "sum".
    """

    kind: Kind
    structure: Structure
    regime: str
    draw: Draw
    observation: Observation | None
    quantity: str = ""
    message: str = ""
    case: str = ""
    parts: tuple[Draw, ...] = ()
    conventions: Conventions = field(default_factory=dict)
    planted: PlantedMistake | None = None


@dataclass(frozen=True)
class _Call:
    structure: Structure
    draw: Draw
    observation: Observation | None


class _Recorder:
    """Runs that remember what was put in and what came out."""

    def __init__(self, runs: Runner, dead: Array) -> None:
        self._runs, self._dead = runs, dead
        self._built: list[Structure] = []
        self._current: Structure | None = None
        self.calls: list[_Call] = []

    def describe(self) -> Description:
        return self._runs.describe()

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        self._built = [*self._built, structure] if beside else [structure]
        self._current = structure
        self._runs.build(structure, layout, beside)

    def recall(self, number: int) -> None:
        self._current = self._built[number]
        self._runs.recall(number)

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        assert self._current is not None
        one = Draw(parameters, x, y, self._dead)
        try:
            answer = self._runs.call(regime, parameters, x, y)
        except NoAnswer:
            self.calls.append(_Call(self._current, one, None))
            raise
        self.calls.append(_Call(self._current, one, answer.observation))
        return answer

    def changed_since(self) -> bool:
        return self._runs.changed_since()


def draw_calls(case: Case) -> Draw:
    """The numbers of a case and those of the next draw, as a stack of two. Only a call with other numbers shows whether
    the results of the first call are overwritten.
    """
    return draw([case, replace(case, draw=case.draw + 1)])


def find_failure(
    case: Case, calls: Draw, runs: Runner, at: int = 0, expectation_for: ExpectationFor = lambda _: None
) -> tuple[Failure, Verdict] | None:
    """The failing call of a case and its verdict (`failure_of`), or None if it does not fail.

    The structure is called with the draws of the stack `calls`, one after another; the draw at index `at` is the
    case's. Raises NoAnswer if the adapter does not support the structure.
    """
    recorder = _Recorder(runs, calls.dead[at])
    group = Group(case.structure, case.regime, case.seed, tuple(range(case.draw, case.draw + len(calls.x))))
    is_probe = case.regime == "layout"
    verdicts = (probe(group, recorder) if is_probe else examine(group, recorder, expectation_for, drawn=calls))[at]
    for verdict in verdicts:
        if verdict.grade == "unsupported":
            raise NoAnswer("unsupported", verdict.message)
    first = failure_of(verdicts)
    if first is None:
        return None
    own = [call for call in recorder.calls if call.structure == case.structure]
    own = own or [_Call(case.structure, calls[at], None)]
    conventions = runs.describe().conventions
    kind, call, parts = _kind(first, own[min(at, len(own) - 1)], own[len(calls.x) :])
    quantity = first.quantity.rpartition(": ")[2] if kind in ("numbers", "sum") else ""
    return (
        Failure(
            kind, case.structure, case.regime, call.draw, call.observation, quantity, first.message, case.id, parts,
            conventions,
        ),
        first,
    )  # fmt: skip


def _kind(first: Verdict, call: _Call, later: list[_Call]) -> tuple[Kind, _Call, tuple[Draw, ...]]:
    """What is wrong, in which call, and the further calls that show it: the case's own, or one of those that came
    after all cases.
    """
    if first.check == "layout":
        return "layout", call, ()
    if first.grade == "errored":
        return "raised", call if first.quantity == "program" and first.check == "contract" else [call, *later][-1], ()
    if first.check == "batch":
        return "sum", call, tuple(other.draw for other in later[-2:])
    if first.check == "descent":
        # The calls of the descent are those with other weights than the first, in the order of its steps.
        step, start = int(first.quantity.removeprefix("step ").partition(":")[0]), call.draw.parameters.weights
        steps = [o for o in later if not all(map(np.array_equal, o.draw.parameters.weights, start))]
        return "numbers", steps[step - 1], ()
    if quantity_of(first.quantity)[0] is not None:
        return "numbers", call, ()
    if first.quantity == "same call twice":
        return "repeat", [call, *later][-1], ()
    if first.quantity in _CONTRACT_KINDS:
        return _CONTRACT_KINDS[first.quantity], call, ()
    return ("form" if call.observation is None else "inputs"), call, ()
