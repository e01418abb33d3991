"""Proposals: it proposes expectations from a record, in as few patterns as cover exactly what failed.
A person adds the reasons.
"""

import glob
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...reference import ACTIVATIONS
from ..checks.verdict import CHECKS, Verdict, quantity_of
from ..expectations.audit import AuditResult
from ..expectations.expectation import EXPECTABLE, PATTERNS
from ..expectations.patterns import Point, cover
from .record import Record, read
from .report import title

_COLUMNS = 120

_AS_ONE = ("contract", "descent", "batch")
"""Checks that pass for all the layers of a case together."""


@dataclass(frozen=True)
class _Proposal:
    """An entry to be: each tuple holds alternatives, one entry each. `findings` are those that it covers."""

    adapter: tuple[str, ...]
    case: tuple[str, ...] = ("*",)
    check: tuple[str, ...] = ("*",)
    activation: tuple[str, ...] = ("*",)
    grade: str = "*"
    versions: str = ""
    witness: str = "*"
    reason: str = ""
    issue: str = ""
    findings: tuple[tuple[str, Verdict], ...] = field(default=(), compare=False)


def proposed(source: Path) -> tuple[str, int]:
    """A file of expectations for the run that `source` records, and how many of its entries are new.

    It holds what still applies of the expectations that the run had, so that it can take their place.
    """
    record = read(source)
    adapters = [adapter["name"] for adapter in record.header["adapters"]]
    new = _merged([one for adapter in adapters for one in _proposals(record, adapter)])
    new = [replace(one, adapter=_together(one.adapter, adapters), grade=_grade(one)) for one in new]
    parts = [_preamble(record, source, bool(new)), *map(_written, (*_kept(record), *new)), *_left_out(record)]
    return "\n".join(parts), len(new)


def _proposals(record: Record, adapter: str) -> Iterator[_Proposal]:
    failed: dict[str, dict[Point, list[Verdict]]] = defaultdict(lambda: defaultdict(list))
    passed: dict[str, set[Point]] = defaultdict(set)
    for verdict in _verdicts(record, adapter):
        if verdict.is_unexpected and verdict.check in EXPECTABLE:
            failed[verdict.check][verdict.activation or "", verdict.case].append(verdict)
        elif verdict.grade == "pass":
            passed[verdict.check].update((activation, verdict.case) for activation in _passing(verdict))
    for check, found in failed.items():
        for activation, case, points in cover(found.keys(), passed[check] - found.keys()):
            findings = tuple((adapter, verdict) for point in points for verdict in found[point])
            yield _Proposal((adapter,), (case,), (check,), (activation,), findings=findings)


def _grade(one: _Proposal) -> str:
    grades = {verdict.grade for _, verdict in one.findings}
    return grades.pop() if len(grades) == 1 else "*"


def _verdicts(record: Record, adapter: str) -> Iterator[Verdict]:
    return (v for (name, _), some in record.verdicts.items() if name == adapter for v in some)


def _passing(verdict: Verdict) -> Iterable[str]:
    """The activations of which a pass says something."""
    names = verdict.case.split("-")[1].split(".")
    if verdict.check in _AS_ONE:
        return ("", *names)
    layer = quantity_of(verdict.quantity)[1] or 0
    # Layer 0 is that of the outputs and E, the last; a single name stands for all layers.
    return (names[layer - 1 if len(names) > 1 else 0],)


def _kept(record: Record) -> list[_Proposal]:
    """The expectations that the run had and that it did not find to be idle, as they were."""
    entries = [record.expectations[one.id] for one in record.audited if _applies(one)]
    return _merged(
        [
            _Proposal(
                (e.adapter,), (e.case,), (e.check,), (e.activation,), e.grade, e.versions, e.witness, e.reason, e.issue
            )
            for e in entries
        ]
    )


def _applies(one: AuditResult) -> bool:
    return one.state == "met" or (one.state == "open" and one.cases > 0)


