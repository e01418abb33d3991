"""Failures: the call of a case that fails, and what is wrong with it. A script is written from this."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, Structure
from ....reference.rounding import Conventions
from ...cases.case import Case, Group
from ...cases.draw import make_draws
from ...cases.regimes import Draw
from ...checks.calls import Call
from ...checks.examine import examine
from ...checks.findings import ExpectationFor
from ...checks.verdict import Verdict, failure_of, quantity_of
from ...diagnosis.diagnose import diagnose
from ...runners.runner import NoAnswer, Runner

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

_CONTRACT_KINDS: Mapping[str, Kind] = {
    "same call twice": "repeat",
    "earlier observation": "overwritten",
    "twins": "programs",
}


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


def draw_calls(case: Case) -> Draw:
    """The numbers of a case and those of the next draw, as a stack of two. Only a call with other numbers shows whether
    the results of the first call are overwritten.
    """
    return make_draws([case, replace(case, draw=case.draw + 1)])


def find_failure(
    case: Case, calls: Draw, runner: Runner, at: int = 0, expectation_for: ExpectationFor = lambda _: None
) -> tuple[Failure, Verdict] | None:
    """The failing call of a case and its verdict (`failure_of`), or None if it does not fail.

    The structure is called with the draws of the stack `calls`, one after another; the draw at index `at` is the
    case's. Raises NoAnswer if the adapter does not support the structure.
    """
    group = Group(case.structure, case.regime, case.seed, tuple(range(case.draw, case.draw + len(calls.x))))
    examination = examine(group, runner, expectation_for, draws=calls)
    verdicts = diagnose(group, examination, expectation_for)[at]
    unsupported = next((verdict for verdict in verdicts if verdict.grade == "unsupported"), None)
    if unsupported is not None:
        raise NoAnswer("unsupported", unsupported.message)
    verdict = failure_of(verdicts)
    if verdict is None:
        return None
    if verdict.check == "layout":
        call, parts = Call(calls[at], None), ()
    else:
        call, *parts = examination.failing_calls(at, verdict)
    kind = _kind_of(verdict, call)
    failure = Failure(
        kind,
        case.structure,
        case.regime,
        call.draw,
        call.observation,
        verdict.quantity if kind in ("numbers", "sum") else "",
        verdict.message,
        case.id,
        tuple(part.draw for part in parts),
        runner.describe().conventions,
    )
    return failure, verdict


def _kind_of(verdict: Verdict, call: Call) -> Kind:
    if verdict.check == "layout":
        return "layout"
    if verdict.grade == "errored":
        return "raised"
    if verdict.check == "batch":
        return "sum"
    if quantity_of(verdict.quantity)[0] is not None:
        return "numbers"
    if verdict.quantity in _CONTRACT_KINDS:
        return _CONTRACT_KINDS[verdict.quantity]
    # What is left is about the results of a call: if their form is wrong, there is no observation.
    return "form" if call.observation is None else "inputs"
