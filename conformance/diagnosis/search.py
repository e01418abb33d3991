"""The search for causes: what explains one failing case is tried in all others, failing and passing.

A run may have a thousand failing cases. A few *representatives* are searched for candidates: small cases, of kinds that
are not explained yet. Each candidate is then compared with every failing call that was kept. So the cost of a search is
paid once for a cause, and not for each case.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...reference.rounding import SIGMAS
from .evidence import Account, Fit, compare, distance_by_norm
from .hypotheses.table import first_rank, rank_of, stages
from .hypothesis import Hypothesis
from .question import Question

_SHORTLIST = 12
"""How many hypotheses, the nearest by norm, are compared with an answer by their tolerances."""
_FEW = 2
"""How many calls of a question are searched."""

MOST_SEARCHES, MOST_CAUSES = 5, 16
"""How many representatives without an explanation are searched, and how many causes are found at most."""
_MOST_TRIED = 8
_HOPELESS = 4
"""After this many contradictions, and more of them than agreements, a candidate is given up."""

_NEARLY_ALL = 0.9

Call = tuple[int, int]
"""A call: the place of its question among all, and its own in it."""
Passing = Callable[[Hypothesis], tuple[int, int]]
"""In how many passing cases a mistake would be seen, and how many passing cases were looked at."""


@dataclass(eq=False)
class Tried:
    """A hypothesis with all evidence about it: the failing calls that it explains with their residuals in σ, those that
    contradict it, and the passing cases in which it would be seen.
    """

    hypothesis: Hypothesis
    account: Account = field(default_factory=Account)
    explained: dict[Call, float] = field(default_factory=dict)
    contradicting: list[Call] = field(default_factory=list)
    would_show: int = 0
    passing: int = 0

    @property
    def is_contradicted(self) -> bool:
        """Whether a case speaks against it."""
        return bool(self.contradicting or self.would_show)

    @property
    def is_fact(self) -> bool:
        """Whether it is stated as fact."""
        return not self.is_contradicted and self.account.is_evidence_for(self.hypothesis)


@dataclass(frozen=True)
class Explained:
    """Failing calls that the same mistakes explain. `mistakes` are facts, or none. Otherwise `partial` is the mistake
    that explains most of them and is not a fact. `next_best` is the smallest residual, in σ, of a mistake that does not
    explain the case that was searched.
    """

    calls: tuple[Call, ...]
    mistakes: tuple[Tried, ...] = ()
    partial: Tried | None = None
    next_best: float | None = None


def explain_all(questions: Sequence[Question], passing: Passing, most: int = MOST_SEARCHES) -> list[Explained]:
    """The causes of all calls of the questions. Calls that nothing explains come last, those of each kind together."""
    left = {(q, i): None for q, question in enumerate(questions) for i in range(len(question.stack.x))}
    found: list[Explained] = []
    searched: dict[tuple[str, ...], Tried | None] = {}
    while len(searched) < most and len(found) < MOST_CAUSES and (chosen := _representative(questions, left, searched)):
        kind, q, calls = chosen
        one = _search(questions, left, q, calls, passing)
        if one.mistakes:
            found.append(one)
            left = {call: None for call in left if call not in set(one.calls)}
        else:
            searched[kind] = one.partial
    by_kind: dict[tuple[str, ...], list[Call]] = {}
    for q, i in left:
        by_kind.setdefault(kind_of(questions[q]), []).append((q, i))
    return [*found, *(Explained(tuple(some), partial=searched.get(kind)) for kind, some in by_kind.items())]


def kind_of(question: Question) -> tuple[str, ...]:
    """What failing calls have in common if they may have one cause: the kind of quantity that departs first, and the
    activation of its layer.
    """
    return question.first.partition("_")[0], question.activation


def _representative(
    questions: Sequence[Question], left: dict[Call, None], searched: dict[tuple[str, ...], Tried | None]
) -> tuple[tuple[str, ...], int, list[int]] | None:
    """The next question to search, with its kind and its calls that are left: of the kinds not searched yet one whose
    quantity was searched least, of these the kind with the most calls, and its smallest question in the widest format.
    """
    by_kind: dict[tuple[str, ...], list[int]] = {}
    for q, _ in left:
        by_kind.setdefault(kind_of(questions[q]), []).append(q)
    asked = Counter(kind[0] for kind in searched)
    open_ = sorted((asked[kind[0]], -len(some), kind) for kind, some in by_kind.items() if kind not in searched)
    if not open_:
        return None
    kind = open_[0][2]

    def cost(q: int) -> tuple[bool, bool, float, bool, int, int]:
        one = questions[q]
        # A network of one layer hides much, and in one call there may be nothing that was there before it.
        return one.departs_as_known, one.is_exact, one.structure.format.u, one.structure.network.depth < 3, one.size, q

    best = min(by_kind[kind], key=cost)
    return kind, best, [i for q, i in left if q == best]


def _search(
    questions: Sequence[Question], left: dict[Call, None], q: int, calls: list[int], passing: Passing
) -> Explained:
    """What explains the calls of one question, and all others that it explains."""
    partial: Tried | None = None
    next_best: float | None = None
    for candidates in search(questions[q].part(calls)):
        others = [one.sigmas for one in candidates if not one.fits]
        next_best = min((s for s in (next_best, *others[:1]) if s is not None), default=None)
        tried = [
            one
            for candidate in [c for c in candidates if c.fits][:_MOST_TRIED]
            if (one := confirm(questions, left, candidate.hypothesis)) is not None
        ]
        for one in tried:
            if one.explained and not one.contradicting and not one.hypothesis.is_conditional:
                one.would_show, one.passing = passing(one.hypothesis)
        facts = [one for one in tried if one.is_fact and _covers(one, questions, left)]
        if facts:
            return _named(facts, next_best)
        partial = max((one for one in (partial, *tried) if one is not None), key=_credit, default=None)
    return Explained((), partial=partial, next_best=next_best)


def _covers(tried: Tried, questions: Sequence[Question], left: Iterable[Call]) -> bool:
    """Whether a mistake explains nearly all failing calls that are like those that it explains.

    A mistake of some layers only, or with a number, must explain all calls in which the same kind of quantity departs
    first: what explains some of them may be a part of something else.
    """
    is_variant = tried.hypothesis.is_variant
    left = [call for call in left if call in tried.explained or not questions[call[0]].departs_as_known]

    def kind(call: Call) -> tuple[str, ...]:
        return kind_of(questions[call[0]])[: 1 if is_variant else 2]

    kinds = {kind(call) for call in tried.explained}
    due = sum(kind(call) in kinds for call in left)
    return len(tried.explained) >= due * (1.0 if is_variant else _NEARLY_ALL)


def _credit(tried: Tried) -> tuple[bool, int]:
    return tried.account.is_evidence_for(tried.hypothesis), len(tried.explained) - len(tried.contradicting)


def _named(facts: Sequence[Tried], next_best: float | None) -> Explained:
    """The fact that explains most calls, and those that explain the very same."""
    most = max(len(one.explained) for one in facts)
    lead = next(one for one in facts if len(one.explained) == most)
    same = [one for one in facts if one.explained.keys() == lead.explained.keys()]
    plain = {one.hypothesis.base for one in same if not one.hypothesis.is_variant}
    same = [one for one in same if not (one.hypothesis.is_variant and one.hypothesis.base in plain)]
    return Explained(tuple(lead.explained), tuple(_distinct(same)), next_best=next_best)


def _distinct(same: Sequence[Tried]) -> Iterator[Tried]:
    """One of each name, and of fitted numbers the one with the fewest digits: it was tried first."""
    names = set[str]()
    for one in same:
        name = one.hypothesis.name.partition(":")[0] if one.hypothesis.fitted else one.hypothesis.name
        if name not in names:
            names.add(name)
            yield one


def confirm(questions: Sequence[Question], left: dict[Call, None], hypothesis: Hypothesis) -> Tried | None:
    """A hypothesis compared with all failing calls; None if it is given up. Only calls in `left` are explained by it,
    and all may contradict it.
    """
    tried = Tried(hypothesis)
    for q, question in enumerate(questions):
        if first_rank(hypothesis) > rank_of(question):
            continue  # what departs first there comes before all that it changes
        fit = compare(question, hypothesis)
        mine = np.array([(q, i) in left for i in range(len(fit.sigmas))])
        tried.account.add(_only(fit, mine))
        for i in np.flatnonzero(fit.fits & mine):
            tried.explained[q, int(i)] = float(fit.sigmas[i])
        if not hypothesis.is_conditional and not question.departs_as_known:
            tried.contradicting += [(q, int(i)) for i in np.flatnonzero(fit.contradicts)]
        if len(tried.contradicting) >= max(_HOPELESS, len(tried.explained)):
            return None
    return tried


def _only(fit: Fit, chosen: np.ndarray) -> Fit:
    return Fit(*(values[chosen] for values in vars(fit).values()))


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
            tried += _compare_few(few, competing if len(competing) <= _SHORTLIST else _nearest(few, competing))
        yield sorted(tried, key=lambda one: one.sigmas)


def _nearest(question: Question, hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses that are nearest by norm."""
    near: list[tuple[float, int, Hypothesis]] = []
    for number, hypothesis in enumerate(hypotheses):
        distance = float(distance_by_norm(question, hypothesis).min())
        if np.isfinite(distance):
            near.append((distance, number, hypothesis))
    return [hypothesis for *_, hypothesis in sorted(near, key=lambda one: one[:2])[:_SHORTLIST]]


def _compare_few(question: Question, hypotheses: Sequence[Hypothesis]) -> list[Candidate]:
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
