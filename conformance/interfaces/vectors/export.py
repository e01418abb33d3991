"""Writing a folder of vectors: one file for each structure, and a manifest that says what each is for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ....adapters.traces.container import write_arrays
from ....reference import ACTIVATIONS, BIASES, DTYPES, Bias
from ....reference.rounding import SIGMAS
from ...cases.case import Group
from ...cases.description import Description
from ...cases.draw import NUMBERS
from ...cases.plan import OptionError, Options, plan, require_known
from .make import Vectors, make_vectors

MANIFEST = "manifest.json"
SCHEMA, SCHEMA_VERSION = "kterm-vectors", 1
_MOST_NAME = 200

CATCHES = {
    "normal": "mistakes that any shape shows: a missing or doubled f', a missing transpose, a mean for a sum",
    "square": "mixed-up axes, which every other shape turns into an error",
    "lattice": "any departure at all: every number is exact, and answers must match bit for bit",
    "kinks": "a wrong slope at a point where f' jumps or a formula changes, and beside it",
    "tails": "saturation, overflow and NaN in activations and their derivatives",
    "converged": "mistakes that absolute tolerances do not see, since the residuals are small",
    "subnormal": "results below the normal range that are flushed to zero",
    "degenerate": "an empty batch, one row, one unit, equal rows, rows of zeros",
    "strided": "mistakes that any shape shows; the strides themselves are not in a file",
    "tiles": "kernels that are wrong past the edge of a tile, and accumulators too narrow for a long sum",
    "means": "accumulators that lose the late terms of sums whose terms have a mean",
    "twins": "mistakes that any shape shows; programs that are confused with each other need both in one process",
}
"""What the structures of each regime are for. Regimes that are about calls have no vectors: layout and soak. Nor has
large, whose files would hold megabytes each.
"""


@dataclass(frozen=True)
class Exported:
    """What was written: how many structures and cases, and their bytes in all."""

    structures: int
    cases: int
    size: int


def select_groups(options: Options, biases: Sequence[str] = ()) -> list[Group]:
    """The groups that have vectors, in the order of the plan. `biases` are the bias placements to keep; empty: all.

    Raises OptionError for an unknown bias placement, and where no group is left.
    """
    for name in biases:
        require_known("bias", name, BIASES)
    kept: tuple[Bias, ...] = tuple(name for name in BIASES if not biases or name in biases)
    activations = tuple(name for name in ACTIVATIONS if not options.activations or name in options.activations)
    everything = Description("", "vectors", "", "IN_OUT", tuple(DTYPES), activations, kept, "cpu", None)
    groups = [group for group in plan(everything, options).groups if group.regime in CATCHES]
    if not groups:
        raise OptionError("no structure is left to export; name more dtypes, activations or biases")
    return groups


def export_vectors(
    folder: Path, options: Options, biases: Sequence[str] = (), done: Callable[[], object] | None = None
) -> Exported:
    """Write the vectors of a profile to a new or empty folder. `done` is called after each structure.

    Raises OptionError for options that leave nothing, and for a folder that cannot be written or is not empty.
    """
    groups = select_groups(options, biases)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if next(folder.iterdir(), None) is not None:
            raise OptionError(f"{folder}: the folder is not empty; name a new one")
        with threadpool_limits(1):
            entries = list(_write_all(folder, groups, done))
        text = _manifest(options, biases, entries)
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OptionError(f"{folder}: {error.strerror or error}; name a folder that can be written") from None
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Exported(len(entries), sum(len(entry["cases"]) for entry in entries), size)


def _write_all(folder: Path, groups: Sequence[Group], done: Callable[[], object] | None) -> Iterator[dict[str, Any]]:
    for group in groups:
        vectors = make_vectors(group)
        if vectors is not None:
            path = folder / file_name(group)
            write_arrays(path, vectors.arrays, {"structure": group.id})
            yield _entry(path, vectors)
        if done is not None:
            done()


def file_name(group: Group) -> str:
    """The name of a group's file: its id, shortened if it is longer than a file system takes."""
    name = group.id
    if len(name) > _MOST_NAME:
        name = f"{name[: _MOST_NAME - 17]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
    return f"{name}.safetensors"


def _entry(path: Path, vectors: Vectors) -> dict[str, Any]:
    """What the manifest says of one file."""
    group = vectors.group
    network = group.structure.network
    ids = {draw: case.id for draw, case in zip(group.draws, group.cases, strict=True)}
    return {
        "file": path.name,
        "regime": group.regime,
        "catches": CATCHES[group.regime],
        "widths": list(network.widths),
        "activations": list(network.activations),
        "bias": network.bias,
        "batch": group.structure.batch,
        "dtype": group.structure.dtype,
        "cases": [ids[draw] for draw in vectors.draws],
        "quantities": list(vectors.quantities),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _manifest(options: Options, biases: Sequence[str], entries: Sequence[dict[str, Any]]) -> str:
    """The text of the manifest: one line for each field, and one for each structure."""
    used = {name for entry in entries for name in entry["activations"]}
    fields = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "suite": version("kterm"),
        "numbers": NUMBERS,
        "profile": options.profile,
        "seed": options.seed,
        "sigmas": SIGMAS,
        "dtypes": list(options.dtypes),
        "biases": list(biases),
        "activations": {name: dict(row.parameters) for name, row in ACTIVATIONS.items() if name in used},
    }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
    structures = ",\n".join(map(json.dumps, entries))
    return "{\n" + ",\n".join([*lines, f'"structures": [\n{structures}\n]']) + "\n}\n"
