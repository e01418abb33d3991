"""Files of other commands that a page shows beside a record: those of `kterm ulp` and `kterm mutants`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...cases.plan import OptionError
from ...records.form.text import printable, shorten
from .charts import Chart, chart_accuracy, chart_kills

_MOST_BYTES = 2**26
Number = float | str


class _Accuracy(msgspec.Struct, frozen=True):
    """A line of `kterm ulp --json`. Of one that could not be measured, the curve is empty."""

    adapter: str
    activation: str
    dtype: str
    function: str = ""
    curve: tuple[tuple[Number, Number], ...] = ()


class _Cell(msgspec.Struct, frozen=True):
    cases: int
    killed: int
    margin: Number


class _Fate(msgspec.Struct, frozen=True):
    adapter: str
    dtype: str
    mutant: str
    regimes: dict[str, _Cell] = {}


class _Mutant(msgspec.Struct, frozen=True):
    name: str
    mistake: str
    equivalent: str = ""


class _Kills(msgspec.Struct, frozen=True):
    """The file of `kterm mutants --json`."""

    mutants: tuple[_Mutant, ...]
    fates: tuple[_Fate, ...]


def read_accuracy(path: Path) -> Chart | None:
    """The chart of a file of `kterm ulp --json`; None if nothing was measured in it. Raises OptionError."""
    rows = list(_accuracy_rows(path))
    return chart_accuracy(rows, list(dict.fromkeys(row["adapter"] for row in rows)))


def _accuracy_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_read(path, "--ulp").splitlines(), 1):
        one = _decode(line, _Accuracy, f"--ulp {path}, line {number}", "kterm ulp --json")
        for z, ulp in one.curve:
            yield {
                "adapter": printable(one.adapter), "choice": printable(f"{one.activation} {one.dtype}"),
                "function": printable(one.function), "z": float(z), "ulp": float(ulp),
            }  # fmt: skip


def read_kills(path: Path) -> Chart | None:
    """The chart of a file of `kterm mutants --json`; None if nothing was planted in it. Raises OptionError."""
    found = _decode(_read(path, "--kills"), _Kills, f"--kills {path}", "kterm mutants --json")
    mistakes = {one.name: one.mistake for one in found.mutants if not one.equivalent}
    rows, columns = list[dict[str, Any]](), dict[str, None]()
    for fate in found.fates:
        for regime, cell in fate.regimes.items():
            if fate.mutant in mistakes and cell.cases:
                columns[regime] = None
                margin = float(cell.margin) if cell.killed else 0.0
                rows.append({
                    "choice": printable(f"{fate.adapter} {fate.dtype}"), "mutant": printable(fate.mutant),
                    "mistake": printable(mistakes[fate.mutant]), "regime": printable(regime),
                    # A chart has no infinity.
                    "margin": min(margin, 1e300), "shown": _say(cell),
                })  # fmt: skip
    return chart_kills(rows, columns)


def _say(cell: _Cell) -> str:
    if not cell.killed:
        return f"not found in {cell.cases:,} cases"
    return f"found in {cell.killed:,} of {cell.cases:,} cases, by {float(cell.margin):.3g} tolerances at most"


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{option} {path}: {error.strerror or error}; name a readable file") from None
    if len(data) > _MOST_BYTES:
        raise OptionError(f"{option} {path}: has more than {_MOST_BYTES:,} bytes")
    return data


def _decode(data: bytes, kind: type[Any], where: str, command: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(shorten(f"{where}: {error}; give the file that {command} wrote", 600)) from None
