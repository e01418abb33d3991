"""The lines of a campaign added up, in the order of its units."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...cases.description import Description
from ...checks.verdict import RUN_CHECKS, STATUSES, status
from ...checks.whole_run.moments import Key, Moments, Sums, from_rows, merge
from ...checks.whole_run.verdicts import Judged, judge_run, verdicts_of
from ...expectations.expectation import Expectation, expectation_for
from .anytime import rate_at_any_time
from .line import UnitLine, largest, least, read_statuses


@dataclass
class Totals:
    """What the units of one adapter say together. The fields are those of `UnitLine`.

    It depends on which units there are, and not on where, when or in which order they ran: counts and moments are
    integers, and of equal extremes the first in the order of their names is kept.
    """

    adapter: str
    units: int = 0
    cases: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    checks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by: dict[tuple[str, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    margins: list[tuple[float, str, str]] = field(default_factory=list)
    powers: list[tuple[float, str, str]] = field(default_factory=list)
    largest: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    expected: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)
    below_level: int = 0
    moments: dict[Key, Sums] = field(default_factory=dict)
    failing: int = 0
    """How many cases have a finding or an error that fails."""

    def add(self, line: UnitLine) -> None:
        """Add a unit. Raises ValueError for a line that no campaign wrote."""
        found = read_statuses(line.statuses)
        self.units += 1
        self.cases += len(found)
        self.statuses.update(found)
        for check, counts in line.checks.items():
            self.checks[check].update(counts)
        for activation, dtype, regime, counts in line.by:
            self.by[activation, dtype, regime].update(counts)
        self.margins = largest([*self.margins, *line.margins])
        self.powers = least([*self.powers, *line.powers])
        for dtype, kind, margin, case in line.largest:
            best = self.largest.get((dtype, kind))
            if best is None or (-margin, case) < (-best[0], best[1]):
                self.largest[dtype, kind] = margin, case
        self.expected.update(line.expected)
        self.matched.update(line.matched)
        self.below_level += line.below_level
        self._add_moments(from_rows(line.moments))
        self.failing += len({verdict.case for verdict in line.verdicts})

    def _add_moments(self, moments: Moments) -> None:
        for key, sums in moments.items():
            self.moments[key] = self.moments[key] + sums if key in self.moments else sums

    def judge(self, adapter: Description, entries: Sequence[Expectation]) -> list[Judged]:
        """The verdicts of `bias` and `spread`, with the expectations that concern the adapter. They may be asked for
        after any unit, and together keep the rate of false alarms of one run.
        """
        return judge_run(
            merge([self.moments]),
            lambda verdict: expectation_for(verdict, entries),
            adapter.one_sided,
            lambda means: lambda variance: rate_at_any_time(means, variance),
        )

    def count_checks(self, judged: Iterable[Judged]) -> dict[str, dict[str, int]]:
        """Cases by check and status, and the quantities of `bias` and `spread`."""
        counts = {check: Counter(some) for check, some in self.checks.items()}
        for verdict in verdicts_of(judged):
            counts.setdefault(verdict.check, Counter())[status([verdict])] += 1
        order = (*(check for check in self.checks if check not in RUN_CHECKS), *RUN_CHECKS)
        return {check: _in_order(counts[check]) for check in sorted(order) if counts.get(check)}

    def to_json(self) -> dict[str, Any]:
        """Counts and extremes as plain data, without what is judged."""
        return {
            "adapter": self.adapter,
            "units": self.units,
            "cases": self.cases,
            "statuses": _in_order(self.statuses),
            "by": [[*key, _in_order(found)] for key, found in sorted(self.by.items())],
            "margins": self.margins,
            "powers": self.powers,
            "largest": [[*key, *found] for key, found in sorted(self.largest.items())],
            "expected": dict(sorted(self.expected.items())),
            "below_level": self.below_level,
        }


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in STATUSES if counts[name]}
