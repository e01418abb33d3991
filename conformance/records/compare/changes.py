"""What became of the cases and the causes of one run in another."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ...cases.case import traced_layer
from ...checks.verdict import CHECKS, Check, Status, Verdict, failure_to_show, status
from ...diagnosis.causes import Cause
from ..form.verdicts import CaseResult
from .pairs import Pair
from .recorded import Recorded

BAD: tuple[Status, ...] = ("failed", "errored", "blocked")
"""The statuses that fail a run."""
Kind = Literal["regression", "other", "improvement"]
"""What a change is, worst first."""


@dataclass(frozen=True)
class Change:
    """A case whose status, or the status of a check, is another one in the new run. `check` is the first that differs,
    `old` and `new` are its statuses, and the margins are its worst errors in units of the tolerance.
    """

    pair: str
    case: str
    activation: str
    check: Check
    old: Status
    new: Status
    old_margin: float | None
    new_margin: float | None
    kind: Kind


@dataclass(frozen=True)
class RunChange:
    """A check of the run as a whole that judges the new run otherwise."""

    pair: str
    what: str
    old: Status
    new: Status
    kind: Kind


def kind_of(old: Status, new: Status) -> Kind:
    """Whether a change of status is a regression, an improvement, or neither."""
    was, is_ = old in BAD, new in BAD
    return "regression" if is_ and not was else "improvement" if was and not is_ else "other"


def compare_cases(
    pair: Pair, old: Mapping[str, CaseResult], new: Mapping[str, CaseResult], verdicts: Mapping[str, Sequence[Verdict]]
) -> list[Change]:
    """The changed cases among those of both runs, worst first. `verdicts` are those of the new run, in full."""
    changes = []
    for case, before in old.items():
        after = new.get(case)
        if after is None or (before.status == after.status == "passed"):
            continue
        a, b = before.checks, after.checks
        check: Check | None = next((c for c in CHECKS if c in a and c in b and a[c].status != b[c].status), None)
        if check is None:
            continue
        failure = failure_to_show(list(verdicts.get(case, ())))
        activation = failure.activation if failure is not None and failure.activation else case.split("-")[1]
        changes.append(
            Change(
                pair.name, case, activation, check, a[check].status, b[check].status, a[check].margin, b[check].margin,
                kind_of(before.status, after.status),
            )
        )  # fmt: skip
    return sorted(changes, key=lambda c: (get_args(Kind).index(c.kind), -(c.new_margin or 0.0), c.case))


def count_transitions(old: Mapping[str, CaseResult], new: Mapping[str, CaseResult]) -> list[tuple[Status, Status, int]]:
    """How many cases of both runs went from one status to another."""
    counts = Counter[tuple[Status, Status]]((one.status, new[case].status) for case, one in old.items() if case in new)
    return [(a, b, count) for (a, b), count in counts.most_common() if a != b]


def count_grades(
    old: Mapping[str, Sequence[Verdict]], new: Mapping[str, Sequence[Verdict]]
) -> list[tuple[str, str, int]]:
    """How many cases that fail in both runs have another grade in their first failure, given the verdicts by case."""
    counts = Counter[tuple[str, str]]()
    for case, verdicts in old.items():
        before, after = failure_to_show(list(verdicts)), failure_to_show(list(new.get(case, ())))
        if before is not None and after is not None and before.fails and after.fails and before.grade != after.grade:
            counts[before.grade, after.grade] += 1
    return [(a, b, count) for (a, b), count in counts.most_common()]


def compare_causes(pair: Pair, old: Recorded, new: Recorded) -> tuple[list[Cause], list[Cause]]:
    """The causes of the new run that the old one has nothing like, and the reverse."""
    before = [cause for cause in old.causes if cause.adapter == pair.old]
    after = [cause for cause in new.causes if cause.adapter == pair.new]
    known, now = {_key(cause) for cause in before}, {_key(cause) for cause in after}
    return [c for c in after if _key(c) not in known], [c for c in before if _key(c) not in now]


def _key(cause: Cause) -> tuple[object, ...]:
    if cause.mistakes:
        return ("mistake", frozenset(one.name for one in cause.mistakes))
    worst = cause.worst
    return ("found", worst.check, worst.kind, worst.activation, worst.gist, replace(worst, message=cause.text).gist)


def compare_runs(pair: Pair, old: Recorded, new: Recorded) -> list[RunChange]:
    """What the runs as a whole say differently of an adapter: in bias and spread."""
    before, after = (
        {f"{v.check} of {v.quantity} in {v.case.split('-')[1]}{f' of {v.activation}' if v.activation else ''}"
         f"{f' of {layer}' if (layer := traced_layer(v.case)) else ''}": v
         for v in record.of_run[name]}
        for record, name in ((old, pair.old), (new, pair.new))
    )  # fmt: skip
    changes = []
    for what in before.keys() & after.keys():
        a, b = status([before[what]]), status([after[what]])
        if a != b:
            changes.append(RunChange(pair.name, what, a, b, kind_of(a, b)))
    return sorted(changes, key=lambda one: one.what)
