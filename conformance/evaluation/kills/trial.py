"""Trials: an adapter with each of many mutants planted in turn, examined by the checks of `kterm check`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from ....adapters.registry import load
from ...cases.case import Group
from ...cases.description import Description
from ...cases.draw import make_draws
from ...cases.plan import Options, plan
from ...checks.examine import Examination, examine
from ...checks.findings import ExpectationFor
from ...checks.verdict import Check, Verdict, quantity_of
from ...diagnosis.diagnose import Located, diagnose, locate_failures
from ...expectations.expectation import Expectation, expectation_for, matcher
from ...mutants import MUTANTS
from ...runners.runner import LocalRunner, Runner
from .outcome import Cell, Outcome, select_findings
from .recording import AnswerCache, RecordedRunner, hide_intermediates

Summarize = Callable[[str, Group, Sequence[Sequence[Verdict]]], Any]
"""Summarizes a group that killed a mutant: from the mutant's name, the group, and the verdicts of each case with their
diagnosis, to plain JSON types. It is a function of a module, so that it can be sent to another process.
"""
Judge = Callable[..., Examination]
"""`examine` of one group."""
SUMMARIES_PER_MUTANT = 3
"""How many groups are summarized for each mutant in each dtype."""
_REPETITIONS = 25  # a mistake that is made only now and then needs some calls


@dataclass(frozen=True)
class TrialOptions:
    """How the mutants of one adapter are tried, as plain data: with the profile and seed of `options`, and the
    expectations that concern the adapter.

    `without` are checks to leave out. `gradients_alone` hides z, x and k. `brief` skips the rest of a regime once a
    mutant has been killed in it by `SUFFICIENT_MARGIN`.
    """

    adapter: Description
    options: Options
    expectations: tuple[Expectation, ...] = ()
    device: str | None = None
    without: tuple[Check, ...] = ()
    gradients_alone: bool = False
    brief: bool = False
    summarize: Summarize | None = None

    def groups(self, dtype: str) -> tuple[Group, ...]:
        """The groups of `kterm check --dtype DTYPE`; without the layout's probes where that check is left out."""
        planned = plan(self.adapter, replace(self.options, dtypes=(dtype,))).groups
        return tuple(g for g in planned if g.regime != "layout" or "layout" not in self.without)

    @property
    def expectation_for(self) -> ExpectationFor:
        """The adapter's expectations. Findings of checks that are left out count as expected, so that what depends on
        them is judged from the adapter's own values.
        """
        return replace(matcher(self.expectations), find=self._find_expectation)

    def _find_expectation(self, verdict: Verdict) -> str | None:
        quantity = quantity_of(verdict.quantity)[0] if verdict.check == "descent" else None
        if verdict.check in self.without or quantity in self.without:
            return "not asked"
        return expectation_for(verdict, self.expectations)


class Trial:
    """One adapter and some mutants to be planted in it, group by group, in one process. A mutant that remembers calls
    remembers them from group to group.
    """

    def __init__(self, options: TrialOptions, names: Sequence[str]) -> None:
        """Raises AdapterError where the adapter does not load."""
        self.options, self._cache, spec = options, AnswerCache(), options.adapter.spec
        adapter = self._cache.wrap_adapter(load(spec, options.device))
        adapters = {name: self._cache.plant_mutant(adapter, MUTANTS[name]) for name in names}
        self._runners = {name: self._hide(LocalRunner(one, spec)) for name, one in ({"": adapter} | adapters).items()}
        self._premises: dict[str, str] = {}

    def _hide(self, runner: Runner) -> Runner:
        return hide_intermediates(runner) if self.options.gradients_alone else runner

    def run(self, group: Group, names: Iterable[str]) -> Iterator["TrialResult"]:
        """Examine the adapter in a group, first without a mutant and then with each of those named."""
        drawn = make_draws(group.cases)
        try:
            judge = partial(examine, group, expectation_for=self.options.expectation_for, draws=drawn)
            own, own_verdicts = RecordedRunner(self._runners[""]), list[list[Verdict]]()
            hide_own = cache(lambda: _hide_intermediates(own, judge))
            own_examination: Examination | None = None
            for name in ("", *names):
                recorded = RecordedRunner(self._runners[name]) if name else own
                # Most mutants leave most answers as they are, and a mutant declares what its adapter does.
                find_known = partial(_known_if_equal, own_examination, recorded, own)
                examination = judge(recorded, layout_error=self._premises.get(name), find_known=find_known)
                own_examination, verdicts = own_examination or examination, examination.verdicts
                if group.regime == "layout" and (found := select_findings(v for some in verdicts for v in some)):
                    self._premises.setdefault(name, found[0].message)
                own_verdicts = own_verdicts if name else verdicts
                yield TrialResult(name, group, verdicts, own_verdicts, recorded, own, self.options, judge, hide_own)
        finally:
            self._cache.clear()


