"""Propose expectations for what a record says failed, in as few patterns as match exactly that. A person adds the
reasons.
"""

import glob
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....reference import ACTIVATIONS
from ...checks.verdict import CHECKS, REPEATED, RUN_CHECKS, Verdict, quantity_of
from ...expectations.audit import AuditResult
from ...expectations.expectation import EXPECTABLE, PATTERNS, SUBJECTS, Expectation
from ...expectations.patterns import Point, find_patterns
from ...runners.link.text import replace_hidden
from ..form.text import printable
from ..form.verdicts import CaseResult
from ..record import Record, read
from ..report import title

_COLUMNS = 120

_WHOLE_CASE_CHECKS = ("contract", "descent", "batch")
"""Checks with one pass for all layers of a case."""


@dataclass(frozen=True)
class _Proposal:
    """A proposed entry. Each tuple of strings holds alternative patterns. `framework` or `adapter` holds an empty one.
    `findings` are the findings that the entry matches, each with its adapter.
    """

    framework: tuple[str, ...] = ("",)
    adapter: tuple[str, ...] = ("",)
    case: tuple[str, ...] = ("*",)
    check: tuple[str, ...] = ("*",)
    activation: tuple[str, ...] = ("*",)
    grade: str = "*"
    size: str = ""
    versions: str = ""
    witness: str = "*"
    reason: str = ""
    issue: str = ""
    quantity: str = "*"
    formula: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()
    findings: tuple[tuple[str, Verdict], ...] = field(default=(), compare=False)


def propose_expectations(source: Path, against_plan: bool = True) -> tuple[str, int]:
    """A TOML file of expectations for the run in the record `source`, and how many of its entries are new.

    The file also holds those of the run's own expectations that still apply, so it can replace them. Raises
    RecordError. `against_plan` as for `read`.
    """
    record = read(source, against_plan)
    frameworks = {name: adapter.framework for name, adapter in record.adapters.items()}
    new = _merge([one for adapter in frameworks for one in _propose(record, adapter)])
    new = [replace(one, grade=_grade(one)) for several in new for one in _split_by_subject(several, frameworks)]
    parts = [
        _format_preamble(record, source, bool(new)),
        *map(_format_entry, (*_list_applying(record), *new)),
        *_format_left_out(record),
    ]
    return "\n".join(parts), len(new)


def _propose(record: Record, adapter: str) -> Iterator[_Proposal]:
    failed: dict[_Kind, dict[Point, list[Verdict]]] = defaultdict(lambda: defaultdict(list))
    passed: dict[str, set[Point]] = defaultdict(set)
    for verdict in _verdicts(record, adapter):
        if verdict.is_unexpected and verdict.check in EXPECTABLE:
            failed[_kind_of(verdict)][verdict.activation or "", verdict.case].append(verdict)
    for (name, case), one in record.cases.items():
        if name == adapter and failed:
            for check, quantities in _passes(one, record.verdicts.get((name, case), ())):
                passed[check].update((activation, case) for activation in _passing_activations(case, check, quantities))
    for (check, quantity, grade), found in failed.items():
        others = passed[check] - found.keys()
        if quantity != "*":
            # One case of a structure stands for all of them.
            structures = {_structure_of(case) for _, case in found}
            others = {(activation, case) for activation, case in others if _structure_of(case) not in structures}
        for activation, case, points in find_patterns(found.keys(), others):
            findings = tuple((adapter, verdict) for point in points for verdict in found[point])
            patterns = ("",), (adapter,), (case,), (check,), (activation,)
            yield _Proposal(*patterns, grade, quantity=quantity, findings=findings)


_Kind = tuple[str, str, str]
"""The check of findings that one entry may match, and patterns for their quantity and their grade."""


def _kind_of(finding: Verdict) -> _Kind:
    """Findings of `contract` about no activation are about what they name as their quantity, such as a dtype. That a
    repeated answer is wrong is matched only by an entry that names the grade.
    """
    if finding.check != "contract" or finding.activation:
        return finding.check, "*", "*"
    return finding.check, finding.quantity, finding.grade if finding.quantity in REPEATED else "*"


