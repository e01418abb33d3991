"""The record of a run, as JSON Lines: a header, a line a verdict, a footer with the accounting. Every view is made
from it alone.

While a run goes on, each group's verdicts are a file of their own in a folder beside the record, written whole; so
nothing recorded is lost when a process dies, and the record comes out in the order of the plan however many workers
there were. The schema is in docs/record.md; `SCHEMA` is raised when a reader of the old one could misread the new.
"""

import hashlib
import json
import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cases.description import Description
from ..cases.level import Level, parse_level
from ..checks.verdict import CHECKS, GRADES, STATUSES, Status, Verdict, failure_to_show, status
from ..checks.whole_run.moments import Moments, to_rows
from ..checks.whole_run.verdicts import Judged, verdicts_of
from ..diagnosis.causes import Cause
from ..diagnosis.explanation import DiagnosedVerdict, Explanation, explanations_of, origin_of
from ..expectations.audit import FAILING, AuditResult, ExpectationAudit, Key, count_matched
from ..expectations.expectation import Expectation, expectation_for
from . import whole_run
from .severity import level_inconsistency

SCHEMA = 4


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
        names = [adapter["name"] for adapter in self.header["adapters"]]
        return {name: whole_run.judge_rows(self.footer["moments"][name], self.concerning(name)) for name in names}

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
        """The adapters that were not checked at all: each of their cases was unsupported or inconclusive, or they have
        none. An adapter that has none because the user deselected them is left out, unless no adapter has any.
        """
        structures = {described["name"]: described.get("structures", 0) for described in self.header["adapters"]}
        empty = {
            name
            for name, counts in self._by_adapter.items()
            if counts["planned"] == counts["unsupported"] + counts["inconclusive"]
        }
        deselected = {name for name in empty if structures[name] and not self._by_adapter[name]["planned"]}
        return tuple(sorted(empty if len(deselected) == len(structures) else empty - deselected))

    @property
    def _by_adapter(self) -> dict[str, dict[str, int]]:
        return self.footer["by_adapter"]

    @property
    def conforms(self) -> bool:
        """Whether something of every adapter was checked, every planned case has a result, nothing failed, errored or
        was blocked, the run as a whole has no unexpected finding, and no expectation is stale or unmatched.
        """
        counts = self.footer["accounting"]
        bad = counts["failed"] + counts["errored"] + counts["blocked"] + len(self.footer["unanswered"])
        bad += sum(one.state in FAILING for one in self.audited)
        bad += sum(verdict.fails for some in self.of_run.values() for verdict in some)
        return bad == 0 and not self.unchecked


def case_set_hash(planned: Iterable[Key]) -> str:
    """A hash of what was planned: equal plans, equal hashes."""
    return hashlib.blake2b("\n".join(f"{a} {c}" for a, c in planned).encode(), digest_size=8).hexdigest()


