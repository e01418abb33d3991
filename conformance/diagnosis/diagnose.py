"""Diagnosis of examined groups: where each failure begins, and the questions that a search for causes starts from.

It is a step after the checks. It reads what an examination keeps, asks the adapter nothing, and changes no grade.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...adapters.quantities import stack_arrays
from ..cases.case import Group
from ..checks.comparison.calls import Calls
from ..checks.comparison.compare import Comparison
from ..checks.examine import Examination
from ..checks.findings import is_expected_in
from ..checks.verdict import NOTHING_EXPECTED, ExpectationFor, Verdict, failure_of
from .evidence import compare
from .explanation import DiagnosedVerdict, Explanation, with_diagnosis
from .hypothesis import Hypothesis
from .locate import locate
from .question import Question, earlier_calls
from .search import explain_all

MOST_KEPT = 6
"""How many failing calls of one group with one first quantity are kept for the search for causes."""

IsExpected = Callable[[Comparison, int], bool]
"""Whether an expectation matches what call i of a comparison shows: it neither locates a mistake nor speaks against an
explanation.
"""


@dataclass(frozen=True)
class Located:
    """A group whose failures are located: the verdicts, a list for each case, with the origin on the failure of each
    failing call (`failure_of`); and questions about some of these calls.
    """

    verdicts: list[list[Verdict]]
    questions: tuple[Question, ...] = ()


def locate_failures(
    group: Group, examination: Examination, expectation_for: ExpectationFor = NOTHING_EXPECTED
) -> Located:
    """Where each failing call of a group begins to fail. It costs little; causes are looked for at the end of a run."""
    is_expected = is_expected_in(group, expectation_for, examination.level)
    located: dict[Verdict, DiagnosedVerdict] = {}
    questions: list[Question] = []
    for judged in examination.judged:
        if judged.together is None:
            first = {i: next((v for v in some if v.is_unexpected), None) for i, some in enumerate(judged.verdicts)}
            failing = {i: (v.case, v.quantity) for i, v in first.items() if v is not None}
            failures = {i: failure_of(judged.verdicts[i]) for i in failing}
            verdicts = {i: v for i, v in failures.items() if v is not None}
        else:
            verdicts, failing = _departing(judged.calls, judged.together, is_expected)
        if failing:
            origins, asked = _examine_calls(judged.calls, failing, is_expected)
            located |= {verdict: with_diagnosis(verdict, origins[i], ()) for i, verdict in verdicts.items()}
            questions += asked
    if not located:  # as in nearly every group; the lookup below hashes every verdict
        return Located(examination.verdicts)
    return Located(
        [[located.get(verdict, verdict) for verdict in some] for some in examination.verdicts], tuple(questions)
    )


def _departing(
    calls: Calls, verdict: Verdict, is_expected: IsExpected
) -> tuple[dict[int, Verdict], dict[int, tuple[str, str]]]:
    """For a verdict about several calls, the first call after the first that departs by itself."""
    for i in range(1, len(calls.observed)):
        for one in calls.compared:
            if not one.worst[i] <= 1 and not is_expected(one, i):
                return {i: verdict}, {i: (verdict.case, one.quantity)}
    return {}, {}


def _examine_calls(
    calls: Calls, failing: dict[int, tuple[str, str]], is_expected: IsExpected
) -> tuple[dict[int, str], list[Question]]:
    """The origin of each failing call, and the questions, given its case and the quantity that departs first in it."""
    origins: dict[int, str] = {}
    by_quantity: dict[str, list[int]] = defaultdict(list)
    known = {c.quantity for c in calls.compared}
    for i, (_, quantity) in failing.items():
        departs = {c.quantity: not c.worst[i] <= 1 and not is_expected(c, i) for c in calls.compared}
        place = locate(calls.structure.network, departs)
        origins[i] = "" if place is None else str(place)
        if quantity in known:
            by_quantity[quantity].append(i)
    questions = []
    for quantity, some in by_quantity.items():
        chosen = some[:MOST_KEPT]
        expected = {c.quantity for c in calls.compared for i in chosen if not c.worst[i] <= 1 and is_expected(c, i)}
        ids = [failing[i][0] for i in chosen]
        questions.append(_question(calls, chosen, quantity, frozenset(expected), ids))
    return origins, questions


def _question(
    calls: Calls, chosen: Sequence[int], first: str, ignored: frozenset[str], cases: Sequence[str]
) -> Question:
    """The question about some of the calls, by their indices. The other arguments are as in `Question`."""
    wide = np.dtype(np.float64)
    shown = stack_arrays([calls.observed[i] for i in chosen])
    asked = Question(
        calls.structure,
        calls.regime,
        calls.stack[np.array(chosen)].astype(wide),
        {name: array.astype(wide) for name, array in shown.items()},
        first,
        earlier_calls(calls.history, [calls.before[i] for i in chosen]),
        calls.conventions,
        ignored,
        tuple(cases),
        calls.arithmetic,
    )
    if not calls.formulas:
        return asked
    formulas = tuple(calls.formulas.values())
    known = compare(asked, Hypothesis("known", "the framework's own formulas", formulas))
    if known.hidden.all():
        return asked
    return replace(asked, formulas=formulas, departs_as_known=bool((known.may < len(asked.observed)).any()))


def diagnose(
    group: Group, examination: Examination, expectation_for: ExpectationFor = NOTHING_EXPECTED
) -> list[list[Verdict]]:
    """The verdicts on a group by itself, with origins and with the known mistakes that its failing calls are consistent
    with. One group cannot show that a mistake is the cause: that takes a run (`summarize_failures`).
    """
    located = locate_failures(group, examination, expectation_for)
    if not located.questions:
        return located.verdicts
    given: dict[tuple[str, str], tuple[Explanation, ...]] = {}
    for one in explain_all(located.questions, lambda _: (0, 0)):
        for q, i in one.calls:
            explanations = [
                Explanation(tried.hypothesis.name, tried.hypothesis.mistake, tried.explained[q, i])
                for tried in one.mistakes
            ]
            given[located.questions[q].cases[i], located.questions[q].first] = tuple(explanations)
    return [[_with(verdict, given) for verdict in some] for some in located.verdicts]


def _with(verdict: Verdict, given: dict[tuple[str, str], tuple[Explanation, ...]]) -> Verdict:
    if not isinstance(verdict, DiagnosedVerdict):
        return verdict
    found = given.get((verdict.case, verdict.quantity)) or next(
        (some for (case, _), some in given.items() if case == verdict.case), ()
    )
    return with_diagnosis(verdict, verdict.origin, found)
