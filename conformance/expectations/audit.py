"""The audit of expectations after a run: which of them matched a finding, and which fail the run.

A list of known divergences must not outlive them, and a typo must not hide that an entry matches nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from ..cases.description import Description
from ..cases.plan import PROFILES, Options, plan
from ..checks.verdict import Status, Verdict
from .expectation import Expectation

Key = tuple[str, str]
"""(adapter name, case id): what is planned and accounted for."""

State = Literal["met", "open", "stale", "unmatched"]
FAILING: tuple[State, ...] = ("stale", "unmatched")

_ANSWERED = ("passed", "expected", "inconclusive", "unsupported")


@dataclass(frozen=True)
class AuditResult:
    """The audit of one expectation: how many planned cases it matches, how many findings of the run, and its state,
    with a message if the state fails the run.

    `met`: it matched a finding. `stale`: it matched none, in cases that were all answered. `unmatched`: there is no
    case that it could match. `open`: this run cannot say, for instance because a mutant is planted in the adapter.
    """

    id: str
    cases: int
    findings: int
    state: State
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Its fields, without an empty message."""
        return {name: value for name, value in asdict(self).items() if value != ""}


@dataclass(frozen=True)
class ExpectationAudit:
    """The expectations of a run, with its adapters and options, and whether the file is the user's own.

    Entries of the shipped file that do not apply to these adapters are ignored. Every entry of the user's own file must
    apply. What is judged in a trace was not planned to show anything, so there no entry fails.
    """

    entries: tuple[Expectation, ...]
    adapters: tuple[Description, ...]
    options: Options
    user_supplied: bool
    is_of_trace: bool = False

    def of(self, adapter: Description) -> tuple[Expectation, ...]:
        """The expectations that concern this adapter, in their order."""
        return tuple(entry for entry in self.entries if entry.concerns(adapter))

    @property
    def applicable(self) -> tuple[Expectation, ...]:
        """The expectations that are audited: all that concern an adapter of the run in its version. Of the user's own,
        also those that concern no adapter of the run in any version.
        """
        return tuple(e for e in self.entries if self._named(e) or (self.user_supplied and self._is_stranger(e)))

    def _named(self, entry: Expectation) -> tuple[Description, ...]:
        return tuple(a for a in self.adapters if entry.concerns(a))

    def _is_stranger(self, entry: Expectation) -> bool:
        anywhere = replace(entry, versions="", device="*")
        return not any(anywhere.concerns(a) for a in self.adapters)

    def results(
        self,
        planned: Sequence[Key],
        answered: Mapping[Key, Status],
        findings: Mapping[str, int],
        of_run: Mapping[str, Sequence[Verdict]] | None = None,
    ) -> tuple[AuditResult, ...]:
        """The audit of each applicable expectation, given the planned cases, the status of each answered case, and the
        number of findings that each expectation matches, by id. `of_run` holds the verdicts on the run as a whole, by
        adapter.
        """
        if self.is_of_trace:
            return tuple(_audit_in_trace(entry, planned, findings.get(entry.id, 0)) for entry in self.applicable)
        return tuple(
            self._audit_of_run(entry, planned, findings.get(entry.id, 0), of_run or {})
            if entry.is_of_run
            else self._audit_one(entry, planned, answered, findings.get(entry.id, 0))
            for entry in self.applicable
        )

    def _audit_of_run(
        self, entry: Expectation, planned: Sequence[Key], findings: int, of_run: Mapping[str, Sequence[Verdict]]
    ) -> AuditResult:
        """The audit of an entry that is about whole runs only."""
        adapters = self._named(entry)
        if not adapters or findings:
            return self._audit_one(entry, planned, {}, findings)
        verdicts = [verdict for adapter in adapters for verdict in of_run.get(adapter.name, ())]
        grades = {verdict.grade for verdict in verdicts if entry.matches(replace(verdict, grade="wrong"))}
        if grades != {"pass"} or any(adapter.mutant for adapter in adapters):
            return AuditResult(entry.id, 0, 0, "open")
        message = "the run as a whole shows nothing that it matches; remove it, or narrow it"
        return AuditResult(entry.id, 0, 0, "stale", f"{entry.label()}: {message}")

    def _audit_one(
        self, entry: Expectation, planned: Sequence[Key], answered: Mapping[Key, Status], findings: int
    ) -> AuditResult:
        adapters = self._named(entry)
        if not adapters:
            names = ", ".join(a.name for a in self.adapters)
            subject = "framework" if entry.framework else "name"
            return self._unmatched(
                entry, 0, f"none of the adapters {names} has this {subject}; fix the name, or remove the entry"
            )
        names = {adapter.name for adapter in adapters}
        cases = sum(name in names and entry.matches_case(case) for name, case in planned)
        if findings:
            return AuditResult(entry.id, cases, findings, "met")
        if self.user_supplied and not self._is_possible(entry, adapters, cases):
            patterns = "that its witness names" if cases else "of these adapters, in any profile"
            problem = f"it matches no case {patterns}, under seed {self.options.seed}; fix its patterns, or remove it"
            return self._unmatched(entry, cases, problem)
        if any(adapter.mutant for adapter in adapters):
            return AuditResult(entry.id, cases, 0, "open")  # the planted mistake may hide the divergence, or remove it
        statuses = [answered.get(key) for key in self._witnesses(entry, adapters)]
        if set(statuses) <= set(_ANSWERED) and set(statuses) & {"passed", "expected"}:
            message = f"nothing that it matches failed, in {len(statuses):,} cases; remove it, or narrow it"
            return AuditResult(entry.id, cases, 0, "stale", f"{entry.label()}: {message}")
        return AuditResult(entry.id, cases, 0, "open")

    def _unmatched(self, entry: Expectation, cases: int, message: str) -> AuditResult:
        return AuditResult(entry.id, cases, 0, "unmatched", f"{entry.label()}: {message}")

    def _witnesses(self, entry: Expectation, adapters: Sequence[Description]) -> list[Key]:
        """The cases that should show the divergence: those of a whole run in this profile, even if this run was
        restricted.
        """
        return [(a.name, c) for a in adapters for c in self._whole[a.name] if entry.is_witnessed_by(c)]

    @cached_property
    def _whole(self) -> dict[str, tuple[str, ...]]:
        return {adapter.name: tuple(_whole(adapter, self.options)) for adapter in self.adapters}

    def _is_possible(self, entry: Expectation, adapters: Sequence[Description], cases: int) -> bool:
        # Usually this profile answers already; a larger one may hold a case that this one lacks.
        profiles = dict.fromkeys((self.options.profile, *PROFILES))
        if cases and entry.witness == "*":
            return True
        return any(
            entry.is_witnessed_by(case)
            for profile in profiles
            for adapter in adapters
            for case in _whole(adapter, replace(self.options, profile=profile))
        )


def _audit_in_trace(entry: Expectation, planned: Sequence[Key], findings: int) -> AuditResult:
    cases = sum(entry.matches_case(case) for _, case in planned)
    return AuditResult(entry.id, cases, findings, "met" if findings else "open")


def _whole(adapter: Description, options: Options) -> Iterator[str]:
    """Every case id of a profile for an adapter under a seed, without any restriction."""
    everything = plan(replace(adapter, max_structures=None), Options(options.profile, options.seed))
    return (case.id for group in everything.groups for case in group.cases)


def count_matched(entries: Sequence[Expectation], verdicts: Iterable[Verdict]) -> Counter[str]:
    """How many findings of an adapter each expectation that concerns it matches, by id, whether or not an earlier one
    matches too.
    """
    findings = [verdict for verdict in verdicts if verdict.is_finding]
    return Counter(entry.id for entry in entries for verdict in findings if entry.matches(verdict))
