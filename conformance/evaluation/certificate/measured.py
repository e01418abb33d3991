"""What was measured beside the run: files of `kterm mutants --json` and `kterm calibrate --json`, as a certificate has
them. A file of another adapter, plan or version of the suite is refused.
"""

import hashlib
from collections import Counter
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from ....reference.rounding import SIGMAS
from ...cases.description import Description
from ...cases.draw import NUMBERS
from ...cases.plan import OptionError, Options
from ...mutants import MISTAKES, MUTANTS
from ...records.form.lines import Count
from ...records.form.text import count
from ..calibration.limit import CONFIDENCE, compute_upper_limit
from .form import CalibrationScore, Kills, KillScore

_SMALLEST = "smoke"
"""Every profile begins with the cases of this one."""
_MOST_BYTES = 2**28


class _Suite(msgspec.Struct, kw_only=True):
    """What both files begin with."""

    suite: str
    numbers: str
    sigmas: float
    seed: Count
    profile: str
    activations: tuple[str, ...]
    regimes: tuple[str, ...]
    like: tuple[str, ...]
    adapters: tuple[dict[str, Any], ...]


class _RegimeCell(msgspec.Struct):
    killed: Count


class _Fate(msgspec.Struct):
    adapter: str
    dtype: str
    mutant: str
    state: Literal["killed", "survived", "not applicable", "found", "never found"]
    regimes: dict[str, _RegimeCell]


class _KillsFile(_Suite, kw_only=True):
    without: tuple[str, ...]
    gradients_alone: bool
    fates: tuple[_Fate, ...]


class _Spread(msgspec.Struct):
    adapter: str
    dtype: str
    judged: Count
    alarms: Count
    statuses: dict[str, Count]


class _CalibrationFile(_Suite, kw_only=True):
    spread: tuple[_Spread, ...]


_File = TypeVar("_File", bound=_Suite)


def read_kills(path: Path, adapter: Description, options: Options) -> KillScore:
    """The kill score of an adapter, from a file of `kterm mutants --json`. `options` are those of the record.

    Raises OptionError for a file that cannot be read, is of another adapter, plan or version, was kept to a part of the
    mutants or checks, or in which an adapter without a mistake does not conform.
    """
    where = f"--kills {path}"
    data, found = _read(path, where, _KillsFile)
    _require_same(where, found, adapter, f"kterm mutants {adapter.name} --profile {options.profile} --json FILE")
    if (found.profile, found.seed) not in ((options.profile, options.seed), (_SMALLEST, options.seed)):
        asked = f"profile {options.profile} or {_SMALLEST} and seed {options.seed}"
        raise OptionError(f"{where}: has profile {found.profile} and seed {found.seed}; measure it with {asked}")
    if found.gradients_alone or found.without or found.activations or found.regimes or found.like:
        raise OptionError(f"{where}: was measured with a part of the checks or cases; measure it without such options")
    by_dtype: dict[str, dict[str, _Fate]] = {}
    for fate in found.fates:
        if fate.adapter == adapter.name:
            if fate.mutant in by_dtype.setdefault(fate.dtype, {}):
                raise OptionError(f"{where}: has the mutant {fate.mutant!r} twice in {fate.dtype}")
            by_dtype[fate.dtype][fate.mutant] = fate
    if not by_dtype:
        raise OptionError(f"{where}: has no mutant of {adapter.name}; measure it anew")
    return KillScore(_hash(data), tuple(_score(where, dtype, some, found) for dtype, some in by_dtype.items()))


def _score(where: str, dtype: str, fates: dict[str, _Fate], found: _KillsFile) -> Kills:
    if missing := next((name for name in ("", *MUTANTS) if name not in fates), None):
        raise OptionError(f"{where}: lacks the mutant {missing} in {dtype}; measure all of them")
    if strange := next((name for name in fates if name and name not in MUTANTS), None):
        raise OptionError(f"{where}: has a mutant {strange!r:.80}, which this version does not know")
    states = Counter[str]()
    survived = list[str]()
    for name, fate in fates.items():
        is_found = any(cell.killed for cell in fate.regimes.values())
        if is_found != (fate.state in ("killed", "found")):
            raise OptionError(
                f"{where}: says that {name or 'the adapter itself'} is {fate.state}, and its cases do not"
            )
        if fate.state == "found":
            what = f"{name}, which is no mistake," if name else f"{fate.adapter} without a mutant"
            raise OptionError(f"{where}: says that {what} was found in {dtype}; a sound run finds neither")
    for mistake in MISTAKES:
        states[fates[mistake.name].state] += 1
        if fates[mistake.name].state == "survived":
            survived.append(mistake.name)
    due = states["killed"] + states["survived"]
    score = states["killed"] / due if due else 0.0
    return Kills(dtype, found.profile, states["killed"], tuple(survived), states["not applicable"], score)


def read_calibration(path: Path, adapter: Description) -> CalibrationScore:
    """The false alarms of an adapter, from a file of `kterm calibrate --json`, in all its dtypes together.

    Raises OptionError for a file that cannot be read, is of another adapter or version, or has no case of the adapter.
    """
    where = f"--calibration {path}"
    data, found = _read(path, where, _CalibrationFile)
    _require_same(where, found, adapter, f"kterm calibrate {adapter.name} --json FILE")
    own = [one for one in found.spread if one.adapter == adapter.name]
    cases, alarms = sum(one.judged for one in own), sum(one.alarms for one in own)
    errored = sum(one.statuses.get("errored", 0) for one in own)
    if not cases or alarms > cases:
        raise OptionError(
            f"{where}: has {alarms:,} alarms in {count(cases, 'case')} of {adapter.name}; measure it anew"
        )
    if errored:
        raise OptionError(f"{where}: {count(errored, 'case')} of {adapter.name} errored; measure it anew")
    limit = float(f"{compute_upper_limit(alarms, cases):.3g}")
    return CalibrationScore(_hash(data), cases, alarms, limit, CONFIDENCE)


def _read(path: Path, where: str, kind: type[_File]) -> tuple[bytes, _File]:
    try:
        with path.open("rb") as source:
            data = source.read(_MOST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{where}: {error.strerror or error}; name a readable file") from None
    if len(data) > _MOST_BYTES:
        raise OptionError(f"{where}: has more than {_MOST_BYTES:,} bytes; no such file is that large")
    try:
        return data, msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{where}: was not written with --json of that command: {error}") from None


def _require_same(where: str, found: _Suite, adapter: Description, command: str) -> None:
    here = metadata.version("kterm")
    if (found.suite, found.numbers, found.sigmas) != (here, NUMBERS, SIGMAS):
        theirs = f"kterm {found.suite}, numbers {found.numbers} and λ = {found.sigmas:g}"
        raise OptionError(f"{where}: is of {theirs}; here they are {here}, {NUMBERS} and {SIGMAS:g}; measure it anew")
    named = [one for one in found.adapters if one.get("name") == adapter.name]
    if not named:
        names = ", ".join(str(one.get("name")) for one in found.adapters)
        raise OptionError(f"{where}: is of {names:.80}, and not of {adapter.name}; write it with {command}")
    try:
        same = len(named) == 1 and _comparable(Description.from_json(named[0])) == _comparable(adapter)
    except (AttributeError, KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise OptionError(f"{where}: its {adapter.name} declares other things than that of the record; measure it anew")


def _comparable(adapter: Description) -> Description:
    """What makes a plan, and who answers: not how the adapter was named on the command line."""
    return replace(adapter, spec="", python=None)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
