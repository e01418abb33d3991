"""Find the failing call of a case: which call it is, its numbers and results, and what is wrong with it."""

from collections.abc import Mapping

from ..cases.case import Case, Group
from ..cases.description import Description
from ..cases.regimes import Draw
from ..checks.comparison.calls import Call
from ..checks.examine import examine
from ..checks.findings import ExpectationFor
from ..checks.verdict import NOTHING_EXPECTED, Verdict, failure_of, quantity_of
from ..diagnosis.diagnose import diagnose
from ..runners.runner import NoAnswer, Runner
from .histories.playing import Played
from .scripts.failure import Failure, Kind

_CONTRACT_KINDS: Mapping[str, Kind] = {
    "same call twice": "repeat",
    "repeated calls": "repeat",
    "earlier observation": "overwritten",
    "twins": "programs",
    "dtype": "form",
}


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


def failure_of_history(played: Played, adapter: Description) -> Failure:
    """The failing call of a history that was played, with the calls before it if there are any."""
    history, verdict, observation = played.history, played.verdict, played.observation
    kind = _kind_of(verdict, Call(history.draw, observation))
    return Failure(
        kind,
        history.structure,
        history.regime,
        history.draw,
        observation,
        verdict.quantity if kind == "numbers" else "",
        verdict.message,
        verdict.case,
        conventions=adapter.conventions,
        arithmetic=adapter.arithmetic_in(history.structure.dtype),
        history=None if history.is_single_call else history,
    )


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
