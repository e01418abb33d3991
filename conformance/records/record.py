"""The record of a run, as JSON Lines: a header, a line a verdict, a footer with the accounting. Every view is made
from it alone.

The schema is described on the page on records of the documentation.
"""

import json
from collections import Counter
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cases.description import Description
from ..cases.level import Level, parse_level
from ..checks.verdict import CHECKS, GRADES, STATUSES, Status, Verdict, status
from ..checks.whole_run.verdicts import Judged, verdicts_of
from ..diagnosis.causes import Cause
from ..expectations.audit import FAILING, AuditResult, Key, count_matched
from ..expectations.expectation import Expectation, expectation_for
from . import whole_run
from .coverage import cover
from .lines import SCHEMA, case_set_hash, is_pass, parse_verdict
from .severity import level_inconsistency


class RecordError(ValueError):
    """A record that is unreadable, incomplete, or that does not add up; one line."""


@dataclass(frozen=True)
class Record:
    """A whole record: header and footer as written, and the verdicts of each case of each adapter, in the order of
    the plan.
    """

    header: dict[str, Any]
    verdicts: dict[Key, list[Verdict]]
    footer: dict[str, Any]

    def statuses(self) -> dict[Key, Status]:
        """The status of each case that has a result."""
        return {key: status(verdicts) for key, verdicts in self.verdicts.items()}

    @property
    def level(self) -> Level:
        """The level of the run."""
        return parse_level(self.header["level"])

    @property
    def below_level(self) -> int:
        """How many findings the level of the run lets pass."""
        return self.footer["below_level"]

    @cached_property
    def expectations(self) -> dict[str, Expectation]:
        """The expectations that apply to the run, by id."""
        return {entry["id"]: Expectation(**entry) for entry in self.header["expectations"]}

    @cached_property
    def audited(self) -> tuple[AuditResult, ...]:
        """The audit result of each of them."""
        return tuple(AuditResult(**row) for row in self.footer["expectations"])

    @cached_property
    def adapters(self) -> dict[str, Description]:
        """What each adapter declared, by name."""
        known = {f.name for f in fields(Description)}
        described = ({k: v for k, v in one.items() if k in known} for one in self.header["adapters"])
        return {one["name"]: Description.from_json(one) for one in described}

    def concerning(self, adapter: str) -> tuple[Expectation, ...]:
        """Those that concern this adapter in its version."""
        return tuple(e for e in self.expectations.values() if e.concerns(self.adapters[adapter]))

    @cached_property
    def judged(self) -> dict[str, list[Judged]]:
        """What the run as a whole says of each adapter, from the moments in the footer."""
        moments = self.footer["moments"]
        return {
            name: whole_run.judge_rows(moments[name], self.concerning(name), adapter)
            for name, adapter in self.adapters.items()
        }

    @property
    def of_run(self) -> dict[str, list[Verdict]]:
        """The verdicts on the run as a whole, by adapter."""
        return {name: list(verdicts_of(judged)) for name, judged in self.judged.items()}

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of all failures, in the order of a report."""
        return tuple(
            Cause.from_json(row, self.verdicts[row["adapter"], row["case"]]) for row in self.footer.get("causes", ())
        )

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The adapters that were not checked at all: each of their cases was unsupported or inconclusive or only probed
        the layout, or they have none. One whose every case was deselected is none of them if another was checked.
        """
        judged = self.footer["judged"]
        idle = {name for name, one in judged.items() if not one["cases"]}
        if len(idle) < len(judged):
            idle -= set(self.deselected)
        return tuple(sorted(idle))

    @property
    def deselected(self) -> tuple[str, ...]:
        """The adapters whose every planned case was left out by the selection of a run of pytest."""
        planned = {one["name"] for one in self.header["adapters"] if one.get("structures", 0)}
        counts = self.footer["by_adapter"]
        return tuple(sorted(name for name in planned if not counts[name]["planned"]))

    @property
    def conforms(self) -> bool:
        """Whether something of every adapter was checked beside its layout, every planned case has a result, nothing
        failed, errored or was blocked, the run as a whole has no unexpected finding, and no expectation is stale or
        unmatched.
        """
        counts = self.footer["accounting"]
        bad = counts["failed"] + counts["errored"] + counts["blocked"] + len(self.footer["unanswered"])
        bad += sum(one.state in FAILING for one in self.audited)
        bad += sum(verdict.fails for some in self.of_run.values() for verdict in some)
        return bad == 0 and not self.unchecked


