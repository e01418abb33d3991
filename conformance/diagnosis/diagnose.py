"""Telling a failure: of each failing case, where the mistake begins and which known mistakes explain it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...adapters import Observation
from ...reference import Array, Structure
from ...reference.rounding import Conventions
from ..cases.regimes import Draw, each
from ..checks.compare import Comparison
from ..checks.verdict import Verdict
from .explain import Question, explain, question
from .hypotheses import Earlier
from .locate import locate

IsExpected = Callable[[Comparison, int], bool]


@dataclass(frozen=True)
class Calls:
    """Answers of one program, compared: the numbers put in and what was shown, a call an entry. `before` gives the
    number of the call before each, or None, as numbers of `history`; the program's first call is its number 0.
    """

    structure: Structure
    regime: str
    stack: Draw
    observed: Sequence[Observation]
    compared: Sequence[Comparison]
    history: Draw
    before: Sequence[int | None]
    conventions: Conventions | None = None


def tell(calls: Calls, verdicts: Sequence[list[Verdict]], with_expectation: IsExpected) -> list[list[Verdict]]:
    """The verdicts on each call, the first finding of each that has one told: its origin, and its explanations.

    `excused` says whether an expectation covers a departure: what it covers neither locates a mistake nor speaks
    against an explanation.
    """
    told = [list(some) for some in verdicts]
    alike: dict[str, list[int]] = defaultdict(list)
    for i, some in enumerate(told):
        at = _first(some)
        if at is not None:
            departs = {c.quantity: not c.worst[i] <= 1 and not with_expectation(c, i) for c in calls.compared}
            place = locate(calls.structure.network, departs)
            some[at] = replace(some[at], origin="" if place is None else str(place))
            alike[some[at].quantity.rpartition(": ")[2]].append(i)
    for first, failing in alike.items():
        if first not in {c.quantity for c in calls.compared}:
            continue
        for i, explanations in zip(failing, explain(_question(calls, failing, first, with_expectation)), strict=True):
            at = _first(told[i])
            assert at is not None
            told[i][at] = replace(told[i][at], explanations=explanations)
    return told


def _first(verdicts: Sequence[Verdict]) -> int | None:
    return next((number for number, verdict in enumerate(verdicts) if verdict.is_unexpected), None)


def _question(calls: Calls, chosen: Sequence[int], first: str, with_expectation: IsExpected) -> Question:
    expected = {c.quantity for c in calls.compared for i in chosen if not c.worst[i] <= 1 and with_expectation(c, i)}
    before = [calls.before[i] for i in chosen]
    first_calls = [None if number is None else 0 for number in before]
    earlier = Earlier(_called(calls.history, before), _called(calls.history, first_calls))
    asked = question(
        calls.structure,
        calls.regime,
        calls.stack[np.array(chosen)],  # pyright: ignore[reportArgumentType]  (an index array picks a sub-stack)
        [calls.observed[i] for i in chosen],
        first,
        earlier,
        calls.conventions,
    )
    return replace(asked, ignored=frozenset(expected))


def _called(history: Draw, numbers: Sequence[int | None]) -> Draw:
    """The numbers of calls, NaN where there was none."""
    picked = history[np.array([number or 0 for number in numbers])]  # pyright: ignore[reportArgumentType]
    none = np.array([number is None for number in numbers])

    def blank(a: Array) -> Array:
        return np.where(none.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a.astype(np.float64))

    return Draw(each(picked.parameters, blank), blank(picked.x), blank(picked.y), picked.dead)
