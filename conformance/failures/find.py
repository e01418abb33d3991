"""Find the failing call of a case: which call it is, its numbers and results, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import replace

from ..cases.case import Case, Group
from ..cases.draw import make_draws
from ..cases.regimes import Draw
from ..checks.calls import Call
from ..checks.examine import examine
from ..checks.findings import ExpectationFor
from ..checks.verdict import NOTHING_EXPECTED, Verdict, failure_of, quantity_of
from ..diagnosis.diagnose import diagnose
from ..runners.runner import NoAnswer, Runner
from .scripts.failure import Failure, Kind

_CONTRACT_KINDS: Mapping[str, Kind] = {
    "same call twice": "repeat",
    "earlier observation": "overwritten",
    "twins": "programs",
}


def draw_calls(case: Case) -> Draw:
    """The numbers of a case and those of the next draw, as a stack of two. Only a call with other numbers shows whether
    the results of the first call are overwritten.
    """
    return make_draws([case, replace(case, draw=case.draw + 1)])


def find_failure(
    case: Case, calls: Draw, runner: Runner, at: int = 0, expectation_for: ExpectationFor = NOTHING_EXPECTED
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
    kind, described = _kind_of(verdict, call), runner.describe()
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
        described.conventions,
        arithmetic=described.arithmetic_in(case.structure.dtype),
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
