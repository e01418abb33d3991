"""Judging a folder of results by a folder of vectors. Nothing of a framework runs here.

A result passes if it lies between the ends of its interval. `examples/verify_vectors.py` does the same in plain NumPy.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ....adapters.traces.container import FORMATS, ContainerError, read_arrays
from ....reference import Array
from ...cases.plan import OptionError
from .export import MANIFEST, SCHEMA, SCHEMA_VERSION
from .make import LOWER, SHOWS, UPPER

Outcome = Literal["passed", "failed", "inconclusive", "unsupported", "errored"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "inconclusive", "unsupported", "errored")

UNSUPPORTED = "unsupported"
"""The metadata of a file of results that says, in words, why a port has none."""
_OPTIONAL = "zxk"


@dataclass(frozen=True)
class Departure:
    """The first quantity of a case that departs, in the order of the computation, and its worst entry.

    `lower` and `upper` are the ends of the interval of right answers at index `at`.
    """

    quantity: str
    at: tuple[int, ...]
    observed: float
    lower: float
    upper: float


@dataclass(frozen=True)
class CaseVerdict:
    """The verdict on one case: the outcome of each quantity that was judged, and of all of them together.

    `message` says why a case is unsupported or errored; `departure` belongs to a failed case.
    """

    case: str
    outcome: Outcome
    quantities: Mapping[str, Outcome]
    departure: Departure | None = None
    message: str = ""


@dataclass(frozen=True)
class VectorSet:
    """A folder of vectors: its path, and the entries of the manifest, one for each structure."""

    folder: Path
    structures: Sequence[Mapping[str, Any]]


def open_vectors(folder: Path) -> VectorSet:
    """Read the manifest of a folder of vectors. Raises OptionError, in one line, for anything else."""
    path = folder / MANIFEST
    form = f"{path}: is no manifest of vectors; write the folder again with kterm vectors export"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, entries = (manifest["schema"], manifest["schema_version"]), manifest["structures"]
        complete = all({"file", "cases", "quantities", "sha256", "regime", "catches"} <= set(one) for one in entries)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}; name a folder that kterm vectors export wrote") from None
    except (ValueError, KeyError, TypeError):
        raise OptionError(form) from None
    if not complete or not entries:
        raise OptionError(form)
    if found != (SCHEMA, SCHEMA_VERSION):
        raise OptionError(f"{path}: has schema {found}; this version reads {(SCHEMA, SCHEMA_VERSION)}")
    return VectorSet(folder, entries)


def judge_results(vectors: VectorSet, results: Path) -> Iterator[list[CaseVerdict]]:
    """The verdicts on the cases of each structure, in the order of the manifest.

    Raises OptionError if the results are no folder, or if a file of the vectors is not as it was written.
    """
    if not results.is_dir():
        raise OptionError(f"{results}: is no folder; write the results to one, in files with the names of the vectors")
    for entry in vectors.structures:
        due = _read_due(vectors.folder, entry)
        try:
            given, metadata = read_arrays(results / entry["file"])
        except ContainerError as error:
            yield _all(entry, "errored", str(error))
            continue
        if not given and metadata.get(UNSUPPORTED):
            yield _all(entry, "unsupported", metadata[UNSUPPORTED])
        elif problem := find_problem(entry["quantities"], due, given):
            yield _all(entry, "errored", f"{results / entry['file']}: {problem}")
        else:
            yield [judge_case(case, i, entry["quantities"], due, given) for i, case in enumerate(entry["cases"])]


def conforms(verdicts: Sequence[CaseVerdict]) -> bool:
    """Whether no case failed or errored, and at least one passed."""
    found = {verdict.outcome for verdict in verdicts}
    return "passed" in found and not found & {"failed", "errored"}


def count_outcomes(verdicts: Sequence[CaseVerdict]) -> Counter[Outcome]:
    """How many cases have each outcome."""
    return Counter(verdict.outcome for verdict in verdicts)


def _read_due(folder: Path, entry: Mapping[str, Any]) -> dict[str, Array]:
    path = folder / entry["file"]
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]:
            return read_arrays(path)[0]
    except (OSError, ContainerError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); write the folder again") from None
    raise OptionError(f"{path}: is not the file that the manifest lists; write the folder again")


def _all(entry: Mapping[str, Any], outcome: Outcome, message: str) -> list[CaseVerdict]:
    return [CaseVerdict(case, outcome, {}, message=message) for case in entry["cases"]]


def find_problem(quantities: Sequence[str], due: Mapping[str, Array], given: Mapping[str, Array]) -> str:
    """What is wrong with the form of a file of results: its names, shapes and dtypes; empty if nothing is."""
    names = {str(dtype): name for name, dtype in FORMATS.items()}
    for name, array in given.items():
        if name in quantities:
            right = due[name]
            if array.shape != right.shape:
                return f"{name} has shape {array.shape}; it should be {right.shape}, with the draws first"
            if array.dtype != right.dtype:
                return f"{name} has dtype {names[str(array.dtype)]}; it should be {names[str(right.dtype)]}"
        elif name[:1] not in _OPTIONAL or name[1:2] != "_":
            return f"{name[:60]!r} is no quantity of this structure; known are {', '.join(quantities)}"
    missing = [name for name in quantities if name not in given and name[0] not in _OPTIONAL]
    return f"{missing[0]} is missing" if missing else ""


def judge_case(
    case: str, i: int, quantities: Sequence[str], due: Mapping[str, Array], given: Mapping[str, Array]
) -> CaseVerdict:
    found, departure = dict[str, Outcome](), None
    for name in quantities:
        if name not in given:
            continue
        observed, lower, upper = (a.astype(float) for a in (given[name][i], due[name + LOWER][i], due[name + UPPER][i]))
        inside = np.isnan(lower) | ((lower <= observed) & (observed <= upper))
        found[name] = ("passed" if due[name + SHOWS][i] else "inconclusive") if inside.all() else "failed"
        if found[name] == "failed" and departure is None:
            departure = _worst(name, observed, lower, upper, inside)
    for outcome in ("failed", "inconclusive"):
        if outcome in found.values():
            return CaseVerdict(case, outcome, found, departure)
    return CaseVerdict(case, "passed", found)


def _worst(name: str, observed: Array, lower: Array, upper: Array, inside: Array) -> Departure:
    """The entry that lies farthest outside of its interval, in units of half its width."""
    with np.errstate(all="ignore"):
        outside = np.maximum(lower - observed, observed - upper) / (upper - lower)
    outside = np.where(inside, -1.0, np.where(np.isnan(outside), np.inf, outside))
    at = np.unravel_index(int(outside.argmax()), outside.shape)
    return Departure(name, tuple(map(int, at)), float(observed[at]), float(lower[at]), float(upper[at]))
