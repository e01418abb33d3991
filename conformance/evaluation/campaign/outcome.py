"""What a campaign found, from the lines of its units alone: a verdict for each adapter, as text and as JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import msgspec

from ...cases.description import Description
from ...checks.verdict import Status, Verdict
from ...checks.whole_run.verdicts import Judged, verdicts_of
from ...expectations.audit import FAILING, AuditResult, Key, count_matched
from ...records.form.files import RecordError
from ...records.form.text import count, printable
from ...records.form.verdicts import to_number
from ...records.form.words import reason_of, words
from ...records.report import failure_lines, format_verdict
from ...records.run import Run
from ...records.whole_run import finding_lines, power_lines
from ...records.whole_run import to_json as judged_to_json
from ..calibration.limit import CONFIDENCE, compute_upper_limit
from .causes import Diagnosis, find_causes
from .line import UnitLine, decode, read_statuses
from .store import SCHEMA, Store
from .totals import Totals
from .units import Unit, make_units

_SHOWN = 3
"""How many margins are printed for each adapter."""
_RIGHT = ("passed", "inconclusive", "failed")
"""The statuses of cases that a sound adapter could have: a failed one would be a false alarm."""


@dataclass(frozen=True)
class Outcome:
    """What a campaign says of one adapter. `stale` are the expectations that fail it."""

    adapter: Description
    totals: Totals
    judged: tuple[Judged, ...]
    diagnosis: Diagnosis
    audited: tuple[AuditResult, ...]

    @property
    def of_run(self) -> list[Verdict]:
        """The verdicts of `bias` and `spread`."""
        return list(verdicts_of(self.judged))

    @property
    def stale(self) -> list[AuditResult]:
        """The expectations that fail the adapter."""
        return [one for one in self.audited if one.state in FAILING]

    @property
    def failures(self) -> int:
        """Cases that failed or gave an error, and findings of all cases together."""
        statuses = self.totals.statuses
        return statuses["failed"] + statuses["errored"] + sum(verdict.fails for verdict in self.of_run)

    @property
    def passes(self) -> bool:
        """Whether something was judged, nothing failed or was blocked, and no expectation is out of date."""
        judged = sum(
            found[name] for (_, _, regime), found in self.totals.by.items() if regime != "layout"
            for name in ("passed", "expected")
        )  # fmt: skip
        return bool(judged) and not (self.failures or self.totals.statuses["blocked"] or self.stale)

    @property
    def right(self) -> tuple[int, int]:
        """How many cases failed, of how many that a sound adapter would have passed or left undecided."""
        statuses = self.totals.statuses
        return statuses["failed"], sum(statuses[name] for name in _RIGHT)


@dataclass(frozen=True)
class Conclusion:
    """A campaign as far as it is: `cases` in `units`, under the seeds from `first` to `last`."""

    run: Run
    outcomes: tuple[Outcome, ...]
    units: int
    cases: int
    first: int
    last: int

    @property
    def conforms(self) -> bool:
        """Whether all adapters pass."""
        return all(one.passes for one in self.outcomes)


def conclude(run: Run, store: Store, cost: float) -> Conclusion:
    """What the units in a store say together, in the order of their numbers.

    Raises RecordError for a line that no campaign wrote.
    """
    totals = {adapter.name: Totals(adapter.name) for adapter in run.adapters}
    seeds = {run.options.seed}
    for number, text in store.lines():
        line = _read(store, number, text)
        try:
            totals[line.adapter].add(line)
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(store, number, error) from None
        seeds.add(line.seed)
    audited = _audit(run, store, cost, totals)
    outcomes = []
    for adapter in run.adapters:
        own, entries = totals[adapter.name], run.concerning(adapter.name)
        diagnosis = Diagnosis()
        if own.failing:
            units = _units_of(run, store, cost, adapter.name)
            diagnosis = find_causes(adapter, units, run.expectation_for(adapter.name))
        mine = {entry.id for entry in entries}
        outcomes.append(
            Outcome(
                adapter,
                own,
                tuple(own.judge(adapter, entries)),
                diagnosis,
                tuple(one for one in audited if one.id in mine or run.user_supplied),
            )
        )
    cases = sum(one.cases for one in totals.values())
    return Conclusion(run, tuple(outcomes), len(store.done), cases, min(seeds), max(seeds))


def _read(store: Store, number: int, text: bytes) -> UnitLine:
    try:
        return decode(text)
    except msgspec.MsgspecError as error:
        raise _damaged(store, number, error) from None


def _damaged(store: Store, number: int, error: Exception) -> RecordError:
    said = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    return RecordError(f"campaign {store.folder}: unit {number} is damaged ({said:.100}); delete its line")


def _units_of(run: Run, store: Store, cost: float, adapter: str) -> Iterator[tuple[Unit, UnitLine]]:
    """The units of an adapter that are there, with their lines, in order."""
    last = max(store.done, default=-1)
    for unit in takewhile(lambda unit: unit.number <= last, make_units(run, cost)):
        if unit.adapter == adapter:
            for number, text in store.lines([unit.number]):
                yield unit, _read(store, number, text)


def _audit(run: Run, store: Store, cost: float, totals: dict[str, Totals]) -> tuple[AuditResult, ...]:
    """The audit of the expectations, once all units under the first seed are there: they hold the cases of a run of
    this profile, and with them those that are sure to show each divergence. Empty before.
    """
    first = list(takewhile(lambda unit: unit.seed == run.options.seed, make_units(run, cost)))
    if not {unit.number for unit in first} <= store.done:
        return ()
    planned: list[Key] = []
    answered: dict[Key, Status] = {}
    for unit in first:
        for number, text in store.lines([unit.number]):
            statuses = read_statuses(_read(store, number, text).statuses)
            keys = [(unit.adapter, case.id) for group in unit.groups for case in group.cases]
            planned += keys
            answered.update(zip(keys, statuses, strict=True))
    findings = sum((one.matched for one in totals.values()), Counter[str]())
    of_run = {}
    for adapter in run.adapters:
        entries = run.concerning(adapter.name)
        of_run[adapter.name] = list(verdicts_of(totals[adapter.name].judge(adapter, entries)))
        findings.update(count_matched(entries, of_run[adapter.name]))
    return run.audit.results(planned, answered, findings, of_run)


def verdict_lines(found: Conclusion) -> list[tuple[str, bool]]:
    """The campaign in a line for each adapter, as `kterm check` has it, and whether it passes."""
    lines = []
    for one in found.outcomes:
        statuses = one.totals.statuses
        known = {entry.reason for entry in found.run.concerning(one.adapter.name) if one.totals.matched[entry.id]}
        about, cases = one.adapter.to_json(), one.totals.cases
        line = format_verdict(about, one.passes, cases, one.failures, len(known), statuses, stale=len(one.stale))
        lines.append((line, one.passes))
    return lines


def summary_lines(found: Conclusion) -> list[str]:
    """What was found, below the verdict: failures by cause, known divergences, bias and spread, false alarms, and the
    margins that are nearest to their limit.
    """
    seeds = f"seed {found.first}" if found.first == found.last else f"seeds {found.first} to {found.last}"
    lines = [f"{found.cases:,} cases in {count(found.units, 'unit')}, {seeds}"]
    for one in found.outcomes:
        lines += ["", *_outcome_lines(found.run, one)]
    return [printable(line) for line in lines]


def _outcome_lines(run: Run, one: Outcome) -> Iterator[str]:
    adapter, name = one.adapter, one.adapter.name
    yield from _failure_lines(run, one)
    by_reason: dict[str, int] = {}
    for entry in run.concerning(name):
        if number := one.totals.expected[entry.id]:
            by_reason[reason_of(entry)] = by_reason.get(reason_of(entry), 0) + number
    for reason, number in by_reason.items():
        yield f"expected in {number:,} cases of {name}: {reason}"
    yield from power_lines(name, one.judged, run.options.dtypes or adapter.dtypes)
    yield from finding_lines(name, one.judged)
    yield from (result.message for result in one.audited if result.message)
    failed, of = one.right
    if of and not adapter.mutant:
        limit = compute_upper_limit(failed, of)
        yield (
            f"if {name} computes rightly, all of its failures are false alarms of kterm: {failed:,} in {of:,} cases, a "
            f"rate below {limit:.2g} at {CONFIDENCE:.0%} confidence"
        )
    for margin, quantity, case in one.totals.margins[:_SHOWN]:
        yield f"nearest to its limit: {margin:.3g} of the tolerance, {quantity}; {_replay(run, adapter, case)}"
    for power, quantity, case in one.totals.powers[:1]:
        yield f"weakest pass: power {power:.2g}, {quantity}; {_replay(run, adapter, case)}"


def _failure_lines(run: Run, one: Outcome) -> Iterator[str]:
    diagnosis, failing = one.diagnosis, one.totals.failing
    if not failing:
        return
    if diagnosis.diagnosed < failing:
        yield f"causes are from {diagnosis.diagnosed:,} of {failing:,} failing cases"
    level = run.options.level
    yield from failure_lines(one.adapter, (), run.device, level, found=diagnosis.causes)
    yield ""


def _replay(run: Run, adapter: Description, case: str) -> str:
    return f"kterm replay {case} {words(adapter.to_json(), run.device)}" if adapter.spec else case


def to_json(found: Conclusion) -> dict[str, Any]:
    """All that was found, as plain data that depends on the cases alone, and not on how they were run."""
    return {
        "schema": SCHEMA,
        "conforms": found.conforms,
        "units": found.units,
        "cases": found.cases,
        "seeds": [found.first, found.last],
        "adapters": [_to_json(found.run, one) for one in found.outcomes],
    }


def _to_json(run: Run, one: Outcome) -> dict[str, Any]:
    failed, of = one.right
    return {
        "version": one.adapter.version,
        "mutant": one.adapter.mutant,
        "passes": one.passes,
        **one.totals.to_json(),
        "checks": one.totals.count_checks(one.judged),
        "false_alarms": {"found": failed, "of": of, "upper_limit": compute_upper_limit(failed, of) if of else None},
        "run": judged_to_json(one.judged),
        "means": [_means(judged) for judged in one.judged],
        "expectations": [result.to_json() for result in one.audited],
        "causes": [cause.to_json() for cause in one.diagnosis.causes],
        "diagnosed": one.diagnosis.diagnosed,
        "failing": one.totals.failing,
    }


def _means(one: Judged) -> dict[str, Any]:
    """The means of a quantity in σ, with the standard error and the limit of each. What is infinite is text."""
    means = {name: [to_number(float(f"{x:.6g}")) for x in (m.value, m.error, m.limit)] for name, m in one.means.items()}
    rest = {"entries": one.sums.entries, "clusters": one.sums.clusters}
    return {"dtype": one.dtype, "quantity": one.quantity, "activation": one.activation, **rest, **means}
