"""Kills: what becomes of each mutant in the cases of each regime, by the verdicts of `kterm check`."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ....adapters.registry import load
from ...cases.case import Group
from ...cases.draw import make_draws
from ...cases.plan import Description, Options, plan
from ...checks.examine import Examination, examine
from ...checks.verdict import Check, Verdict, quantity_of
from ...diagnosis.diagnose import diagnose
from ...expectations.expectation import Expectation, expectation_for
from ...mutants import MUTANTS, Mutant
from ...runners.runner import LocalRunner, Runner
from .trial import Memory, Silent, Tape

ENOUGH = 10.0
"""The margin, in tolerances, by which every mistake should be found."""

Tell = Callable[[str, Group, Sequence[Sequence[Verdict]]], Any]
"""What is asked of a group in which a mutant was found: given its name, the group and the verdicts with all that they
tell of the failures, plain JSON types. A function of a module, so that it can be sent to another process.
"""
_AGAIN = 25  # a mistake that is made now and then needs some calls
TOLD = 3
"""How many groups are told of each mutant in each dtype."""


@dataclass(frozen=True)
class Asked:
    """What is done to the mutants of one adapter, as plain data: the profile and seed, the expectations that concern
    the adapter, the checks that are not asked, whether z, x and k are hidden, whether a regime is left as soon as a
    mutant is found in it by the margin that is enough, and what is asked of what is found.
    """

    adapter: Description
    options: Options
    expectations: tuple[Expectation, ...] = ()
    device: str | None = None
    without: frozenset[Check] = frozenset()
    gradients_alone: bool = False
    brief: bool = False
    tell: Tell | None = None

    def groups(self, dtype: str) -> tuple[Group, ...]:
        """The groups that `kterm check --dtype` puts to the adapter, but for the probes where the layout is not asked
        after.
        """
        planned = plan(self.adapter, replace(self.options, dtypes=(dtype,))).groups
        return tuple(g for g in planned if g.regime != "layout" or "layout" not in self.without)

    def expectation_for(self, verdict: Verdict) -> str | None:
        """Excuses what is expected, and what comes of a check that is not asked: what lies behind is then judged from
        the adapter's own values.
        """
        asked = quantity_of(verdict.quantity)[0] if verdict.check == "descent" else None
        if verdict.check in self.without or asked in self.without:
            return "not asked"
        return expectation_for(verdict, self.expectations)


@dataclass
class Cell:
    """What became of a mutant in the cases of a regime: how many were judged, in how many it was found, by how many
    tolerances at most, in which first, and by which checks.
    """

    cases: int = 0
    killed: int = 0
    margin: float = 0.0
    first: str | None = None
    checks: dict[str, int] = field(default_factory=dict)

    def add(self, verdicts: Sequence[Verdict], found: Sequence[Verdict]) -> None:
        """Count a case, and what was found in it."""
        self.cases += any(verdict.grade != "blocked" for verdict in verdicts)
        if not found:
            return
        self.killed += 1
        self.margin = max(self.margin, margin(found))
        self.first = self.first or found[0].case
        for check in {verdict.check: None for verdict in found}:
            self.checks[check] = self.checks.get(check, 0) + 1


@dataclass
class Fate:
    """What became of a mutant in one dtype, by regime; of the adapter itself where the name is empty.

    `differs` says whether any answer differed from the adapter's own. `found_in` is the first group in which it was
    found, and `told` what was asked of the first few of them.
    """

    mutant: str
    dtype: str
    regimes: dict[str, Cell] = field(default_factory=dict)
    differs: bool = False
    found_in: Group | None = None
    told: list[Any] = field(default_factory=list)

    @property
    def margin(self) -> float:
        """The largest of all regimes; 0 where it was not found."""
        return max((cell.margin for cell in self.regimes.values()), default=0.0)

    @property
    def is_found(self) -> bool:
        """Whether a check with it on fails."""
        return any(cell.killed for cell in self.regimes.values())


def findings(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """What fails a run."""
    return [verdict for verdict in verdicts if verdict.fails]


def margin(found: Iterable[Verdict]) -> float:
    """By how many tolerances the worst of the findings departs; infinite where it is no matter of a tolerance."""
    return max((math.inf if v.message or v.grade == "errored" else v.worst for v in found), default=0.0)


class Trial:
    """One adapter and some mutants to be put on it, group by group, in one process. A mutant that remembers calls has
    its own memory from group to group.
    """

    def __init__(self, asked: Asked, names: Sequence[str]) -> None:
        """Raises AdapterError where the adapter does not load."""
        self.asked, self._memory, spec = asked, Memory(), asked.adapter.spec
        adapter = self._memory.around(load(spec, asked.device))
        self._itself = self._shown(LocalRunner(adapter, spec))
        mutant_name = {name: self._memory.plant_mutant(adapter, MUTANTS[name]) for name in names}
        self._runs: dict[str, Runner] = {name: self._shown(LocalRunner(one, spec)) for name, one in mutant_name.items()}
        self._premises: dict[str, str] = {}

    def _shown(self, runs: Runner) -> Runner:
        return Silent(runs) if self.asked.gradients_alone else runs

    def of(self, group: Group, names: Iterable[str]) -> Iterator["Tried"]:
        """What comes of the adapter itself in a group, and then of it with each of these mutants on."""
        drawn = make_draws(group.cases)
        try:
            own, itself = Tape(self._itself), list[list[Verdict]]()
            for name in ("", *names):
                tape = Tape(self._runs[name]) if name else own
                judge = partial(examine, group, expectation_for=self.asked.expectation_for, draws=drawn)
                verdicts = judge(tape, layout_error=self._premises.get(name)).verdicts
                if group.regime == "layout" and (found := findings(v for some in verdicts for v in some)):
                    self._premises.setdefault(name, found[0].message)
                itself = itself if name else verdicts
                yield Tried(name, group, verdicts, itself, tape, own, judge)
        finally:
            self._memory.forget()


@dataclass(frozen=True)
class Tried:
    """What came of a mutant in a group: the verdicts of each case."""

    name: str
    group: Group
    verdicts: list[list[Verdict]]
    itself: list[list[Verdict]]
    """The verdicts of each case where the adapter wears nothing."""
    _tape: Tape
    _own: Tape
    _judge: partial[Examination]

    @property
    def differs(self) -> bool:
        """Whether an answer differed from the adapter's own."""
        return not self._tape.equals(self._own)

    @property
    def calls(self) -> int:
        """How often a program was called."""
        return self._tape.calls

    @property
    def found(self) -> list[list[Verdict]]:
        """The findings in each case, but for those in which the adapter by itself departs."""
        own = [findings(verdicts) for verdicts in self.itself]
        return [
            [] if self.name and beside else findings(verdicts)
            for verdicts, beside in zip(self.verdicts, own, strict=True)
        ]

    def silent(self) -> "Tried":
        """The same answers, with neither z, x nor k shown."""
        mine, own = Tape(Silent(self._tape.again())), Tape(Silent(self._own.again()))
        verdicts, itself = (self._judge(tape).verdicts for tape in (mine, own))
        return replace(self, verdicts=verdicts, itself=itself, _tape=mine, _own=own)

    def told(self) -> list[list[Verdict]]:
        """The verdicts on the same answers, with all that they tell of failures."""
        return diagnose(self.group, self._judge(self._tape.again()), self._judge.keywords["expectation_for"])

    def count(self, fate: Fate, tell: Tell | None = None) -> None:
        """Add it to the mutant's fate."""
        cell = fate.regimes.setdefault(self.group.regime, Cell())
        before = cell.killed
        for verdicts, found in zip(self.verdicts, self.found, strict=True):
            cell.add(verdicts, found)
        fate.differs = fate.differs or self.differs
        if cell.killed == before:
            return
        fate.found_in = fate.found_in or self.group
        if self.name and tell is not None and len(fate.told) < TOLD:
            fate.told.append(tell(self.name, self.group, self.told()))


