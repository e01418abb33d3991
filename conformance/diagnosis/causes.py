"""Causes: the failures of a run sorted by their cause, so that thirty failures of one cause are reported once."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..cases.case import parse_case
from ..cases.regimes import REGIMES
from ..checks.verdict import CHECKS, Severity, Verdict, failure_of, severity_of
from .explanation import Explanation, explanations_of

_Key = tuple[str, str, str, str, str]
_MANY = 3


@dataclass(frozen=True)
class Cause:
    """Failures of one adapter with one cause: the number of cases, the finding of the smallest case (`worst`), how
    severe all of them are, and the mistakes that explain all of them, with their residuals in σ for that finding.

    `next_best` is the smallest residual there of a mistake that does not explain it.
    """

    adapter: str
    cases: int
    checks: tuple[str, ...]
    worst: Verdict
    severity: Severity
    mistakes: tuple[Explanation, ...] = ()
    next_best: float | None = None
    nearest: Explanation | None = None
    """The nearest mistake, if none explains the failures."""


def causes(answered: Iterable[tuple[str, Sequence[Verdict]]]) -> list[Cause]:
    """The causes of all unexpected findings and errors, given the verdicts of each case with its adapter. Causes in the
    contract and the layout come first, then the most frequent; causes that are only componentwise come last. A case
    without a failure shows its first finding below the level of the run, if it has one.

    Cases that a mistake explains are grouped by the mistake that explains most of them. If none does, two failures have
    one cause if check, kind of quantity, activation, grade and level (or the message) agree. If a kind fails in many
    activations, the activation does not separate causes.
    """
    first: dict[tuple[str, str], Verdict] = {}
    for adapter, verdicts in answered:
        found = failure_of([v for v in verdicts if v.fails or v.below_level])
        if found is not None:
            first[adapter, found.case] = found
    by_adapter: dict[str, list[Verdict]] = defaultdict(list)
    for (adapter, _), verdict in first.items():
        by_adapter[adapter].append(verdict)
    sorted_out = [cause for adapter, some in by_adapter.items() for cause in _of_one_adapter(adapter, some)]
    return sorted(sorted_out, key=_order)


def _order(c: Cause) -> tuple[bool, bool, int, int]:
    is_minor = c.severity.level == "componentwise"
    return c.worst.check not in CHECKS[:2], is_minor, -c.cases, CHECKS.index(c.worst.check)


def _kind(v: Verdict) -> _Key:
    what, activation = (v.gist, "") if v.message else (v.kind, v.activation or "")
    return v.check, what, activation, v.grade, v.level or ""


def _of_one_adapter(adapter: str, verdicts: Sequence[Verdict]) -> Iterator[Cause]:
    left = list(verdicts)
    while True:
        counts = Counter(e.name for v in left for e in explanations_of(v) if e.fits)
        if not counts:
            break
        most = max(counts.values())
        tied = [name for name, count in counts.items() if count == most]
        # Only a mistake that explains the very same cases is named as well.
        lead = min(tied, key=lambda name: (_largest(left, name), name))
        covered = [v for v in left if _sigmas(v, lead) is not None]
        same = [name for name in tied if all(_sigmas(v, name) is not None for v in covered)]
        yield _explained(adapter, covered, sorted(same, key=lambda name: name != lead))
        left = [v for v in left if _sigmas(v, lead) is None]
    many = {key for key, names in _activations(left).items() if len(names) > _MANY}
    rest: dict[_Key, list[Verdict]] = defaultdict(list)
    for verdict in left:
        key = _kind(verdict)
        rest[(*key[:2], "", *key[3:]) if (key[0], key[1]) in many else key].append(verdict)
    for some in rest.values():
        nearest = min((e for v in some for e in explanations_of(v)), key=lambda e: e.sigmas, default=None)
        yield Cause(adapter, len(some), _checks(some), _smallest(some), severity_of(some), nearest=nearest)


def _activations(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], set[str]]:
    """The activations in which each kind of quantity fails."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for check, kind, activation, *_ in map(_kind, verdicts):
        found[check, kind].add(activation)
    return found


def _sigmas(verdict: Verdict, name: str) -> float | None:
    return next((e.sigmas for e in explanations_of(verdict) if e.name == name and e.fits), None)


def _largest(verdicts: Sequence[Verdict], name: str) -> float:
    return max((s for v in verdicts if (s := _sigmas(v, name)) is not None), default=0.0)


def _explained(adapter: str, covered: Sequence[Verdict], names: Sequence[str]) -> Cause:
    worst = _smallest([v for v in covered if any(e.name in names for e in explanations_of(v))])
    mistakes = []
    for name in names:
        # As for the case that is shown, which may name a layer.
        shown = next(e for e in explanations_of(worst) if e.name == name)
        others = {e.mistake for v in covered for e in explanations_of(v) if e.name == name} - {shown.mistake}
        mistakes.append(replace(shown, mistake=f"{shown.mistake}, and others of the kind") if others else shown)
    others = [e.sigmas for e in explanations_of(worst) if not e.fits]
    return Cause(
        adapter, len(covered), _checks(covered), worst, severity_of(covered), tuple(mistakes), min(others, default=None)
    )


def _checks(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    found = {v.check for v in verdicts}
    return tuple(check for check in CHECKS if check in found)


def _smallest(verdicts: Sequence[Verdict]) -> Verdict:
    """The finding that is shown: the one in the case with the fewest numbers, and of equally small cases the first by
    id. A finding whose tolerance is not zero comes before one whose tolerance is.
    """
    return min(verdicts, key=lambda v: (not v.worst < math.inf, _size(v.case), v.case))


def _size(case: str) -> int:
    """How many numbers the parameters and the layers of a case hold."""
    structure = parse_case(case, tuple(REGIMES)).structure
    widths = structure.network.widths
    return sum((a + 1) * b for a, b in pairwise(widths)) + structure.batch * sum(widths)
