"""Causes: the failures of a run or a group sorted by their cause, so that thirty of one cause are reported once."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..cases.case import parse_case
from ..cases.regimes import REGIMES
from ..checks.verdict import CHECKS, SAME_CALL, SOAK, Severity, Verdict, failure_to_show, severity_of
from .explanation import Explanation, explanations_of

_MANY = 3
"""A kind of quantity that fails in more activations than these has one cause, not one for each."""


@dataclass(frozen=True)
class Cause:
    """Failures of one adapter with one cause: the number of cases, the finding of the smallest case (`worst`), how
    severe all of them are, and the mistakes that explain all of them, with their residuals in σ for that finding.

    `is_fact` says that the mistakes are stated as fact; otherwise the failures are only consistent with them.
    `compared` is the number of calls that they were compared with. `next_best` is the smallest residual of a mistake
    that does not explain the failures. `description` says in lines what is known of failures that no mistake explains.
    In a trace, whose layers are not judged as a network, `text` says it all.
    """

    adapter: str
    cases: int
    checks: tuple[str, ...]
    worst: Verdict
    severity: Severity
    mistakes: tuple[Explanation, ...] = ()
    next_best: float | None = None
    is_fact: bool = False
    compared: int = 0
    description: tuple[str, ...] = ()
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """The cause in plain JSON types; the finding by its case, which the record holds."""
        return {
            "adapter": self.adapter,
            "cases": self.cases,
            "checks": list(self.checks),
            "case": self.worst.case,
            "severity": self.severity.to_json(),
            "mistakes": [[e.name, e.mistake, float(f"{e.sigmas:.6g}")] for e in self.mistakes],
            "next_best": None if self.next_best is None else float(f"{self.next_best:.6g}"),
            "compared": self.compared,
            "description": list(self.description),
            **({"text": self.text} if self.text else {}),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], verdicts: Sequence[Verdict]) -> "Cause":
        """The inverse of `to_json`, given the verdicts on its case. Raises KeyError, TypeError and
        ValueError for anything else.
        """
        worst = failure_to_show(verdicts)
        if worst is None:
            raise ValueError("nothing fails in the case of a cause")
        mistakes = tuple(Explanation(str(name), str(mistake), float(far)) for name, mistake, far in data["mistakes"])
        return cls(
            data["adapter"], int(data["cases"]), tuple(data["checks"]), worst, Severity.from_json(data["severity"]),
            mistakes, data["next_best"], bool(mistakes), int(data["compared"]), tuple(data["description"]),
            str(data.get("text", "")),
        )  # fmt: skip


def causes(answered: Iterable[tuple[str, Sequence[Verdict]]]) -> list[Cause]:
    """The failures of some cases sorted by what they are consistent with, given the verdicts of each case with its
    adapter, in the order of a report. A case without a failure shows its first finding below the level of the run, if
    it has one.

    Cases that a mistake explains are grouped by the mistake that explains most of them; for the others see
    `group_unexplained`.
    """
    first: dict[tuple[str, str], Verdict] = {}
    for adapter, verdicts in answered:
        found = failure_to_show(verdicts)
        if found is not None:
            first[adapter, found.case] = found
    by_adapter: dict[str, list[Verdict]] = defaultdict(list)
    for (adapter, _), verdict in first.items():
        by_adapter[adapter].append(verdict)
    return order(cause for adapter, some in by_adapter.items() for cause in _of_one_adapter(adapter, some))


def order(found: Iterable[Cause]) -> list[Cause]:
    """Causes in the order of a report: those in the contract and the layout, then the most frequent, and last those
    that are only componentwise.
    """
    return sorted(found, key=_order)


def _order(c: Cause) -> tuple[bool, bool, int, int]:
    is_minor = c.severity.level == "componentwise"
    return c.worst.check not in CHECKS[:2], is_minor, -c.cases, CHECKS.index(c.worst.check)


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
    for some in group_unexplained(left):
        yield Cause(adapter, len(some), sort_checks(some), smallest(some), severity_of(some))


def group_unexplained(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Unexplained failures by what they have in common: the level, and what was wrong with the quantity, in words, or
    else the kind of quantity and the activation of its layer. If a kind fails in many activations, the activation does
    not separate. A call of hundreds that gives other bits is of one cause with the second call, if that does so too.
    """
    activations: dict[str, set[str]] = defaultdict(set)
    for v in verdicts:
        activations[v.kind].add(v.activation or "")
    known = {(v.level or "", v.grade): v.gist for v in reversed(verdicts) if v.quantity == SAME_CALL and v.is_finding}
    found: dict[tuple[str, ...], list[Verdict]] = defaultdict(list)
    for v in verdicts:
        level = v.level or ""
        if v.message:
            found[level, v.check, known.get((level, v.grade), v.gist) if v.quantity == SOAK else v.gist].append(v)
        else:
            found[level, "", v.kind, "" if len(activations[v.kind]) > _MANY else v.activation or ""].append(v)
    return list(found.values())


def _sigmas(verdict: Verdict, name: str) -> float | None:
    return next((e.sigmas for e in explanations_of(verdict) if e.name == name and e.fits), None)


def _largest(verdicts: Sequence[Verdict], name: str) -> float:
    return max((s for v in verdicts if (s := _sigmas(v, name)) is not None), default=0.0)


def _explained(adapter: str, covered: Sequence[Verdict], names: Sequence[str]) -> Cause:
    worst = smallest([v for v in covered if any(e.name in names for e in explanations_of(v))])
    mistakes = tuple(next(e for e in explanations_of(worst) if e.name == name) for name in names)
    return Cause(adapter, len(covered), sort_checks(covered), worst, severity_of(covered), mistakes)


def sort_checks(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """The checks of some verdicts, each once, in dependency order."""
    found = {v.check for v in verdicts}
    return tuple(check for check in CHECKS if check in found)


def smallest(verdicts: Sequence[Verdict]) -> Verdict:
    """The finding that is shown: the one in the case with the fewest numbers, and of equally small cases the first by
    id. A finding whose tolerance is not zero comes before one whose tolerance is.
    """
    return min(verdicts, key=lambda v: (not v.worst < math.inf, _size(v.case), v.case))


def _size(case: str) -> int:
    """How many numbers the parameters and the layers of a case hold."""
    structure = parse_case(case, tuple(REGIMES)).structure
    widths = structure.network.widths
    return sum((a + 1) * b for a, b in pairwise(widths)) + structure.batch * sum(widths)