@dataclass(frozen=True)
class TrialResult:
    """The verdicts on each case of a group with a mutant planted. An empty name stands for the adapter without one."""

    name: str
    group: Group
    verdicts: list[list[Verdict]]
    own_verdicts: list[list[Verdict]]
    """The verdicts on each case without a mutant."""
    _recorded: RecordedRunner
    _own: RecordedRunner
    _options: TrialOptions
    _judge: Judge
    _hide_own: Callable[[], tuple[list[list[Verdict]], RecordedRunner]]

    @property
    def differs(self) -> bool:
        """Whether an answer differed by a bit from the adapter's own."""
        return not self._recorded.equals(self._own)

    @property
    def calls(self) -> int:
        """How often a program was called."""
        return self._recorded.calls

    @property
    def found(self) -> list[list[Verdict]]:
        """The findings in each case. A case that fails without a mutant says nothing about one: it has none."""
        own = [select_findings(verdicts) for verdicts in self.own_verdicts]
        return [
            [] if self.name and beside else select_findings(verdicts)
            for verdicts, beside in zip(self.verdicts, own, strict=True)
        ]

    def hide_intermediates(self) -> "TrialResult":
        """The result of the same answers without z, x and k."""
        own_verdicts, own = self._hide_own()
        verdicts, mine = _hide_intermediates(self._recorded, self._judge) if self.differs else (own_verdicts, own)
        return replace(self, verdicts=verdicts, own_verdicts=own_verdicts, _recorded=mine, _own=own)

    def diagnose(self) -> list[list[Verdict]]:
        """The verdicts on the same answers, with the diagnosis of what failed."""
        examination = self._judge(self._recorded.replay())
        return diagnose(self.group, examination, self._options.expectation_for)

    def locate(self) -> Located:
        """Where the failures of the same answers begin, and the questions about them."""
        examination = self._judge(self._recorded.replay())
        return locate_failures(self.group, examination, self._options.expectation_for)

    def add_to(self, outcome: Outcome, summarize: Summarize | None = None) -> None:
        """Count this result in the mutant's outcome."""
        cell = outcome.regimes.setdefault(self.group.regime, Cell())
        before = cell.killed
        for verdicts, found in zip(self.verdicts, self.found, strict=True):
            cell.add(verdicts, found)
        outcome.differs = outcome.differs or self.differs
        if cell.killed == before:
            return
        outcome.found_in = outcome.found_in or self.group
        if self.name and summarize is not None and len(outcome.summaries) < SUMMARIES_PER_MUTANT:
            outcome.summaries.append(summarize(self.name, self.group, self.diagnose()))


def _known_if_equal(known: Examination | None, recorded: RecordedRunner, own: RecordedRunner) -> Examination | None:
    """The examination of the adapter's own answers, where the recorded ones are the same."""
    return known if known is not None and recorded.equals(own) else None


def _hide_intermediates(recorded: RecordedRunner, judge: Judge) -> tuple[list[list[Verdict]], RecordedRunner]:
    hidden = RecordedRunner(hide_intermediates(recorded.replay()))
    return judge(hidden).verdicts, hidden


def measure_outcomes(
    options: TrialOptions,
    dtype: str,
    names: Sequence[str],
    done: Callable[[], object] | None = None,
    groups: Sequence[Group] | None = None,
) -> list[Outcome]:
    """The outcomes of the adapter without a mutant, and of each mutant, in one dtype. `done` is called after each
    group. `groups` replaces the groups of the profile.

    Raises AdapterError where the adapter does not load.
    """
    trial = Trial(options, names)
    outcomes = {name: Outcome(name, dtype) for name in ("", *names)}
    for group in options.groups(dtype) if groups is None else groups:
        due = [n for n in names if not (options.brief and outcomes[n].has_sufficient_margin(group.regime))]
        for result in trial.run(group, due):
            result.add_to(outcomes[result.name], options.summarize)
        if done is not None:
            done()
    return list(outcomes.values())


def changes_answers(options: TrialOptions, name: str, group: Group) -> bool:
    """Whether a mutant changes any answer in a group by a bit, in several repetitions."""
    trial = Trial(options, [name])
    return any(result.differs for _ in range(_REPETITIONS) for result in trial.run(group, [name]))