def _structure_of(case: str) -> str:
    return case.rpartition("-s")[0]


def _grade(one: _Proposal) -> str:
    grades = {verdict.grade for _, verdict in one.findings}
    return grades.pop() if len(grades) == 1 else "*"


def _verdicts(record: Record, adapter: str) -> Iterator[Verdict]:
    return (v for (name, _), some in record.verdicts.items() if name == adapter for v in some)


def _passes(one: CaseResult, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[str]]]:
    """Each check of a case with the tensors that passed it; without any for a check of the whole case that passed."""
    found = {(v.check, v.quantity) for v in verdicts if v.grade != "pass"}
    for check, result in one.checks.items():
        if check in _WHOLE_CASE_CHECKS and result.status == "passed":
            yield check, []
        names = one.tensors.get(check, ())
        if passed := [name for name in names if (check, name) not in found and name not in one.inconclusive]:
            yield check, passed


def _passing_activations(case: str, check: str, quantities: Sequence[str]) -> Iterable[str]:
    """The activations that are right according to the passes of a check."""
    names = case.split("-")[1].split(".")
    if check in _WHOLE_CASE_CHECKS:
        return ("", *names)
    # The outputs and E have no layer number and belong to the last layer; a single name stands for all layers.
    layers = [quantity_of(quantity)[1] or 0 for quantity in quantities]
    return {names[layer - 1 if len(names) > 1 else 0] for layer in layers}


def _list_applying(record: Record) -> list[_Proposal]:
    """The run's own expectations that still apply, unchanged."""
    entries = [record.expectations[one.id] for one in record.audited if _applies(record, one)]
    return _merge([_unchanged(entry) for entry in entries])


def _unchanged(entry: Expectation) -> _Proposal:
    patterns = {name: (getattr(entry, name),) for name in PATTERNS}
    kept = ("quantity", "grade", "size", "versions", "witness", "reason", "issue")
    rest = {name: getattr(entry, name) for name in kept}
    return _Proposal(**patterns, **rest, formula=entry.formula, parameters=tuple(entry.parameters.items()))


def _applies(record: Record, one: AuditResult) -> bool:
    is_possible = one.cases > 0 or record.expectations[one.id].is_of_run
    return one.state == "met" or (one.state == "open" and is_possible)


def _merge(proposals: Sequence[_Proposal]) -> list[_Proposal]:
    """The proposals, with those that differ only in one pattern merged into one with an array of patterns."""
    merged = list(proposals)
    for name in ("case", "activation", "adapter", "framework", "check"):
        equal_otherwise: dict[_Proposal, list[_Proposal]] = defaultdict(list)
        for one in merged:
            equal_otherwise[replace(one, **{name: ()})].append(one)
        merged = [
            replace(
                some[0],
                **{name: tuple(sorted({value for one in some for value in getattr(one, name)}, key=_rank))},
                findings=tuple(found for one in some for found in one.findings),
            )
            for some in equal_otherwise.values()
        ]
    return sorted(merged, key=lambda p: [[_rank(value) for value in getattr(p, name)] for name in PATTERNS])


def _rank(value: str) -> tuple[int, str]:
    # Checks and activations in the order of their tables, then everything else by name.
    order = (*CHECKS, *RUN_CHECKS, *ACTIVATIONS)
    return (order.index(value) if value in order else len(order), value)


def _split_by_subject(one: _Proposal, frameworks: Mapping[str, str]) -> Iterator[_Proposal]:
    """The proposal for the frameworks whose adapters in this run all failed so, and for the other adapters by name.
    `frameworks` gives the framework of each adapter of the run.
    """
    failed = set(one.adapter)
    whole = [f for f in sorted(set(frameworks.values())) if {n for n in frameworks if frameworks[n] == f} <= failed]
    for framework, adapter in (
        (whole, [""]),
        ([""], [name for name in one.adapter if frameworks[name] not in whole]),
    ):
        if framework and adapter:
            findings = tuple(found for found in one.findings if (frameworks[found[0]] in whole) == (adapter == [""]))
            yield replace(
                one,
                framework=tuple(map(glob.escape, framework)),
                adapter=tuple(map(glob.escape, adapter)),
                findings=findings,
            )


