"""Failures: what a case that fails put in, what came out, and what is wrong with it: all that a script of it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, Parameters, Structure
from ....reference.rounding import Conventions
from ...cases.case import Case, Group
from ...cases.draw import make_draws
from ...cases.plan import Description
from ...cases.regimes import Draw
from ...checks.examine import examine
from ...checks.findings import ExpectationFor
from ...checks.verdict import Verdict, failure_of, quantity_of
from ...diagnosis.diagnose import diagnose
from ...runners.runner import Answer, NoAnswer, Runner

Kind = Literal["numbers", "sum", "again", "overwritten", "inputs", "form", "raised", "programs", "layout"]
"""What is wrong: a quantity departs; gradients of two parts of a batch do not add up to those of the whole; the same
call gives other bits; an earlier answer is overwritten; inputs are modified; an array has the wrong form; the program
raises, hangs or dies; programs of several structures get in each other's way; weights are laid out otherwise than
declared.
"""

_OF_CONTRACT: Mapping[str, Kind] = {
    "earlier observation": "overwritten",
    "twins": "programs",
}


@dataclass(frozen=True)
class Planted:
    """A mistake that was put on a framework's answer on purpose: it completes "the rule with ...", and this is what it
    adds to each quantity that it changes, by name; to inputs by the names x_0, y, W_1, b_1.
    """

    mistake: str
    addends: Mapping[str, Array]


def planted(mistake: str, right: Observation, wrong: Observation) -> Planted:
    """The mistake that makes the second of two answers to the same call of the first."""
    pairs = {name: (a.astype(np.float64), arrays(wrong)[name].astype(np.float64)) for name, a in arrays(right).items()}
    with np.errstate(invalid="ignore"):
        return Planted(mistake, {name: b - a for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()})


@dataclass(frozen=True)
class Failure:
    """One call that fails: its structure and numbers (`draw`, a single one), the answer where there is one, what is
    wrong, the quantity that shows it where one does, and what a verdict said of it.

    `parts` are the numbers of further calls, in the kind "sum". `case` is where the numbers are from, for people.
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
    planted: Planted | None = None


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


def calls_of(case: Case) -> Draw:
    """The numbers of a case, and those of the next draw: whether an earlier answer is overwritten shows after a call
    with other numbers.
    """
    return make_draws([case, replace(case, draw=case.draw + 1)])


def find(
    case: Case, calls: Draw, runs: Runner, at: int = 0, expectation_for: ExpectationFor = lambda _: None
) -> tuple[Failure, Verdict] | None:
    """How a case fails among the calls of a stack, of which it is number `at`, and its failure (`failure_of`); None
    where it does not fail. Raises NoAnswer where the adapter does not support it.
    """
    recorder = _Recorder(runs, calls.dead[at])
    group = Group(case.structure, case.regime, case.seed, tuple(range(case.draw, case.draw + len(calls.x))))
    examination = examine(group, recorder, expectation_for, draws=calls)
    verdicts = diagnose(group, examination, expectation_for)[at]
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
    quantity = first.quantity if kind in ("numbers", "sum") else ""
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
        step, start = first.step or 1, call.draw.parameters.weights
        steps = [o for o in later if not all(map(np.array_equal, o.draw.parameters.weights, start))]
        return "numbers", steps[step - 1], ()
    if quantity_of(first.quantity)[0] is not None:
        return "numbers", call, ()
    if first.quantity == "same call twice":
        return "again", [call, *later][-1], ()
    if first.quantity in _OF_CONTRACT:
        return _OF_CONTRACT[first.quantity], call, ()
    return ("form" if call.observation is None else "inputs"), call, ()