def lines(adapter: str, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """One JSON line a verdict; what is at its default is left out, and passes keep six digits of `worst`, `power`."""
    for v in verdicts:
        data: dict[str, Any] = {"kind": "verdict", "adapter": adapter, "case": v.case, "check": v.check}
        data |= {"quantity": v.quantity, "grade": v.grade}
        if v.grade == "pass":
            data["worst"] = _number(float(f"{v.worst:.6g}"))
            if v.power is not None:
                data["power"] = _number(float(f"{v.power:.6g}"))
            if v.at:
                data["at"] = v.at
        else:
            data["worst"] = _number(v.worst)
            for name in ("power", "observed", "expected", "tolerance", "slack", "normwise", "relative"):
                if (value := getattr(v, name)) is not None:
                    data[name] = _number(value)
            if v.region is not None:
                data["region"] = [_number(end) for end in v.region]
            for name in ("at", "activation", "message", "formulas", "expectation", "below_level"):
                if value := getattr(v, name):
                    data[name] = value
        if v.step is not None:
            data["step"] = v.step
        if origin := origin_of(v):
            data["origin"] = origin
        if explanations := explanations_of(v):
            data["explanations"] = [[e.name, e.mistake, _number(float(f"{e.sigmas:.6g}"))] for e in explanations]
        if v.chosen:
            data["chosen"] = [[point, _number(float(f"{slope:.9g}"))] for point, slope in v.chosen]
        yield _dumps(data)


_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _number(value: float) -> float | str:
    # JSON has no infinities; as strings they read back with float().
    if not math.isfinite(value):
        return str(value)
    return value


def _is_pass(line: str) -> bool:
    """Whether a line holds a plain pass. The footer holds verdicts too."""
    return line.startswith('{"kind":"verdict"') and '"grade":"pass"' in line


_FLOATS = ("worst", "power", "observed", "expected", "tolerance", "slack", "normwise", "relative")
_FIELDS = frozenset(f.name for f in fields(DiagnosedVerdict))


def _verdict(data: dict[str, Any]) -> Verdict:
    given = {name: value for name, value in data.items() if name in _FIELDS}
    for name in _FLOATS:
        if isinstance(given.get(name), str):
            given[name] = float(given[name])
    for name in ("at", "formulas"):
        given[name] = tuple(given.get(name, ()))
    if "region" in given:
        low, high = map(float, given["region"])
        given["region"] = (low, high)
    given["chosen"] = tuple((point, float(slope)) for point, slope in given.get("chosen", ()))
    if "origin" not in given and "explanations" not in given:
        return Verdict(**given)
    explanations = given.get("explanations", ())
    given["explanations"] = tuple(Explanation(name, mistake, float(far)) for name, mistake, far in explanations)
    return DiagnosedVerdict(**given)


def write_part(
    folder: Path,
    number: int,
    adapter: str,
    verdicts: Sequence[Sequence[Verdict]],
    expectations: Sequence[Expectation] = (),
    moments: Moments | None = None,
) -> None:
    """Write one group's verdicts (a sequence a case) behind their tally, whole or not at all; `number` is its place
    in the plan, `expectations` are those that concern the adapter, and `moments` what the group adds to the checks of
    the run.
    """
    path = folder / f"{number:06}.jsonl"
    scratch = path.with_suffix(f".{os.getpid()}")
    body = "".join(f"{line}\n" for some in verdicts for line in lines(adapter, some))
    tally = {
        **_tally(adapter, verdicts),
        "covered": count_matched(expectations, (v for some in verdicts for v in some)),
        "moments": to_rows(moments or {}),
    }
    scratch.write_text(f"{_dumps(tally)}\n{body}", encoding="utf-8")
    scratch.replace(path)


def read_part(path: Path) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
    """From a group's file: the cases that passed, and the failure to show of each case that has one."""
    by_case: dict[str, list[Verdict]] = {}
    with path.open(encoding="utf-8") as source:
        tally = json.loads(source.readline())
        cases: dict[str, Status] = tally["cases"]
        if {"failed", "errored"} & set(cases.values()) or tally["below_level"]:
            for verdict in (_verdict(json.loads(line)) for line in source if not _is_pass(line)):
                by_case.setdefault(verdict.case, []).append(verdict)
    shown = map(failure_to_show, by_case.values())
    passed = tuple(case for case, found in cases.items() if found == "passed")
    return passed, tuple(verdict for verdict in shown if verdict is not None)


def _tally(adapter: str, verdicts: Iterable[Sequence[Verdict]]) -> dict[str, Any]:
    """What the footer is summed from: the status of each case, counts by check, and the pass of least power."""
    cases: dict[str, Status] = {}
    checks: dict[str, Counter[str]] = defaultdict(Counter)
    count, below, least = 0, 0, None
    for some in verdicts:
        cases[some[0].case] = status(some)
        count += len(some)
        below += sum(v.below_level for v in some)
        by_check: dict[str, list[Verdict]] = defaultdict(list)
        for v in some:
            by_check[v.check].append(v)
            if v.grade == "pass" and v.power is not None and (least is None or v.power < least[0]):
                least = [v.power, adapter, v.case, v.quantity]
        for check, group in by_check.items():
            checks[check][status(group)] += 1
    if least is not None and not math.isfinite(least[0]):
        least = None
    return {
        "adapter": adapter,
        "cases": cases,
        "checks": checks,
        "verdicts": count,
        "below_level": below,
        "weakest": least,
    }


def failing_adapters(folder: Path) -> set[str]:
    """The names of the adapters with a case that failed or errored, from the parts in a folder."""
    found: set[str] = set()
    for part in folder.glob("[0-9]*.jsonl"):
        with part.open(encoding="utf-8") as source:
            tally = json.loads(source.readline())
        if {"failed", "errored"} & set(tally["cases"].values()):
            found.add(tally["adapter"])
    return found


def finish(
    path: Path,
    folder: Path,
    header: dict[str, Any],
    planned: Sequence[Key],
    audit: ExpectationAudit,
    found: Sequence[Cause] = (),
) -> None:
    """Assemble the record at `path` from the parts in `folder`, in order, with header and footer; the footer holds the
    causes `found`.

    Planned cases without a verdict are listed in the footer as unanswered, and the expectations are audited.
    """
    head = {"kind": "header", "schema": SCHEMA, **header, "planned": len(planned), "cases": case_set_hash(planned)}
    head["expectations"] = [entry.to_json() for entry in audit.applicable]
    tallies: list[dict[str, Any]] = []
    adapters = [Description.from_json(adapter) for adapter in header["adapters"]]
    scratch = path.with_name(path.name + ".unfinished")
    with scratch.open("w", encoding="utf-8") as out:
        out.write(_dumps(head) + "\n")
        for part in sorted(folder.glob("[0-9]*.jsonl")):
            with part.open(encoding="utf-8") as source:
                tallies.append(json.loads(source.readline()))
                shutil.copyfileobj(source, out)
        footer = {**_footer(adapters, planned, tallies, audit), "causes": [cause.to_json() for cause in found]}
        out.write(_dumps({"kind": "footer", **footer}) + "\n")
    scratch.replace(path)


def _footer(
    adapters: Sequence[Description], planned: Sequence[Key], tallies: Sequence[dict[str, Any]], audit: ExpectationAudit
) -> dict[str, Any]:
    answered = {(t["adapter"], case): found for t in tallies for case, found in t["cases"].items()}
    counts = Counter(answered.values())
    by_adapter = {adapter.name: {"planned": 0, **dict.fromkeys(STATUSES, 0)} for adapter in adapters}
    for name, _ in planned:
        by_adapter[name]["planned"] += 1
    for (name, _), found in answered.items():
        by_adapter[name][found] += 1
    checks: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    findings: Counter[str] = Counter()
    for tally in tallies:
        findings.update(tally["covered"])
        for check, found in tally["checks"].items():
            checks[tally["adapter"]][check].update(found)
    moments = whole_run.merge_rows(tuple(by_adapter), tallies)
    of_run: dict[str, list[Verdict]] = {}
    judged: dict[str, list[Judged]] = {}
    for adapter in adapters:
        name, entries = adapter.name, audit.of(adapter)
        judged[name] = whole_run.judge_rows(moments[name], entries)
        of_run[name] = list(verdicts_of(judged[name]))
        findings.update(count_matched(entries, of_run[name]))
        for verdict in of_run[name]:
            checks[name][verdict.check][status([verdict])] += 1
    return {
        "accounting": {"planned": len(planned), **{name: counts[name] for name in STATUSES}},
        "by_adapter": by_adapter,
        "unanswered": [list(key) for key in planned if key not in answered],
        "checks": checks,
        "verdicts": sum(tally["verdicts"] for tally in tallies),
        "below_level": sum(tally["below_level"] for tally in tallies),
        "weakest": min((t["weakest"] for t in tallies if t["weakest"] is not None), default=None),
        "expectations": [one.to_json() for one in audit.results(planned, answered, findings, of_run)],
        "moments": moments,
        "run": {name: whole_run.to_json(some) for name, some in judged.items()},
    }


def read(path: Path, passes: bool = True) -> Record:
    """The record at `path`; without `passes`, only the verdicts that are not plain passes, several times as fast.

    Raises RecordError where it cannot be read, has no header or footer, holds duplicates or strangers, or does not
    add up. Without the passes only the footer's own sum and what is expected can be checked.
    """
    try:
        with path.open(encoding="utf-8") as source:
            rows = [json.loads(line) for line in source if passes or not _is_pass(line)]
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
            verdict = _verdict({**row, "grade": row["grade"]})
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
    counts = Counter(status(verdicts) for verdicts in found.values())
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
