"""Read damaged records, and see that each is read or refused in one line, in time and memory.

    kterm check numpy --profile smoke --report run.jsonl
    python -m benchmarks.cost.fuzzed_records run.jsonl --count 20000

Each record is the given one with one to three changes: bytes flipped, cut out, doubled or exchanged; lines removed,
doubled or shuffled; a value of one object replaced by one of another kind, a huge one or a deep one.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kterm.conformance.records.record import RecordError, read

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**63, 10**40, 1e308, "", "inf", "nan", "x" * 1000, "\u202e", [], [[]], {}, {"": {}}, [None],
    "4x3-tanh-b2-none-f64-normal-s0", "tanh", "f64", "thorough", ["f64", "f64"],
)  # fmt: skip
"""Values that replace others."""


def damage(data: bytes, rng: random.Random) -> bytes:
    """The record with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice((_bytes, _lines, _value, _value, _value))(data, rng)
    return data


def damage_text(data: bytes, rng: random.Random) -> bytes:
    """Any file of lines with one change of bytes or lines."""
    return rng.choice((_bytes, _lines))(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"{"
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    b = min(b, a + rng.choice((1, 20, 10**9)))
    changed = {
        "flip": bytes(byte ^ (1 << rng.randrange(8)) for byte in data[a : a + 3]) + data[a + 3 : b],
        "cut": b"",
        "double": data[a:b] * 2,
        "noise": rng.randbytes(min(b - a, 50)),
        "deep": b"[" * rng.choice((10, 5000)),
    }
    return data[:a] + changed[rng.choice(list(changed))] + data[b:]


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 3:
        return data
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case 3:
            lines = [lines[0], *rng.sample(lines[1:-1], len(lines) - 2), lines[-1]]
        case _:
            lines = lines[:i] + lines[j:]
    return b"".join(lines)


def _value(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    # The first and the last line hold most of what a reader has to trust.
    i = rng.choice((0, -2, rng.randrange(len(lines)))) if len(lines) > 2 else 0
    try:
        row = json.loads(lines[i])
    except (ValueError, RecursionError):
        return data
    places = list_places(row)
    if not places:
        return data
    holder, key = rng.choice(places)
    if rng.random() < 0.2:
        del holder[key]
    elif rng.random() < 0.5 and type(holder[key]) in (int, float):
        holder[key] = holder[key] * rng.choice((-1, 2, 1.5, 1e6)) + rng.choice((0, 1))
    else:
        holder[key] = rng.choice(STRANGE)
    lines[i] = json.dumps(row, separators=(",", ":")).encode()
    return b"\n".join(lines)


def list_places(row: Any) -> list[tuple[Any, Any]]:
    """Every (object or list, key) in a row."""
    found, left = list[tuple[Any, Any]](), [row]
    while left:
        one = left.pop()
        keys = one.keys() if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        found += [(one, key) for key in keys]
        left += [one[key] for key in keys]
    return found


def try_record(data: bytes, folder: Path) -> tuple[str, float]:
    """What a reader says of a damaged record, in one line or nothing, and the seconds that it took."""
    path = folder / "r.jsonl"
    path.write_bytes(data)
    started = time.monotonic()
    try:
        read(path)
        said = ""
    except RecordError as error:
        said = str(error)
    assert "\n" not in said, said
    return said, time.monotonic() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    data, said, slowest = given.record.read_bytes(), Counter[str](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for i in range(given.count):
            message, seconds = try_record(damage(data, random.Random(f"{given.seed} {i}")), Path(folder))
            said["refused" if message else "read"] += 1
            slowest = max(slowest, seconds)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{given.count:,} records: {dict(said)}; the slowest took {slowest:.2f} s; at most {most:.2f} GiB of memory")


if __name__ == "__main__":
    main()