def read(path: Path, passes: bool = True) -> Record:
    """The record at `path`; without `passes`, only the verdicts that are not plain passes, several times as fast.

    Raises RecordError where it cannot be read, has no header or footer, holds duplicates or strangers, or does not
    add up. Without the passes only the footer's own sum and what is expected can be checked.
    """
    try:
        with path.open(encoding="utf-8") as source:
            rows = [json.loads(line) for line in source if passes or not is_pass(line)]
    except OSError as error:
        raise RecordError(f"record {path}: {error.strerror or error}; name a readable file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"record {path}: is not JSON Lines: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows) or rows[0].get("kind") != "header":
        raise RecordError(f"record {path}: has no header; it was not written by kterm")
    if rows[0].get("schema") != SCHEMA:
        raise RecordError(f"record {path}: has schema {rows[0].get('schema')}; this version reads schema {SCHEMA}")
    if rows[-1].get("kind") != "footer":
        raise RecordError(f"record {path}: has no footer; the run that wrote it did not end")
    adapters = {adapter["name"] for adapter in rows[0].get("adapters", ())}
    found: dict[Key, list[Verdict]] = {}
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows[1:-1], 2):
        try:
            key = (
                row["adapter"],
                row["case"],
                row["check"],
                row["quantity"],
                str(row.get("step", "")),
                row.get("message", ""),
            )
            verdict = parse_verdict({**row, "grade": row["grade"]})
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"record {path}, line {number}: is no verdict: {error}") from None
        if row.get("kind") != "verdict" or verdict.check not in CHECKS or verdict.grade not in GRADES:
            raise RecordError(f"record {path}, line {number}: is no verdict that this version knows")
        if row["adapter"] not in adapters:
            raise RecordError(f"record {path}, line {number}: adapter {row['adapter']!r} is not in the header")
        if key in seen:
            raise RecordError(f"record {path}, line {number}: repeats the verdict on {' '.join(key[:4])}")
        seen.add(key)
        found.setdefault(key[:2], []).append(verdict)
    record = Record(rows[0], found, rows[-1])
    if trouble := level_inconsistency(rows[0], rows[-1], found.values()):
        raise RecordError(f"record {path}: {trouble}")
    _reconcile(path, rows[0], rows[-1], found if passes else None)
    try:
        _ = record.causes
    except (KeyError, TypeError, ValueError):
        raise RecordError(f"record {path}: its footer names causes of cases that it does not hold as failed") from None
    try:
        trouble = _inconsistency(record, passes)
    except (KeyError, TypeError, ValueError):
        raise RecordError(f"record {path}: its header or its footer holds no expectations or no moments") from None
    if trouble:
        raise RecordError(f"record {path}: {trouble}")
    return record


def _reconcile(
    path: Path, header: dict[str, Any], footer: dict[str, Any], found: dict[Key, list[Verdict]] | None
) -> None:
    try:
        counted = dict(footer["accounting"])
        by_adapter = [Counter(footer["by_adapter"][adapter["name"]]) for adapter in header["adapters"]]
        together = dict(sum(by_adapter, Counter[str]()))
        judged = {adapter["name"]: footer["judged"][adapter["name"]] for adapter in header["adapters"]}
        planned = counted.pop("planned")
        unanswered = len(footer["unanswered"])
        total = sum(counted.values())
    except (KeyError, TypeError, ValueError):
        raise RecordError(f"record {path}: its footer holds no accounting") from None
    if together != {name: count for name, count in footer["accounting"].items() if count}:
        raise RecordError(f"record {path}: the accounting of the adapters does not add up to that of the run")
    if planned != header.get("planned") or planned != total + unanswered:
        raise RecordError(f"record {path}: {planned} cases planned, {total} answered, {unanswered} unanswered")
    if found is None:
        return
    if not unanswered and case_set_hash(found) != header.get("cases"):
        raise RecordError(f"record {path}: holds other cases than its header says were planned")
    statuses: dict[Key, Status] = {key: status(verdicts) for key, verdicts in found.items()}
    counts = Counter(statuses.values())
    for name, covered in judged.items():
        if covered != cover((case, one) for (adapter, case), one in statuses.items() if adapter == name).to_json():
            raise RecordError(f"record {path}: its footer says that other cases of {name} were judged than it holds")
    if counted != {name: counts[name] for name in STATUSES}:
        raise RecordError(f"record {path}: its footer counts {counted}, its verdicts give {dict(counts)}")
    if footer.get("verdicts") != sum(map(len, found.values())):
        raise RecordError(f"record {path}: its footer counts other verdicts than it holds")


def _inconsistency(record: Record, passes: bool) -> str | None:
    """Where a record's expectations, its verdicts and the audit in its footer disagree; None where they agree."""
    if [one.id for one in record.audited] != list(record.expectations):
        return "its footer audits other expectations than its header lists"
    findings: Counter[str] = Counter()
    for adapter in record.header["adapters"]:
        entries = record.concerning(adapter["name"])
        verdicts = [v for (name, _), some in record.verdicts.items() if name == adapter["name"] for v in some]
        for v in verdicts:
            if v.expectation != (expectation_for(v, entries) if v.is_finding else None):
                return f"its expectations do not agree with the verdict on {v.case} {v.check} {v.quantity}"
        of_run = record.of_run[adapter["name"]]
        if not whole_run.agree(record.footer["run"][adapter["name"]], record.judged[adapter["name"]]):
            return f"its verdicts on the run of {adapter['name']} as a whole are not those that its moments give"
        findings += count_matched(entries, [*verdicts, *of_run])
    for one in record.audited:
        if one.findings != findings[one.id] or (one.state == "met") != (one.findings > 0):
            return (
                f"expectation {one.id} covers {findings[one.id]} findings, its footer says {one.findings}, {one.state}"
            )
        if passes and one.cases != _cases(record, one.id):
            return f"expectation {one.id} covers other cases than its footer counts"
    return None


def _cases(record: Record, expectation: str) -> int:
    entry = record.expectations[expectation]
    adapters = [name for name, adapter in record.adapters.items() if entry.concerns(adapter)]
    keys = (*record.verdicts, *map(tuple, record.footer["unanswered"]))
    return sum(adapter in adapters and entry.matches_case(case) for adapter, case in keys)
