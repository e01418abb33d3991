"""The comparison of two records: one verdict, and what differs, from the environments to single cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...checks.verdict import Status, Verdict
from ...diagnosis.causes import Cause
from ..form.verdicts import CaseResult
from .changes import (
    BAD,
    Change,
    RunChange,
    compare_cases,
    compare_causes,
    compare_runs,
    count_grades,
    count_transitions,
)
from .facts import compare_arithmetic, compare_expectations, compare_kinks
from .margins import Moved, compare_margins
from .pairs import Fact, Pair, compare_environments, pair_adapters
from .recorded import Recorded, adapters_of

FailOn = Literal["regressions", "any"]


@dataclass(frozen=True)
class Cases:
    """The cases of one pair of adapters: how many both runs have, and how many only one of them. `failing` counts the
    failing cases of both runs, `transitions` the cases of both that went from one status to another, and `grades` those
    that fail in both with another grade.
    """

    pair: Pair
    common: int
    only_old: int
    only_new: int
    failing: tuple[int, int]
    transitions: tuple[tuple[Status, Status, int], ...]
    grades: tuple[tuple[str, str, int], ...]
    new_causes: tuple[Cause, ...]
    gone_causes: tuple[Cause, ...]

    @property
    def is_same(self) -> bool:
        """Whether both runs have the same cases."""
        return not self.only_old and not self.only_new


@dataclass(frozen=True)
class Comparison:
    """Two runs compared. `left_out` are the adapters of one run that stand beside none of the other."""

    environments: tuple[Fact, ...]
    cases: tuple[Cases, ...]
    changes: tuple[Change, ...]
    run_changes: tuple[RunChange, ...]
    margins: tuple[Moved, ...]
    kinks: tuple[Fact, ...]
    arithmetic: tuple[Fact, ...]
    expectations: tuple[Fact, ...]
    conforms: tuple[bool, bool]
    left_out: tuple[str, ...] = ()

    @property
    def regressions(self) -> int:
        """How many things are worse: cases of both runs that fail now, causes of failures among other cases that the
        old run has nothing like, checks of the run as a whole, and expectations that fail an otherwise conforming run.
        """
        count = sum(one.kind == "regression" for one in (*self.changes, *self.run_changes))
        count += sum(len(one.new_causes) for one in self.cases if not one.is_same)
        count += sum(number for one in self.cases for a, b, number in one.grades if (a, b) == ("inaccurate", "wrong"))
        return count or int(self.conforms == (True, False))

    @property
    def improvements(self) -> int:
        """How many cases and checks of the run fail no longer."""
        return sum(one.kind == "improvement" for one in (*self.changes, *self.run_changes))

    @property
    def differs(self) -> bool:
        """Whether anything differs but where the runs took place and what chance moves."""
        facts = self.changes or self.run_changes or self.kinks or self.arithmetic or self.expectations
        causes = any(one.new_causes or one.gone_causes or one.grades for one in self.cases)
        moved = any(one.is_beyond_noise for one in self.margins)
        return bool(facts or causes or moved or self.left_out) or self.conforms[0] != self.conforms[1]

    def fails(self, fail_on: FailOn) -> bool:
        """Whether the comparison fails."""
        return self.regressions > 0 or (fail_on == "any" and self.differs)


def compare_records(old: Recorded, new: Recorded) -> Comparison:
    """Compare two records. Raises ComparisonError if they have no adapter to compare."""
    pairs = pair_adapters(old, new)
    cases, changes, run_changes, margins = list[Cases](), list[Change](), list[RunChange](), list[Moved]()
    kinks, arithmetic = list[Fact](), list[Fact]()
    for pair in pairs:
        before, after = _cases_of(old, pair.old), _cases_of(new, pair.new)
        in_full = _in_full(new, pair.new)
        new_causes, gone_causes = compare_causes(pair, old, new)
        failing = (sum(one.status in BAD for one in side.values()) for side in (before, after))
        cases.append(
            Cases(
                pair, len(before.keys() & after.keys()), len(before.keys() - after.keys()),
                len(after.keys() - before.keys()), (next(failing), next(failing)),
                tuple(count_transitions(before, after)), tuple(count_grades(_in_full(old, pair.old), in_full)),
                tuple(new_causes), tuple(gone_causes),
            )
        )  # fmt: skip
        changes += compare_cases(pair, before, after, in_full)
        run_changes += compare_runs(pair, old, new)
        margins += compare_margins(pair.name, before, after)
        kinks += compare_kinks(pair, before, after)
        arithmetic += compare_arithmetic(pair, old, new)
    paired = {p.old for p in pairs}, {p.new for p in pairs}
    left_out = [f"{name} (old run only)" for name in adapters_of(old) if name not in paired[0]]
    left_out += [f"{name} (new run only)" for name in adapters_of(new) if name not in paired[1]]
    return Comparison(
        compare_environments(old, new, pairs), tuple(cases), tuple(changes), tuple(run_changes), tuple(margins),
        tuple(kinks), tuple(arithmetic), tuple(compare_expectations(old, new, pairs)), (old.conforms, new.conforms),
        tuple(left_out),
    )  # fmt: skip


def _in_full(record: Recorded, adapter: str) -> dict[str, Sequence[Verdict]]:
    return {case: some for (name, case), some in record.verdicts.items() if name == adapter}


def _cases_of(record: Recorded, adapter: str) -> dict[str, CaseResult]:
    return {case: one for (name, case), one in record.cases.items() if name == adapter}