def measure(
    asked: Asked,
    dtype: str,
    names: Sequence[str],
    done: Callable[[], object] | None = None,
    groups: Sequence[Group] | None = None,
) -> list[Fate]:
    """The fates of the adapter itself and of some mutants on it in a dtype, calling `done` after each group; in other
    groups than those of the profile, where some are given.

    Raises AdapterError where the adapter does not load.
    """
    trial = Trial(asked, names)
    fates = {name: Fate(name, dtype) for name in ("", *names)}
    for group in asked.groups(dtype) if groups is None else groups:
        due = [name for name in names if not (asked.brief and _is_settled(fates[name], group.regime))]
        for tried in trial.of(group, due):
            tried.count(fates[tried.name], asked.tell)
        if done is not None:
            done()
    return list(fates.values())


def _is_settled(fate: Fate, regime: str) -> bool:
    return regime in fate.regimes and fate.regimes[regime].margin >= ENOUGH


def differs(asked: Asked, name: str, group: Group) -> bool:
    """Whether an answer in a group, put to an adapter again and again, differs from its own where it wears a mutant."""
    trial = Trial(asked, [name])
    return any(tried.differs for _ in range(_AGAIN) for tried in trial.of(group, [name]))


def mutants(names: Sequence[str]) -> list[Mutant]:
    """The mutants of these names; all where there are none."""
    return [MUTANTS[name] for name in names or MUTANTS]
