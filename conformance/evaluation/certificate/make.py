"""A certificate of one adapter of a record."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ....reference.rounding import SIGMAS
from ...cases.description import Description
from ...cases.plan import plan
from ...checks.comparison.compare import CONCLUSIVE_POWER
from ...checks.whole_run.verdicts import FAMILY_RATE
from ...records.consistency import options_of
from ...records.form.files import RecordError
from ...records.form.lines import Environment
from ...records.record import Record
from .figures import cases_of, find_divergences, grade_cells, grade_checks, grade_run
from .form import SCHEMA, Certificate, Place, RecordFile, Repeated, Subject, Tolerance
from .levels import choose_levels, find_left_out, least
from .measured import read_calibration, read_kills
from .refusal import find_failure, find_forgery, find_refusal


class NoCertificate(Exception):
    """A run that does not conform. The message is one line that says why."""


@dataclass(frozen=True)
class Beside:
    """What a certificate has beside the record: files of `kterm mutants --json` and `kterm calibrate --json`, and what
    was repeated of each adapter.
    """

    kills: Path | None = None
    calibration: Path | None = None
    repeated: dict[str, Repeated] | None = None


def require_certifiable(record: Record, source: Path) -> None:
    """Raise RecordError for a record that is of no whole run that this version of kterm can vouch for."""
    if (why := find_refusal(record)) is not None:
        raise RecordError(f"record {source}: {why}")


def certify(record: Record, source: Path, name: str, beside: Beside = Beside()) -> Certificate:
    """The certificate of the adapter `name` of a record that was read from `source`.

    Raises RecordError for a record that is not certifiable or whose header is not what its plan makes it, OptionError
    for files that are of something else, and NoCertificate where the run of the adapter does not conform.
    """
    require_certifiable(record, source)
    adapter, options = record.adapters[name], options_of(record.header)
    planned = plan(adapter, options)
    if (why := find_forgery(record, name, planned)) is not None:
        raise RecordError(f"record {source}: {why}")
    if (why := find_failure(record, name)) is not None:
        raise NoCertificate(why)
    cases = cases_of(record, name)
    checks, run = tuple(grade_checks(cases)), tuple(grade_run(record, name))
    cells = tuple(grade_cells(cases, adapter.activations, adapter.dtypes))
    divergences = tuple(find_divergences(record, name))
    left_out = tuple(find_left_out(record, adapter, options, planned, checks, run, cells, divergences))
    levels = choose_levels(adapter, left_out, divergences)
    return Certificate(
        schema=SCHEMA,
        level=least(levels),
        levels=levels,
        adapter=_subject(adapter),
        record=_record_file(record, name),
        place=Place(
            record.header.get("platform", ""),
            record.header.get("python", ""),
            msgspec.convert(record.header.get("environment", {}), Environment),
        ),
        tolerance=Tolerance(SIGMAS, CONCLUSIVE_POWER, FAMILY_RATE),
        left_out=left_out,
        accounting=record.footer["by_adapter"][name],
        checks=checks,
        run=run,
        grades=cells,
        divergences=divergences,
        kills="not measured" if beside.kills is None else read_kills(beside.kills, adapter, options),
        calibration="not measured" if beside.calibration is None else read_calibration(beside.calibration, adapter),
        repeated="not repeated" if beside.repeated is None else beside.repeated[name],
    )


def _subject(adapter: Description) -> Subject:
    return Subject(
        adapter.name,
        adapter.version,
        adapter.framework,
        adapter.framework_version,
        adapter.device,
        adapter.dtypes,
        adapter.activations,
        adapter.biases,
        {dtype: one.to_json() for dtype, one in adapter.arithmetic},
        dict(adapter.result_dtypes),
    )


def _record_file(record: Record, name: str) -> RecordFile:
    header = record.header
    adapter: dict[str, Any] = next(one for one in header["adapters"] if one["name"] == name)
    return RecordFile(
        record.sha256,
        header["suite"],
        header["numbers"],
        header["profile"],
        header["seed"],
        record.level,
        adapter["plan"],
    )


def to_text(certificate: Certificate) -> str:
    """The text of a certificate's file. Equal certificates have equal texts."""
    return json.dumps(msgspec.to_builtins(certificate), indent=1) + "\n"


def from_bytes(data: bytes) -> Certificate:
    """The inverse of `to_text`, in UTF-8. Raises ValueError for anything else, in one line."""
    try:
        return msgspec.json.decode(data, type=Certificate)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no certificate that this version knows: {error}") from None