def _merged(proposals: Sequence[_Proposal]) -> list[_Proposal]:
    """Proposals that differ in one pattern alone, as one with an array of them."""
    merged = list(proposals)
    for name in ("case", "activation", "adapter", "check"):
        alike: dict[_Proposal, list[_Proposal]] = defaultdict(list)
        for one in merged:
            alike[replace(one, **{name: ()})].append(one)
        merged = [
            replace(
                some[0],
                **{name: tuple(sorted({value for one in some for value in getattr(one, name)}, key=_rank))},
                findings=tuple(found for one in some for found in one.findings),
            )
            for some in alike.values()
        ]
    return sorted(merged, key=lambda p: [[_rank(value) for value in getattr(p, name)] for name in PATTERNS])


def _rank(value: str) -> tuple[int, str]:
    # Checks and activations in their own order, and before patterns of cases.
    order = (*CHECKS, *ACTIVATIONS)
    return (order.index(value) if value in order else len(order), value)


def _together(names: Sequence[str], all_names: Sequence[str]) -> tuple[str, ...]:
    """One pattern for several adapters, where their names begin alike and no other's does."""
    stem = names[0]
    while not all(name.startswith(stem) for name in names):
        stem = stem[:-1]
    if len(names) > 1 and stem and {name for name in all_names if name.startswith(stem)} == set(names):
        return (f"{glob.escape(stem)}*",)
    return tuple(map(glob.escape, names))


def _preamble(record: Record, source: Path, anything: bool) -> str:
    lines = [f"# kterm expect {source.name}: {title(record.header)}"]
    if anything:
        lines.append(
            "# What is proposed covers exactly what failed there. Write why the framework departs (reason), and"
        )
        lines.append("# where that is discussed (issue); a file with an empty reason is refused.")
    else:
        lines.append("# Nothing failed that could be expected.")
    return "".join(f"{line}\n" for line in lines)


def _written(one: _Proposal) -> str:
    """The entry as TOML; a new one below what it covers."""
    lines = [*_comment(one), "[[expectation]]"]
    for name in PATTERNS:
        values = [_quoted(value) for value in getattr(one, name) if value != "*"]
        line = f"{name} = {values[0] if len(values) == 1 else '[' + ', '.join(values) + ']'}" if values else ""
        lines += [line] if len(line) <= _COLUMNS else [f"{name} = [", *(f"    {value}," for value in values), "]"]
    rest = {name: getattr(one, name) for name in ("grade", "versions", "witness")}
    lines += [f"{name} = {_quoted(value)}" for name, value in rest.items() if value not in ("", "*")]
    lines.append(f"reason = {_quoted(one.reason)}")
    lines.append(f"issue = {_quoted(one.issue)}" if one.issue else '# issue = "https://..."')
    return "".join(f"{line}\n" for line in lines if line)


def _quoted(text: str) -> str:
    # What JSON escapes, TOML escapes alike.
    return json.dumps(text, ensure_ascii=False)


def _comment(one: _Proposal) -> list[str]:
    if not one.findings:
        return []
    adapter, worst = max(one.findings, key=lambda found: (found[1].worst, found[1].case, found[1].quantity))
    cases = len({(name, verdict.case) for name, verdict in one.findings})
    many = f"{cases:,} case{'s' if cases > 1 else ''}"
    what = worst.message or f"{worst.worst:.3g} times the tolerance"
    return [f"# {many}; the worst is {worst.quantity} of {worst.case} on {adapter}:", f"# {' '.join(what.split())}"]


def _left_out(record: Record) -> list[str]:
    """What no entry is proposed for, as comments."""
    lines = []
    for adapter in (described["name"] for described in record.header["adapters"]):
        verdicts = list(_verdicts(record, adapter))
        crashed = len({v.case for v in verdicts if v.grade == "errored"})
        if crashed:
            lines.append(f"# {adapter}: {crashed:,} of the cases errored; a crash is never expected")
        if any(v.is_finding and v.check not in EXPECTABLE for v in verdicts):
            lines.append(f"# {adapter}: its weights are not laid out as declared, which is never expected")
        if any(v.grade == "blocked" for v in verdicts):
            lines.append(
                f"# {adapter}: some checks were blocked; what they find shows in a run with these expectations"
            )
    idle = [record.expectations[one.id].label() for one in record.audited if not _applies(one)]
    lines += [f"# left out, as nothing met it: {label}" for label in idle]
    return ["".join(f"{line}\n" for line in lines)] if lines else []
