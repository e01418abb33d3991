"""The record of a run, read back. Every view is made from it alone.

The form is described on the page on records of the documentation. A reader rebuilds the plan of the run from the
header, and requires each planned case once, with each of its checks.
"""

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..cases.description import Description
from ..cases.level import Level, parse_level
from ..checks.verdict import RUN_CHECKS, Status, Verdict
from ..checks.whole_run.verdicts import Judged, verdicts_of
from ..diagnosis.causes import Cause
from ..expectations.audit import FAILING, AuditResult, Key
from ..expectations.expectation import Expectation
from . import whole_run
from .consistency import Content, Inconsistency, check_content, check_plan
from .form.files import FileTrouble, RecordError, read_bytes
from .form.lines import SCHEMA, CaseLine, Footer, GroupLine, Header, PartLine, RunLine, VerdictLine
from .form.verdicts import CaseResult, result_of, to_verdict


@dataclass(frozen=True)
class Record:
    """A whole record: header and footer as written, the result of each case of each adapter in the order of the plan,
    and the verdicts that are recorded in full: on findings, errors and sampled cases.
    """

    header: dict[str, Any]
    cases: dict[Key, CaseResult]
    verdicts: dict[Key, list[Verdict]]
    footer: dict[str, Any]
    sha256: str = ""
    """Of the lines of its file, decompressed, as hex digits; empty if it was not read from a file."""

    @property
    def is_of_trace(self) -> bool:
        """Whether it is the record of a trace of a user's own model, and not of a run of the suite."""
        return "trace" in self.header

    def statuses(self) -> dict[Key, Status]:
        """The status of each case that has a result."""
        return {key: one.status for key, one in self.cases.items()}

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
        if self.is_of_trace:
            return {name: whole_run.judge_traced_rows(moments, self.concerning(name)) for name in self.adapters}
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


def read(path: Path, against_plan: bool = True) -> Record:
    """The record at `path`, plain or compressed.

    Raises RecordError where it cannot be read, has no header or footer, holds duplicates or strangers, does not add up,
    or holds other cases or checks than its plan. Without `against_plan` the plan is not rebuilt, as for a record of
    another version of kterm, which may plan other cases.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise RecordError(f"record {path}: {error.strerror or error}; name a readable file") from None
    except FileTrouble as error:
        raise RecordError(f"record {path}: {error}") from None
    try:
        with _without_collector():
            record = _parse(data)
            _check(record, against_plan)
    except Inconsistency as error:
        raise RecordError(f"record {path}{_one_line(str(error))}") from None
    return record


def _one_line(text: str) -> str:
    """What the lines of a record say, without what would end a line."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return shown if len(shown) <= 600 else f"{shown[:600]}..."


_OF_RUN = frozenset(RUN_CHECKS)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Of the many objects that are made none is garbage. To look through them takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check(record: Record, against_plan: bool) -> None:
    """Raise Inconsistency where a record does not add up. What it says of adapters, expectations and moments is of no
    type yet, and may be anything.
    """
    with _refused("its header declares what no adapter can"):
        adapters = record.adapters
    with _refused("its header or its footer holds no expectations or no moments"):
        derived = record.expectations, record.audited, record.judged
    content = Content(record.header, record.cases, record.verdicts, record.footer, adapters, *derived)
    with _refused("its header or its footer holds no expectations, no moments or no accounting"):
        trouble = check_content(content)
    if trouble:
        raise Inconsistency(trouble)
    with _refused("its footer names causes of cases that it does not hold as failed"):
        _ = record.causes
    if against_plan or record.is_of_trace:  # what a trace has to show stands in its header
        with _refused("its header describes no run"):
            trouble = check_plan(content)
        if trouble:
            raise Inconsistency(trouble)


@contextmanager
def _refused(why: str) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Inconsistency(f": {why}: {said:.200}") from None


_Line = TypeVar("_Line", bound=msgspec.Struct)


def _decode(number: int, line: bytes, kind: type[_Line]) -> _Line:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Inconsistency(f", line {number}: {_what(error)}") from None


def _what(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return f"is no line that this version knows: {error}"
    return f"is not JSON: {error or type(error).__name__}"


def _object(line: bytes) -> dict[str, Any]:
    """The object of a line; an empty one if there is none."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parse(data: bytes) -> Record:
    lines = data.split(b"\n")
    first, last = _object(lines[0]), {} if lines.pop() or len(lines) < 2 else _object(lines[-1])
    if first.get("kind") != "header":
        raise Inconsistency(": has no header; it was not written by kterm")
    if first.get("schema") != SCHEMA:
        raise Inconsistency(f": has schema {first.get('schema')!r:.40}; this version reads schema {SCHEMA}")
    if last.get("kind") != "footer":
        raise Inconsistency(": has no footer; the run that wrote it did not end, or the file was cut")
    _decode(1, lines[0], Header)
    names = [one["name"] for one in first["adapters"]]
    if len(set(names)) < len(names):
        raise Inconsistency(": its header names an adapter twice")
    first.setdefault("expectations", [])
    for name in ("dtypes", "activations"):
        first.setdefault(name, [])
    cases: dict[Key, CaseResult] = {}
    verdicts: dict[Key, list[Verdict]] = {}
    for key, one in _results(lines, set(names), "shard" in first):
        if isinstance(one, CaseResult):
            cases[key] = one
        else:
            verdicts.setdefault(key, []).append(one)
    _decode(len(lines), lines[-1], Footer)
    return Record(first, cases, verdicts, last, hashlib.sha256(data).hexdigest())


def _results(lines: list[bytes], adapters: set[str], is_shard: bool) -> Iterator[tuple[Key, CaseResult | Verdict]]:
    """Every case and every verdict between header and footer, with its key, where each stands where it should."""
    decode = msgspec.json.Decoder(GroupLine | CaseLine | VerdictLine | RunLine | PartLine).decode
    group: GroupLine | None = None
    key: Key | None = None
    tensors: object = None
    due = 0
    seen: set[Key] = set()
    for number, text in enumerate(lines[1:-1], 2):
        try:
            line = decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Inconsistency(f", line {number}: {_what(error)}") from None
        if isinstance(line, CaseLine):
            if group is None:
                raise Inconsistency(f", line {number}: is a case without a group before it")
            result = result_of(group, line)
            key = group.adapter, result.case
            if key in seen:
                raise Inconsistency(f", line {number}: repeats the case {' '.join(key)}")
            if result.tensors is not tensors:  # most cases have those of their group
                tensors, due = result.tensors, sum(map(bool, result.tensors.values()))
                if not _OF_RUN.isdisjoint(result.tensors):
                    raise Inconsistency(f", line {number}: has a check of a whole run")
            if line.blocked and not _OF_RUN.isdisjoint(line.blocked):
                raise Inconsistency(f", line {number}: has a check of a whole run")
            if len(line.margins) != due or len(line.powers) != due:
                raise Inconsistency(f", line {number}: should have {due} margins and {due} powers")
            seen.add(key)
            yield key, result
        elif isinstance(line, GroupLine):
            if line.adapter not in adapters:
                raise Inconsistency(f", line {number}: adapter {line.adapter!r} is not in the header")
            group, key = line, None
        elif isinstance(line, RunLine | PartLine):
            if not is_shard:
                raise Inconsistency(f", line {number}: is a line of a shard, which this record is not")
        else:
            if key is None or (line.adapter, line.case) != key:
                raise Inconsistency(f", line {number}: is a verdict on {line.case} below the line of another case")
            yield key, to_verdict(line)


__all__ = ["Record", "RecordError", "read"]
