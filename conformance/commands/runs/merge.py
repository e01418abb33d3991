"""What `kterm merge` does: make one record of the shards of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from ...arithmetic.fingerprint import Fingerprint
from ...records.folder import DESCRIPTION, RunFolder
from ...records.form.console import TextConsole
from ...records.form.files import read_bytes
from ...records.form.lines import PartLine, RunLine
from ...records.form.text import printable
from ...records.parts import restore_part
from ...records.record import Record, RecordError, read
from ...records.run import Run, assemble, load
from ..exit_codes import CONFORMS, DOES_NOT
from .views.detail import Detail
from .views.printing import print_record

_OF_SHARD = ("selected", "shard", "planned", "adapters")
"""What the headers of shards may differ in."""
_PLACE = ("suite", "numbers", "platform", "python", "environment")


def run_merge(
    sources: Sequence[Path],
    output: Path,
    detail: Detail = "normal",
    keep: Callable[[Record, Path | None], object] = lambda *_: None,
) -> int:
    """Merge the records of all shards of a run into `output`, print as much of it as `detail` says, and give it to
    `keep`: the exit code is 0 if it conforms, else 1. No adapter is loaded.

    Raises RecordError for records that are no shards of one run, that overlap, or that leave some of it out.
    """
    records = [read(source) for source in sources]
    lines = [list(_lines_of(source)) for source in sources]
    _require_one_run(sources, records, lines)
    with RunFolder(output) as folder:
        description = msgspec.json.encode({**_run_of(lines[0]).description, "shard": None})
        (folder.path / DESCRIPTION).write_bytes(description)
        with _refusing_odd_parts(sources):
            run = replace(load(folder.path), fingerprints=tuple(_fingerprints(records)))
            groups = _require_whole(sources, lines, run)
            for own in lines:
                for line, body in own:
                    if isinstance(line, PartLine):
                        restore_part(folder.path, line, body)
            whole = assemble(run, folder, {name: records[0].header[name] for name in _PLACE})
        merged = read(whole)  # before anybody else can
        folder.deliver(whole)
    TextConsole(quiet=detail == "quiet").print(f"{output}: {groups:,} groups of {len(sources)} shards")
    print_record(merged, detail, output)
    keep(merged, output)
    return CONFORMS if merged.conforms else DOES_NOT


@contextmanager
def _refusing_odd_parts(sources: Sequence[Path]) -> Iterator[None]:
    """Refuse in one line what a shard holds for merging if no run wrote it: it is of no type yet, and not signed."""
    try:
        yield
    except RecordError:
        raise
    except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError, BadZipFile) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        names = ", ".join(map(str, sources))
        raise RecordError(printable(f"records {names}: their parts were not written by a run: {said:.200}")) from None


def _lines_of(source: Path) -> Iterator[tuple[RunLine | PartLine, bytes]]:
    """The lines that only a shard has, each with the lines between it and the next."""
    decoder = msgspec.json.Decoder(RunLine | PartLine)
    found: RunLine | PartLine | None = None
    body: list[bytes] = []
    for line in read_bytes(source).split(b"\n"):
        if line.startswith((b'{"kind":"run"', b'{"kind":"part"', b'{"kind":"footer"')):
            if found is not None:
                yield found, b"".join(body)
            if line.startswith(b'{"kind":"footer"'):
                return
            found, body = decoder.decode(line), []
        elif found is not None:
            body.append(line + b"\n")


def _run_of(lines: Sequence[tuple[RunLine | PartLine, bytes]]) -> RunLine:
    return next(line for line, _ in lines if isinstance(line, RunLine))


def _require_one_run(
    sources: Sequence[Path], records: Sequence[Record], lines: Sequence[Sequence[tuple[RunLine | PartLine, bytes]]]
) -> None:
    """Raise RecordError unless all records are shards of one run."""
    first = records[0].header
    for source, record, own in zip(sources, records, lines, strict=True):
        header = record.header
        if "shard" not in header or not any(isinstance(line, RunLine) for line, _ in own):
            raise RecordError(f"record {source}: is no shard; write shards with kterm check --shard I/N -o FILE")
        if record.footer["unanswered"]:
            raise RecordError(f"record {source}: {len(record.footer['unanswered']):,} of its cases have no result")
        differing = [name for name in _differing(first, header) if name not in _OF_SHARD]
        if not differing and _plain(_run_of(own)) != _plain(_run_of(lines[0])):
            differing = ["adapters"]
        if differing:
            raise RecordError(f"record {source}: differs from {sources[0]} in {', '.join(differing)}")


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """The names of what differs in two headers, within objects too."""
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from (f"{name}: {inside}" for inside in _differing(a, b))
        elif a != b:
            yield name


def _plain(line: RunLine) -> dict[str, Any]:
    return {name: value for name, value in line.description.items() if name not in ("shard", "fingerprints", "timeout")}


def _require_whole(
    sources: Sequence[Path], lines: Sequence[Sequence[tuple[RunLine | PartLine, bytes]]], run: Run
) -> int:
    """How many groups the run has. Raises RecordError unless each is in one shard."""
    owner: dict[int, Path] = {}
    for source, own in zip(sources, lines, strict=True):
        for line, _ in own:
            if isinstance(line, PartLine):
                if line.number in owner:
                    raise RecordError(
                        f"records {owner[line.number]} and {source} overlap: both hold {_name(run, line.number)}"
                    )
                owner[line.number] = source
    missing = [number for number in range(len(run.groups)) if number not in owner]
    if missing:
        raise RecordError(
            f"{len(missing):,} of {len(run.groups):,} groups are in no record, such as {_name(run, missing[0])}; name "
            "the records of all shards"
        )
    return len(owner)


def _name(run: Run, number: int) -> str:
    if number >= len(run.groups):
        return f"group {number}"
    adapter, group = run.groups[number]
    return f"{group.id} of {adapter.name}"


def _fingerprints(records: Sequence[Record]) -> Iterator[Fingerprint]:
    """What was measured of each adapter in the first shard that did."""
    seen: set[str] = set()
    for record in records:
        for adapter in record.header["adapters"]:
            stored: Mapping[str, Any] | None = adapter.get("fingerprint")
            if stored is not None and adapter["name"] not in seen:
                seen.add(adapter["name"])
                yield Fingerprint.from_json(dict(stored))
