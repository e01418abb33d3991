"""How long each group took: written apart from the record, which has nothing that differs between two repetitions."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GroupTiming:
    """One group: its adapter and id, the number of its cases, and the seconds of wall time that it took."""

    adapter: str
    group: str
    cases: int
    seconds: float


def note_seconds(folder: Path, worker: str, number: int, seconds: float) -> None:
    """Note in the folder of a run how long a group took, by its place in the plan. Raises OSError."""
    with (folder / f"seconds-{worker}.jsonl").open("a", encoding="utf-8") as out:
        out.write(f"[{number},{seconds:.6f}]\n")


def read_seconds(folder: Path) -> dict[int, float]:
    """The seconds of each group that was noted, also before a run was resumed. A line that was cut is left out."""
    found: dict[int, float] = {}
    for path in sorted(folder.glob("seconds-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("]"):
                number, seconds = json.loads(line)
                found[number] = seconds
    return found


def format_timings(groups: Iterable[GroupTiming], workers: int, seconds: float) -> str:
    """The timings of a run as JSON: in all, by adapter, and by group. `seconds` are those of the whole run on this many
    workers; those of the groups add up over workers.
    """
    groups = list(groups)
    by_adapter: dict[str, dict[str, float]] = {}
    for one in groups:
        total = by_adapter.setdefault(one.adapter, {"cases": 0, "seconds": 0.0})
        total["cases"] += one.cases
        total["seconds"] = round(total["seconds"] + one.seconds, 6)
    rows = [[one.adapter, one.group, one.cases, one.seconds] for one in groups]
    head = {"seconds": round(seconds, 3), "workers": workers, "adapters": by_adapter}
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{json.dumps(head, indent=1, ensure_ascii=False)[:-2]},\n "groups": [\n{lines}\n ]\n}}\n'