def _format_preamble(record: Record, source: Path, has_proposals: bool) -> str:
    lines = [f"kterm expect {source.name}: {title(record.header)}"]
    if has_proposals:
        lines.append("The proposed entries match exactly what failed in this run. For each, write why the framework")
        lines.append("departs (reason) and where that is discussed (issue). A file with an empty reason is refused.")
    else:
        lines.append("No finding in this run can be expected.")
    return "".join(map(_comment, lines))


def _format_entry(one: _Proposal) -> str:
    """The entry as TOML; a new one below a comment on what it matches."""
    lines = [*_format_findings(one), "[[expectation]]"]
    for name in PATTERNS:
        values = [_quote(value) for value in getattr(one, name) if value != ("" if name in SUBJECTS else "*")]
        line = f"{name} = {values[0] if len(values) == 1 else '[' + ', '.join(values) + ']'}" if values else ""
        lines += [line] if len(line) <= _COLUMNS else [f"{name} = [", *(f"    {value}," for value in values), "]"]
    rest = {name: getattr(one, name) for name in ("quantity", "grade", "formula", "size", "versions", "witness")}
    lines += [f"{name} = {_quote(value)}" for name, value in rest.items() if value not in ("", "*")]
    if one.parameters:
        table = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in one.parameters)
        lines.append(f"parameters = {{ {table} }}")
    lines.append(f"reason = {_quote(one.reason)}")
    lines.append(f"issue = {_quote(one.issue)}" if one.issue else '# issue = "https://..."')
    return "".join(f"{line}\n" for line in lines if line)


def _quote(text: str) -> str:
    # TOML has the escapes of JSON, without its surrogate pairs.
    return replace_hidden(json.dumps(text, ensure_ascii=False), lambda c: f"\\U{ord(c):08x}")


def _comment(text: str) -> str:
    """A line of comment, whatever an adapter has for its name."""
    return f"# {printable(' '.join(text.split()))}\n"


def _format_findings(one: _Proposal) -> list[str]:
    if not one.findings:
        return []
    adapter, worst = max(one.findings, key=lambda found: (found[1].worst, found[1].case, found[1].quantity))
    cases = len({(name, verdict.case) for name, verdict in one.findings})
    many = f"{cases:,} case{'s' if cases > 1 else ''}"
    what = worst.message or f"{worst.worst:.3g} times the tolerance"
    lines = (f"{many}; the worst is {worst.quantity} of {worst.case} on {adapter}:", what)
    return [_comment(line).rstrip() for line in lines]


def _format_left_out(record: Record) -> list[str]:
    """Comments on what no entry is proposed for."""
    lines = []
    for adapter in (described["name"] for described in record.header["adapters"]):
        verdicts = list(_verdicts(record, adapter))
        crashed = len({v.case for v in verdicts if v.grade == "errored"})
        if crashed:
            many = f"{crashed:,} case{'s' if crashed > 1 else ''}"
            lines.append(f"{adapter}: {many} errored; errors cannot be expected")
        if any(v.is_finding and v.check not in EXPECTABLE for v in verdicts):
            lines.append(f"{adapter}: its weights are not laid out as declared; that cannot be expected")
        if any(one.blocked for (name, _), one in record.cases.items() if name == adapter):
            lines.append(f"{adapter}: some checks were blocked; run with these expectations to see what they find")
        for v in record.of_run[adapter]:
            if v.is_unexpected:
                named = ", ".join((v.quantity, *([v.activation] if v.activation else ())))
                lines.append(f'{adapter}: the whole run fails check = "{v.check}" in {v.case}, {named}')
    unmatched = [record.expectations[one.id].label() for one in record.audited if not _applies(record, one)]
    lines += [f"left out because it matched nothing: {label}" for label in unmatched]
    return ["".join(map(_comment, lines))] if lines else []
