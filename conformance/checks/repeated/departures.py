"""How far the results of repeated calls are from the rule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ...cases.case import Case, Group
from ...cases.description import Description
from ...cases.draw import stacked
from ...cases.level import Level
from ...cases.regimes import Draw
from ...runners.runner import Answer
from ..comparison.calls import Calls
from ..findings import judge
from ..verdict import ExpectationFor, Verdict


@dataclass(frozen=True)
class RuleJudge:
    """Compares the results of repeated calls with the rule, given what an adapter declares, what is known of its
    divergences, and the level of the run.
    """

    adapter: Description
    expectation_for: ExpectationFor
    level: Level = "componentwise"

    def find_departure(self, case: Case, one: Draw, answer: Answer) -> Verdict | None:
        """The first finding in the numbers of an answer to the numbers `one`, which are not stacked, that neither an
        expectation nor the level lets pass; None if there is none, and if there is no observation.
        """
        return None if answer.observation is None else self._judge([case], [one], [answer.observation], answer)[0]

    def find_departures(
        self, cases: Sequence[Case], draws: Sequence[Draw], answers: Sequence[Answer]
    ) -> list[Verdict | None]:
        """`find_departure` of several answers of one program, at least one. If all show the same quantities, they are
        compared together, which costs little more than one of them.
        """
        observed = [answer.observation for answer in answers if answer.observation is not None]
        kinds = {(a.judged_in, *arrays(a.observation)) for a in answers if a.observation is not None}
        if len(kinds) == 1 and len(observed) == len(answers):
            return self._judge(cases, draws, observed, answers[0])
        return [self.find_departure(*one) for one in zip(cases, draws, answers, strict=True)]

    def _judge(
        self, cases: Sequence[Case], draws: Sequence[Draw], observed: Sequence[Observation], like: Answer
    ) -> list[Verdict | None]:
        """`like` is an answer that says in which dtype all of them are judged."""
        case, stack = cases[0], stacked(draws)
        structure, arithmetic = case.structure, self.adapter.arithmetic_in(case.structure.dtype)
        if like.judged_in is not None:
            # As in the draws themselves: a framework that computes in a narrower dtype rounds the numbers to it first.
            structure, arithmetic = replace(structure, dtype=like.judged_in), None
            stack = stack.astype(structure.format.numpy)
        known = self.adapter.conventions, arithmetic, self.expectation_for.formulas_for([one.id for one in cases])
        none = (None,) * len(observed)
        calls = Calls(structure, case.regime, stack, tuple(observed), stack, none, *known)
        group = Group(structure, case.regime, case.seed, (case.draw,))
        found = []
        for i, one in enumerate(cases):
            dead = bool(np.any(draws[i].dead))
            verdicts = judge(group, one, calls.compared, i, self.expectation_for, dead=dead, level=self.level)
            found.append(next((verdict for verdict in verdicts if verdict.is_unexpected), None))
        return found
