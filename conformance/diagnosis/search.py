"""The search for known mistakes that explain one failing case, as candidates to be tested in all others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.rounding import SIGMAS
from .evidence import compare, distance_by_norm
from .hypotheses.table import stages
from .hypothesis import Hypothesis
from .question import Question

_SHORTLIST = 12
"""How many hypotheses, the nearest by norm, are compared with an answer by their tolerances."""
_FEW = 2
"""How many calls of a question are searched."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis and the largest distance in σ, over the calls searched, between the answers and what it gives."""

    hypothesis: Hypothesis
    sigmas: float

    @property
    def fits(self) -> bool:
        """Whether every call searched lies within the tolerance of what it gives."""
        return self.sigmas <= SIGMAS


def search(question: Question) -> Iterator[list[Candidate]]:
    """For each stage of hypotheses, those that come nearest to the first calls of a question, the nearest first."""
    few = question.part(range(min(_FEW, len(question.stack.x))))
    for stage in stages(few):
        tried: list[Candidate] = []
        for competing in stage:
            tried += _compare(few, competing if len(competing) <= _SHORTLIST else _nearest(few, competing))
        yield sorted(tried, key=lambda one: one.sigmas)


def _nearest(question: Question, hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses that are nearest by norm."""
    near: list[tuple[float, int, Hypothesis]] = []
    for number, hypothesis in enumerate(hypotheses):
        distance = float(distance_by_norm(question, hypothesis).min())
        if np.isfinite(distance):
            near.append((distance, number, hypothesis))
    return [hypothesis for *_, hypothesis in sorted(near, key=lambda one: one[:2])[:_SHORTLIST]]


def _compare(question: Question, hypotheses: Sequence[Hypothesis]) -> list[Candidate]:
    """Each hypothesis compared with the calls; those that cannot change what departs first in any are left out.

    A hypothesis is compared with the calls in which it makes a difference. It fits if it explains all of these.
    """
    found = []
    for hypothesis in hypotheses:
        fit = compare(question, hypothesis)
        able = ~fit.hidden & (fit.may <= fit.departs)
        if able.any() and np.isfinite(worst := float(fit.sigmas[able].max())):
            found.append(Candidate(hypothesis, worst))
    return found
