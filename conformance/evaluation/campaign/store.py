"""The folder of a campaign: what it was asked for, one line for each unit that ended, and how long each took.

    with Store(Path("campaign")) as store:
        run = store.begin(run, cost)
        store.write(unit, line, seconds)
        for number, line in store.lines(): ...

A line is on the disk before its unit counts as done. A campaign that is killed at any moment loses only what was in
work, and at most cuts the last line short, which is then run again.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...cases.plan import OptionError
from ...records.folder import WriteLock
from ...records.form.files import RecordError
from ...records.form.text import printable
from ...records.run import Run, to_json

ASKED, UNITS, TIMES, SUMMARY = "campaign.json", "units.jsonl", "times.jsonl", "summary.json"
SCHEMA = 1
_FREE = ("timeout", "fingerprints", "shard")
"""What a campaign may go on with changed: how long to wait for an answer."""


class _Head(msgspec.Struct):
    unit: int


class Store:
    """A folder that one campaign writes. It is created if it is not there.

    Raises OptionError, in one line, if another process writes it, or if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offsets: dict[int, tuple[int, int]] = {}
        self._lock: WriteLock | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = WriteLock(folder / UNITS, f"campaign {folder}", "folder")
        except OSError as error:
            raise OptionError(
                f"campaign {folder}: {error.strerror or error}; name a folder that can be written"
            ) from None

    def begin(self, run: Run, cost: float) -> None:
        """Write down what is asked for, or make sure that it is what the folder was begun with, and read which units
        are there.

        Raises OptionError if it is something else, and RecordError if the folder cannot be read or written.
        """
        asked = json.loads(json.dumps({"schema": SCHEMA, "unit_cost": cost, **to_json(run)}))
        path = self.folder / ASKED
        try:
            if path.exists():
                self._require_same(path, asked)
            else:
                if (self.folder / UNITS).exists():
                    raise OptionError(f"campaign {self.folder}: has no {ASKED}; name another folder")
                _write_whole(path, json.dumps(asked))
            self._index()
        except OSError as error:
            raise RecordError(f"campaign {self.folder}: {error.strerror or error}") from None

    def _require_same(self, path: Path, asked: dict[str, Any]) -> None:
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
            changes = [] if begun == asked else list(_changes(begun, asked))
        except (ValueError, AttributeError, TypeError, LookupError):
            raise OptionError(f"campaign {self.folder}: {ASKED} is damaged; name another folder") from None
        if changes:
            said = printable("; ".join(changes))
            raise OptionError(f"campaign {self.folder}: {said}; ask for the same, or name another folder")

    def _index(self) -> None:
        """Find the lines that are there; cut off what is left of one that was not written whole."""
        path = self.folder / UNITS
        self._offsets = {}
        self._units = path.open("a+b")
        self._times = (self.folder / TIMES).open("a", encoding="utf-8")
        self._units.seek(0)
        decoder = msgspec.json.Decoder(_Head)
        at = 0
        for number, line in enumerate(self._units, 1):
            if not line.endswith(b"\n"):
                self._units.truncate(at)
                break
            try:
                unit = decoder.decode(line).unit
            except msgspec.MsgspecError:
                raise RecordError(
                    f"campaign {path}: line {number} is damaged; delete it, and its unit is run again"
                ) from None
            # The first counts, should a unit be there twice.
            self._offsets.setdefault(unit, (at, len(line)))
            at += len(line)

    def reread(self) -> None:
        """Find the lines anew, after an interrupt at any point. Raises RecordError."""
        try:
            self._units.close()
            self._times.close()
            self._index()
        except OSError as error:
            raise RecordError(f"campaign {self.folder}: {error.strerror or error}") from None

    @property
    def done(self) -> frozenset[int]:
        """The numbers of the units that are there."""
        return frozenset(self._offsets)

    @property
    def size(self) -> int:
        """How many bytes the lines take."""
        return sum(length for _, length in self._offsets.values())

    def write(self, unit: int, line: bytes, seconds: float, worker: str = "") -> bool:
        """Write the line of a unit down for good; False if it is there already. Raises RecordError."""
        if unit in self._offsets:
            return False
        try:
            at = self._units.seek(0, os.SEEK_END)
            self._units.write(line + b"\n")
            self._units.flush()
            os.fsync(self._units.fileno())
            self._times.write(f"{json.dumps({'unit': unit, 'seconds': round(seconds, 3), 'worker': worker})}\n")
            self._times.flush()
        except OSError as error:
            raise RecordError(
                f"campaign {self.folder}: {error.strerror or error}; what it holds is kept, and the same command goes "
                "on"
            ) from None
        self._offsets[unit] = at, len(line) + 1
        return True

    def lines(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        """The units that are there with their lines, in the order of their numbers; only some if they are given."""
        for number in sorted(self._offsets if numbers is None else self._offsets.keys() & set(numbers)):
            at, length = self._offsets[number]
            self._units.seek(at)
            yield number, self._units.read(length)

    def write_summary(self, summary: dict[str, Any]) -> Path:
        """Write the summary, whole or not at all, and give its path. Raises RecordError."""
        path = self.folder / SUMMARY
        try:
            _write_whole(path, json.dumps(summary, indent=1))
        except OSError as error:
            raise RecordError(f"campaign {path}: {error.strerror or error}") from None
        return path

    def close(self) -> None:
        """Let other campaigns write here."""
        for file in (getattr(self, "_units", None), getattr(self, "_times", None)):
            if file is not None:
                file.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            with suppress(OSError):
                self.folder.rmdir()  # as long as it is empty: nothing was begun

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_whole(path: Path, text: str) -> None:
    scratch = path.with_name(f"{path.name}.unfinished")
    with scratch.open("w", encoding="utf-8") as out:
        out.write(f"{text}\n")
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(path)


def _changes(begun: dict[str, Any], asked: dict[str, Any]) -> Iterator[str]:
    """What differs between what a campaign was begun with and what is asked for now, in words."""
    for name in dict.fromkeys([*begun, *asked]):
        was, now = begun.get(name), asked.get(name)
        if was == now or name in _FREE:
            continue
        if name == "adapters":
            yield from _changed_adapters(was, now)
        elif isinstance(was, dict) and isinstance(now, dict):
            yield from (
                f"{key} was {_say(was.get(key))}, and is {_say(now.get(key))}"
                for key in dict.fromkeys([*was, *now])
                if was.get(key) != now.get(key)
            )
        elif name == "expectations":
            yield "the expectations are others than it was begun with"
        else:
            yield f"{name} was {_say(was)}, and is {_say(now)}"


def _changed_adapters(begun: Any, asked: Any) -> Iterator[str]:
    was, now = ([f"{one['name']} {one['version']}" for one in some] for some in (begun, asked))
    if was != now:
        yield f"its adapters were {', '.join(was)}, and are {', '.join(now)}"
        return
    for one, other in zip(begun, asked, strict=True):
        if one != other:
            names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
            yield f"{one['name']} had another {', '.join(names)}"


def _say(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "all"
    return "none" if value in (None, "") else str(value)
