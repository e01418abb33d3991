"""The cases of a record for a page, in which a reader searches: as JSON Lines, compressed."""

import base64
import gzip
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...checks.verdict import Status
from ...records.form.text import printable
from ...records.form.verdicts import format_verdict
from ...records.record import Record

MOST_BYTES = 2_000_000
"""The cases of a page may have so many bytes, compressed: a page has at most 4 MB."""
_NOTABLE: tuple[Status, ...] = ("failed", "errored", "blocked", "expected", "inconclusive", "unsupported")
_encode = msgspec.json.Encoder().encode


def pack_cases(record: Record, most: int = MOST_BYTES) -> tuple[str, int]:
    """Base64 of gzipped JSON Lines, and how many cases are in them: those that did not simply pass, then the others in
    their order, as many as fit into `most` bytes.

    The line of a case is [adapter, case, status, checks, blocked, inconclusive tensors, verdicts in full]. A check is
    [name, status, margin, power, tensors], and a verdict is as in the record.
    """
    ordered = sorted(record.cases, key=lambda key: record.cases[key].status not in _NOTABLE)
    lines = [_line_of(record, key) for key in ordered]
    packed, kept = _pack(lines), len(lines)
    while len(packed) > most and kept > 1:
        # What fits is about in proportion; a little less is tried each time.
        kept = max(1, min(kept - 1, int(kept * most / len(packed) * 0.97)))
        packed = _pack(lines[:kept])
    return packed, kept


def _pack(lines: Iterable[bytes]) -> str:
    # Without the time, which gzip would write, equal records give equal pages.
    return base64.b64encode(gzip.compress(b"\n".join(lines), 9, mtime=0)).decode()


def _line_of(record: Record, key: tuple[str, str]) -> bytes:
    adapter, case = key
    one = record.cases[key]
    checks = [
        [check, found.status, _number(found.margin), _number(found.power), one.tensors.get(check, ())]
        for check, found in one.checks.items()
    ]
    verdicts = [_as_text(msgspec.json.decode(format_verdict(adapter, v))) for v in record.verdicts.get(key, ())]
    return _encode([printable(adapter), case, one.status, checks, _as_text(one.blocked), one.inconclusive, verdicts])


def _as_text(value: Any) -> Any:
    """A value in which no text controls, hides or turns what stands around it."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(key): _as_text(one) for key, one in value.items()}
    return [*map(_as_text, value)] if isinstance(value, list | tuple) else value


def _number(value: float | None) -> float | str | None:
    """A number as JSON has it: infinities and NaN are text."""
    return value if value is None or abs(value) < float("inf") else str(value)
