"""Outcomes: in how many cases of each regime a mutant is killed, by which checks, and by what margin.

For example, the mutant `factor-2` on numpy in f32 may have the outcome {"normal": Cell(cases=12, killed=12, margin=3e5,
...), ...}: all twelve cases of the regime "normal" fail, and the worst value is 3e5 tolerances off.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...cases.case import Group
from ...checks.verdict import Verdict

SUFFICIENT_MARGIN = 10.0
"""The margin, in tolerances, by which every mistake should be killed."""


@dataclass
class Cell:
    """A mutant in the cases of one regime: how many cases were judged, in how many it was killed, the largest margin in
    tolerances, the id of the first case that killed it, and for each check the number of cases in which it failed.
    """

    cases: int = 0
    killed: int = 0
    margin: float = 0.0
    first: str | None = None
    checks: dict[str, int] = field(default_factory=dict)

    def add(self, verdicts: Sequence[Verdict], found: Sequence[Verdict]) -> None:
        """Count a case with these verdicts; `found` are those that kill the mutant."""
        self.cases += any(verdict.grade != "blocked" for verdict in verdicts)
        if not found:
            return
        self.killed += 1
        self.margin = max(self.margin, compute_margin(found))
        self.first = self.first or found[0].case
        for check in {verdict.check: None for verdict in found}:
            self.checks[check] = self.checks.get(check, 0) + 1


@dataclass
class Outcome:
    """What became of a mutant in one dtype, by regime. An empty name stands for the adapter without a mutant.

    `differs` says whether any answer differed by a bit from the adapter's own. `found_in` is the first group that
    killed the mutant; `summaries` are those of the first few groups that did, as `TrialOptions.summarize` makes them.
    """

    mutant: str
    dtype: str
    regimes: dict[str, Cell] = field(default_factory=dict)
    differs: bool = False
    found_in: Group | None = None
    summaries: list[Any] = field(default_factory=list)

    @property
    def margin(self) -> float:
        """The largest margin of all regimes, in tolerances; 0 where the mutant was not killed."""
        return max((cell.margin for cell in self.regimes.values()), default=0.0)

    @property
    def is_found(self) -> bool:
        """Whether a check of the adapter with this mutant fails."""
        return any(cell.killed for cell in self.regimes.values())

    def has_sufficient_margin(self, regime: str) -> bool:
        """Whether the mutant has been killed in the regime by SUFFICIENT_MARGIN."""
        return regime in self.regimes and self.regimes[regime].margin >= SUFFICIENT_MARGIN


def select_findings(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that fail a run."""
    return [verdict for verdict in verdicts if verdict.fails]


def compute_margin(found: Iterable[Verdict]) -> float:
    """The number of tolerances by which the worst finding is off; infinite where a finding is not measured in
    tolerances, such as a wrong layout or an exception.
    """
    return max((math.inf if v.message or v.grade == "errored" else v.worst for v in found), default=0.0)
