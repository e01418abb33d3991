"""Rows of the tables about sound training steps: what was judged of a run, and the largest errors."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._common import seconds_text
from kterm.conformance.interfaces.models.judgement import Judgement, find_worst, place_of
from kterm.conformance.interfaces.models.lines import finding_lines, run_lines

Row = tuple[str, ...]
HEADER = (
    "model",
    "mode",
    "steps",
    "layers",
    "judged",
    "inconclusive",
    "not judged",
    "findings",
    "worst error in σ",
    "largest abs(t) of bias",
    "largest mean square in σ²",
    "time",
)
_FINDINGS = HEADER.index("findings")


@dataclass(frozen=True)
class Run:
    """One model in one mode: what was judged of `steps` steps, and the seconds that steps and judging took."""

    model: str
    mode: str
    steps: int
    judgement: Judgement
    seconds: float


def read_rows(path: Path | None) -> list[Row]:
    """The rows that a file keeps; none without a file."""
    if path is None or not path.exists():
        return []
    return [tuple(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def is_done(rows: Iterable[Row], model: str, mode: str, steps: int) -> bool:
    """Whether the row of a run is there."""
    return (model, mode, f"{steps:,}") in [row[:3] for row in rows]


def add_row(one: Run, rows: list[Row], path: Path | None) -> None:
    """Print the row of a run with its findings, and keep it, in a file too if there is one."""
    rows.append(_row_of(one))
    print(" | ".join(rows[-1]), flush=True)
    for line in (*finding_lines(one.judgement), *run_lines(one.judgement)):
        print(f"    {line}", flush=True)
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(rows[-1])}\n")


def are_sound(rows: Sequence[Row]) -> bool:
    """Whether no run has a finding."""
    return all(row[_FINDINGS] == "0" for row in rows)


def _row_of(one: Run) -> Row:
    judgement = one.judgement
    layers = {v.layer for v in judgement.verdicts}
    worst = find_worst(judgement.verdicts)
    judged = [j for some in (judgement.whole, *judgement.by_layer.values()) for j in some]
    t = [
        abs(mean.value) / mean.error
        for j in judged
        if any(v.check == "bias" for v in j.verdicts)
        for which, mean in j.means.items()
        if which != "square" and mean.error > 0
    ]
    squares = [j.means["square"].value for j in judged]
    failing = len(judgement.findings) + sum(v.fails for j in judged for v in j.verdicts)
    return (
        one.model,
        one.mode,
        f"{one.steps:,}",
        f"{len(layers)}",
        f"{len(judgement.verdicts):,}",
        f"{sum(v.verdict.grade == 'inconclusive' for v in judgement.verdicts):,}",
        f"{len(judgement.unjudged):,}",
        f"{failing:,}",
        "" if worst is None else f"{worst.sigmas:.1f} ({place_of(worst)})",
        f"{max(t):.1f}" if t else "",
        f"{max(squares):.2f}" if squares else "",
        seconds_text(one.seconds),
    )
