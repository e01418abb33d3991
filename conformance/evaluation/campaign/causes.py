"""Why cases of a campaign failed: the search for causes, over the failing groups whose numbers were kept."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from threadpoolctl import threadpool_limits

from ...cases.description import Description
from ...checks.verdict import ExpectationFor, Verdict, failure_to_show
from ...diagnosis import question as stored
from ...diagnosis.causes import Cause, order
from ...diagnosis.summary import GroupResult, summarize_failures
from ...records.form.verdicts import to_verdict
from .line import UnitLine, read_questions, read_statuses
from .units import Unit

MOST_FAILING = 200
"""How many failing groups of an adapter are looked at."""
_MOST_PASSING = 400
"""How many groups without a failure are looked at, for evidence against a mistake."""


@dataclass(frozen=True)
class Diagnosis:
    """The causes that were found, and from how many failing cases."""

    causes: tuple[Cause, ...] = ()
    diagnosed: int = 0


def find_causes(
    adapter: Description, units: Iterable[tuple[Unit, UnitLine]], expectation_for: ExpectationFor
) -> Diagnosis:
    """The causes of the failures of one adapter, given its units with their lines, in order, and what is known of it.

    A unit keeps the numbers of a few failing groups only. A group whose numbers were not kept is left out of the
    search: nobody could say whether its cause is one of those found.
    """
    failing: list[GroupResult] = []
    passing: list[GroupResult] = []
    for unit, line in units:
        if len(failing) == MOST_FAILING and len(passing) == _MOST_PASSING:
            break
        for result, is_asked in _results(adapter, unit, line, expectation_for):
            if result.failing and is_asked and len(failing) < MOST_FAILING:
                failing.append(result)
            elif not result.failing and len(passing) < _MOST_PASSING:
                passing.append(result)
    if not failing:
        return Diagnosis()
    with threadpool_limits(1):
        found = order(summarize_failures(adapter, [*failing, *passing]))
    return Diagnosis(tuple(found), sum(len(result.failing) for result in failing))


def _results(
    adapter: Description, unit: Unit, line: UnitLine, expectation_for: ExpectationFor
) -> Iterator[tuple[GroupResult, bool]]:
    """What a unit says of each of its groups, and whether the group can be diagnosed."""
    statuses = iter(read_statuses(line.statuses))
    by_case: dict[str, list[Verdict]] = {}
    for one in line.verdicts:
        by_case.setdefault(one.case, []).append(to_verdict(one))
    for place, group in enumerate(unit.groups):
        own = dict(zip((case.id for case in group.cases), islice(statuses, len(group.draws)), strict=True))
        shown = [failure_to_show(by_case[case]) for case in own if case in by_case]
        result = GroupResult(
            group,
            tuple(verdict for verdict in shown if verdict is not None),
            tuple(case for case, found in own.items() if found == "passed"),
            _questions(adapter, line.questions, place, expectation_for),
        )
        yield result, place not in line.unasked


def _questions(
    adapter: Description, kept: Mapping[str, str], place: int, expectation_for: ExpectationFor
) -> tuple[stored.Question, ...]:
    if str(place) not in kept:
        return ()
    with tempfile.TemporaryDirectory(prefix="kterm-") as folder:
        path = read_questions(kept[str(place)], Path(folder))
        return tuple(stored.load(path, adapter, expectation_for))
