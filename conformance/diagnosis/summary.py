"""The causes of all failures of a run on one adapter: what is known of them, earned over all failing cases."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...reference import Array
from ..cases.case import Case, Group, parse_case
from ..cases.description import Description
from ..cases.draw import make_draws
from ..cases.regimes import REGIMES
from ..checks.verdict import REPEATED, Verdict, failure_to_show, severity_of, status
from .causes import Cause, group_unexplained, order, smallest, sort_checks
from .evidence import compare
from .explanation import Explanation
from .features import describe_cases, describe_entries, gradients_agree
from .hypotheses.limits import with_bracket
from .hypothesis import Hypothesis
from .question import Question, earlier_calls
from .search import Call, Explained, Tried, explain_all

_MOST_PASSING = 120
"""How many passing cases are looked at for each adapter, at most one of each group."""
_MOST_DESCRIBED = 12
"""How many questions a description of entries is made from."""
_LARGE = 20_000
"""How many numbers a call of these may have."""


@dataclass(frozen=True)
class GroupResult:
    """What a run keeps of one group: the failure to show of each case that has one, the cases that passed, and the
    questions about the calls that were kept.
    """

    group: Group
    failing: tuple[Verdict, ...]
    passed: tuple[str, ...]
    questions: tuple[Question, ...] = ()


def result_of(group: Group, verdicts: Iterable[Sequence[Verdict]], questions: Sequence[Question] = ()) -> GroupResult:
    """The result of a group, from the verdicts of its cases."""
    verdicts = [some for some in verdicts if some]
    first = map(failure_to_show, verdicts)
    passed = tuple(some[0].case for some in verdicts if status(some) == "passed")
    return GroupResult(group, tuple(v for v in first if v is not None), passed, tuple(questions))


def summarize_failures(adapter: Description, results: Sequence[GroupResult]) -> list[Cause]:
    """The causes of all failures of one adapter, in the order of a report."""
    if not any(result.failing for result in results):
        return []
    return _Summary(adapter, results).causes()


class _Summary:
    """The failures of one adapter."""

    def __init__(self, adapter: Description, results: Sequence[GroupResult]) -> None:
        self._declared, self._adapter, self._results = adapter, adapter.name, results
        self._questions = [question for result in results for question in result.questions]

    def causes(self) -> list[Cause]:
        found = explain_all(self._questions, self._count_passing)
        where = self._verdicts_of(found)
        explained = [self._explained(one, where[n]) for n, one in enumerate(found) if one.mistakes and where[n]]
        unexplained = [
            (verdict, n) for n, some in where.items() if n is None or not found[n].mistakes for verdict in some
        ]
        rest = []
        for some in group_unexplained([verdict for verdict, _ in unexplained]):
            mine = set(map(id, some))
            numbers = dict.fromkeys(n for verdict, n in unexplained if id(verdict) in mine and n is not None)
            rest.append(self._described(some, [found[n] for n in numbers]))
        return order([*explained, *rest])

    def _verdicts_of(self, found: Sequence[Explained]) -> dict[int | None, list[Verdict]]:
        """For each of the found, by number, the first failing verdicts of the cases that it is about. A case that was
        not kept goes with the calls of its group that fail first in the same quantity. None stands for what no question
        is about.
        """
        number_of = {call: n for n, one in enumerate(found) for call in one.calls}
        where: dict[int | None, list[Verdict]] = defaultdict(list)
        begun = 0
        for result in self._results:
            own = {begun + q: question for q, question in enumerate(result.questions)}
            begun += len(result.questions)
            for verdict in result.failing:
                where[_number_of(verdict, own, number_of)].append(verdict)
        return where

    def _explained(self, one: Explained, verdicts: Sequence[Verdict]) -> Cause:
        kept = {case for q, i in one.calls for case in [self._questions[q].cases[i]]}
        worst = smallest([v for v in verdicts if v.case in kept] or verdicts)
        at = [call for call in one.calls if self._questions[call[0]].cases[call[1]] == worst.case] or list(one.calls)
        seen = [*self._questions, *self._passing] if any(t.hypothesis.limit for t in one.mistakes) else []
        by_words = {with_bracket(t.hypothesis, seen): t for t in reversed(one.mistakes)}
        mistakes = tuple(
            Explanation(t.hypothesis.name, words, max(t.explained[call] for call in at))
            for words, t in reversed(by_words.items())
        )
        return Cause(
            self._adapter, len(verdicts), sort_checks(verdicts), worst, severity_of(verdicts), mistakes,
            one.next_best, is_fact=True, compared=len(one.calls),
        )  # fmt: skip

    def _described(self, verdicts: Sequence[Verdict], found: Sequence[Explained]) -> Cause:
        """An unexplained cause, with what is known of it."""
        worst = smallest(verdicts)
        made = Cause(self._adapter, len(verdicts), sort_checks(verdicts), worst, severity_of(verdicts))
        lines = []
        if text := describe_cases([v.case for v in verdicts], self._passed, _only({v.activation for v in verdicts})):
            lines.append(text)
        questions = self._part([call for one in found for call in one.calls])
        if questions:
            lines += [
                f"{questions[0].first.partition('_')[0]}: {text}" if n == 0 else text
                for n, text in enumerate(describe_entries(questions))
            ]
            if gradients_agree(questions):
                lines.append("the gradients agree with the rule; is this k what the framework used?")
        for partial in dict.fromkeys(one.partial for one in found if one.partial is not None):
            lines += _partial_lines(partial)
        return replace(made, description=tuple(dict.fromkeys(lines)))

    def _part(self, calls: Sequence[Call]) -> list[Question]:
        """The questions restricted to some calls: a few of different sizes, without the largest, so that a description
        costs little.
        """
        by_question: dict[int, list[int]] = defaultdict(list)
        for q, i in calls:
            by_question[q].append(i)
        first = sorted(by_question, key=lambda q: (self._questions[q].size, q))
        kinds = [self._questions[q].first.partition("_")[0] for q in first]
        most = max(kinds, key=kinds.count, default="")
        chosen = [q for q, kind in zip(first, kinds, strict=True) if kind == most]
        chosen = [q for q in chosen if self._questions[q].size <= _LARGE] or chosen[:1]
        step = max(1, -(-len(chosen) // _MOST_DESCRIBED))
        return [self._questions[q].part(by_question[q]) for q in chosen[::step]]

    @cached_property
    def _passed(self) -> list[str]:
        return [case for result in self._results for case in result.passed]

    @cached_property
    def _passing(self) -> list[Question]:
        """Passing cases as questions, at most one of each group: the second passing one, which has a call before it.
        What the framework showed is not kept. It agrees with the rule, so the rule's own values stand for it.
        """
        with_some = [result for result in self._results if result.passed and result.group.regime != "layout"]
        step = max(1, -(-len(with_some) // _MOST_PASSING))
        shown = set(self._questions[0].observed) if self._questions else set[str]()
        kinds = {name.partition("_")[0] for name in shown}
        return [self._as_question(parse_case(r.passed[:2][-1], tuple(REGIMES)), kinds) for r in with_some[::step]]

    def _as_question(self, case: Case, kinds: set[str]) -> Question:
        has_earlier = case.draw > 0
        cases = [replace(case, draw=case.draw - 1), case] if has_earlier else [case]
        stack = make_draws(cases)
        one = stack[np.array([len(cases) - 1])].astype(np.dtype(np.float64))
        earlier = earlier_calls(stack, [0]) if has_earlier else None
        known = self._declared.conventions, self._declared.arithmetic_in(case.structure.dtype)
        bare = Question(case.structure, case.regime, one, {}, "", earlier, known[0], arithmetic=known[1])
        observed = {
            name: _rounded(value.value, case)
            for name, value in bare.right.given.items()
            if name.partition("_")[0] in kinds
        }
        return replace(bare, observed=observed, first="E", cases=(case.id,))

    def _count_passing(self, hypothesis: Hypothesis) -> tuple[int, int]:
        seen = 0
        for question in self._passing:
            fit = compare(question, hypothesis)
            seen += int((~fit.hidden & (fit.predicts < len(question.observed))).sum())
        return seen, len(self._passing)


def _rounded(value: Array, case: Case) -> Array:
    """A value of the rule as a framework shows it."""
    with np.errstate(over="ignore"):
        return value.astype(case.structure.format.numpy).astype(np.float64)


def _number_of(verdict: Verdict, own: dict[int, Question], number_of: dict[Call, int]) -> int | None:
    kept = [(q, i) for q, question in own.items() for i, case in enumerate(question.cases) if case == verdict.case]
    same = [(q, i) for q, i in kept if own[q].first == verdict.quantity]
    if verdict.message and verdict.quantity not in REPEATED:
        # What is said in words is not about the numbers of another finding in its case.
        kept = []
    if same or kept:
        return number_of[(same or kept)[0]]
    others = [q for q, question in own.items() if question.first == verdict.quantity]
    return number_of[others[0], 0] if others and not verdict.message else None


def _only(activations: set[str | None]) -> str:
    return next(iter(activations)) or "" if len(activations) == 1 else ""


def _partial_lines(partial: Tried) -> list[str]:
    """What is known of a mistake that explains failing cases exactly and is not stated as fact."""
    if not partial.account.is_evidence_for(partial.hypothesis):
        return []
    name, count, against = partial.hypothesis.mistake, len(partial.explained), len(partial.contradicting)
    text = f"{count:,} of the compared cases equal the rule with {name}"
    if against:
        return [f"{text}, but {against:,} in which that would show do not"]
    return [f"{text}, but {partial.would_show:,} of {partial.passing:,} passing cases would show it too"]


__all__ = ["GroupResult", "result_of", "summarize_failures"]
