"""What a comparison needs of a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...checks.verdict import Verdict
from ...diagnosis.causes import Cause
from ...expectations.audit import AuditResult, Key
from ..form.verdicts import CaseResult


@dataclass(frozen=True)
class Recorded:
    """A run as its record has it: see `kterm.conformance.records.record.Record`, whose names these are."""

    header: Mapping[str, Any]
    cases: Mapping[Key, CaseResult]
    verdicts: Mapping[Key, Sequence[Verdict]]
    causes: Sequence[Cause]
    of_run: Mapping[str, Sequence[Verdict]]
    audited: Sequence[AuditResult]
    conforms: bool


def adapters_of(run: Recorded) -> dict[str, dict[str, Any]]:
    """What the header says of each adapter, by name."""
    return {one["name"]: one for one in run.header["adapters"]}
