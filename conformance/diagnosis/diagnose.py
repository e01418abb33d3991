"""Diagnosis of an examined group: for each failing case, where the mistake begins and which known mistakes explain it.

It is a step after the checks. It reads what an examination keeps, asks the adapter nothing, and changes no grade.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ...reference import Array
from ..cases.case import Group
from ..cases.regimes import Draw, each
from ..checks.calls import Calls, JudgedCalls
from ..checks.compare import Comparison
from ..checks.examine import Examination
from ..checks.findings import is_expected_in
from ..checks.verdict import NOTHING_EXPECTED, ExpectationFor, Verdict, failure_of
from .explain import Question, explain
from .explanation import DiagnosedVerdict, Explanation, with_diagnosis
from .hypotheses import Earlier
from .locate import locate

IsExpected = Callable[[Comparison, int], bool]
"""Whether an expectation matches what call i of a comparison shows: it neither locates a mistake nor speaks against an
explanation.
"""


def diagnose(
    group: Group, examination: Examination, expectation_for: ExpectationFor = NOTHING_EXPECTED
) -> list[list[Verdict]]:
    """The verdicts of an examination, a list for each case, with a diagnosis on the failure of each failing call
    (`failure_of`).
    """
    is_expected = is_expected_in(group, expectation_for, examination.level)
    diagnosed: dict[Verdict, DiagnosedVerdict] = {}
    for judged in examination.judged:
        if judged.together is None:
            diagnosed |= _diagnose_each(judged, is_expected)
        else:
            diagnosed |= _diagnose_together(judged.calls, judged.together, is_expected)
    if not diagnosed:  # as in nearly every group; the lookup below hashes every verdict
        return examination.verdicts
    return [[diagnosed.get(verdict, verdict) for verdict in some] for some in examination.verdicts]


def _diagnose_each(judged: JudgedCalls, is_expected: IsExpected) -> dict[Verdict, DiagnosedVerdict]:
    """The failure of each call, with the diagnosis of what departs first."""
    first = {i: next((v for v in some if v.is_unexpected), None) for i, some in enumerate(judged.verdicts)}
    failing = {i: verdict for i, verdict in first.items() if verdict is not None}
    found = _diagnose_calls(judged.calls, {i: verdict.quantity for i, verdict in failing.items()}, is_expected)
    failures = {i: failure_of(judged.verdicts[i]) or first for i, first in failing.items()}
    return {failure: with_diagnosis(failure, *found[i]) for i, failure in failures.items()}


def _diagnose_together(calls: Calls, verdict: Verdict, is_expected: IsExpected) -> dict[Verdict, DiagnosedVerdict]:
    """A verdict about several calls, with the diagnosis of the first call after the first that departs by itself."""
    departing = (
        (i, one.quantity)
        for i in range(1, len(calls.observed))
        for one in calls.compared
        if not one.worst[i] <= 1 and not is_expected(one, i)
    )
    at, quantity = next(departing, (None, ""))
    if at is None:
        return {}
    return {verdict: with_diagnosis(verdict, *_diagnose_calls(calls, {at: quantity}, is_expected)[at])}


def _diagnose_calls(
    calls: Calls, failing: dict[int, str], is_expected: IsExpected
) -> dict[int, tuple[str, tuple[Explanation, ...]]]:
    """Origin and explanations for each failing call, given the quantity that departs first in it."""
    origins: dict[int, str] = {}
    by_quantity: dict[str, list[int]] = defaultdict(list)
    for i, quantity in failing.items():
        departs = {c.quantity: not c.worst[i] <= 1 and not is_expected(c, i) for c in calls.compared}
        place = locate(calls.structure.network, departs)
        origins[i] = "" if place is None else str(place)
        by_quantity[quantity].append(i)
    explanations: dict[int, tuple[Explanation, ...]] = {}
    known = {c.quantity for c in calls.compared}
    for quantity, some in by_quantity.items():
        if quantity in known:
            question = _question_about(calls, some, quantity, is_expected)
            explanations |= zip(some, explain(question), strict=True)
    return {i: (origins[i], explanations.get(i, ())) for i in failing}


def _question_about(calls: Calls, chosen: Sequence[int], first: str, is_expected: IsExpected) -> Question:
    expected = {c.quantity for c in calls.compared for i in chosen if not c.worst[i] <= 1 and is_expected(c, i)}
    before = [calls.before[i] for i in chosen]
    earlier = Earlier(
        _called(calls.history, before), _called(calls.history, [None if number is None else 0 for number in before])
    )
    return Question.about(calls, chosen, first, earlier, frozenset(expected))


def _called(history: Draw, numbers: Sequence[int | None]) -> Draw:
    """The numbers of earlier calls in float64, as a stack; NaN where there was none."""
    picked = history[np.array([number or 0 for number in numbers])]
    none = np.array([number is None for number in numbers])

    def blank(a: Array) -> Array:
        return np.where(none.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a.astype(np.float64))

    return Draw(each(picked.parameters, blank), blank(picked.x), blank(picked.y), picked.dead)
