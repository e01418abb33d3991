"""Sound training steps of real models, judged: does anything depart?

    python -m benchmarks.models.sound [--steps 200] [--model NAME] [--mode NAME] [--chunk 5] [--rows FILE] [--write]

It needs torch, transformers and torchvision. The optimizer takes every step, so that weights and gradients are those of
a training run. The steps are judged in chunks, which bounds the memory, and their sums are judged together at the end.
With `--rows`, the row of each run is kept in a file, and runs whose row is there are not repeated. It exits with 1 if a
verdict fails.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import kterm
from benchmarks._common import circumstances, one_thread, parser, publish, seconds_text, table
from benchmarks.models.build import MODELS, Model
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.interfaces.models.judge import Part, Unit, collect_parts, judge_unit, list_units
from kterm.conformance.interfaces.models.judgement import Judgement, Options, find_worst, place_of
from kterm.conformance.interfaces.models.lines import finding_lines, run_lines
from kterm.conformance.interfaces.models.read import check_trace

Mode = Literal["f32", "f64", "bf16", "bf16 autocast", "accumulate", "checkpoint", "reentrant"]
MODES: tuple[Mode, ...] = ("f32", "f64", "bf16", "bf16 autocast", "accumulate", "checkpoint", "reentrant")
_DTYPES = {"f64": torch.float64, "bf16": torch.bfloat16}
_EXAMPLES, _PASSES = 2, 3
FINDINGS = 6
"""The column of the findings."""
Row = tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One model in one mode: what was judged of `steps` steps, and the seconds that steps and judging took."""

    model: str
    mode: str
    steps: int
    judgement: Judgement
    seconds: float


def main() -> int:
    """Judge, print the table, and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--chunk", type=int, default=5, help="the steps that are judged at once")
    options.add_argument("--rows", type=Path, help="a file that keeps the rows of the table")
    options.add_argument("--model", choices=MODELS, action="append")
    options.add_argument("--mode", choices=MODES, action="append")
    chosen = options.parse_args()
    one_thread()
    rows = read_rows(chosen.rows)
    for name in chosen.model or MODELS:
        for mode in chosen.mode or MODES:
            steps = f"{chosen.steps:,}"
            if (name, mode, steps) in [row[:3] for row in rows]:
                continue
            if MODELS[name].checkpoint is None and mode in ("checkpoint", "reentrant"):
                continue
            one = run(MODELS[name], mode, chosen.steps, chosen.chunk)
            rows.append(show(one, chosen.rows))
    publish("models-sound", "Sound steps of real models", _body(rows), chosen.write)
    return 0 if all(row[FINDINGS] == "0" for row in rows) else 1


def show(one: Run, kept: Path | None) -> Row:
    """Print the row of a run with its findings, and add it to the file that keeps rows. Returns it."""
    row = _row(one)
    print(" | ".join(row), flush=True)
    for line in (*finding_lines(one.judgement), *run_lines(one.judgement)):
        print(f"    {line}", flush=True)
    if kept is not None:
        with kept.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(row)}\n")
    return row


def read_rows(path: Path | None) -> list[Row]:
    """The rows of a file, none if it is not there."""
    if path is None or not path.exists():
        return []
    return [tuple(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def run(model: Model, mode: Mode, steps: int, chunk: int) -> Run:
    """Train a model for some steps and judge each."""
    start = time.perf_counter()
    torch.manual_seed(0)
    built = model.build().to(_DTYPES.get(mode, torch.float32)).train()
    if mode in ("checkpoint", "reentrant") and model.checkpoint is not None:
        model.checkpoint(built, mode == "reentrant")
    optimizer = torch.optim.AdamW(built.parameters(), 1e-3)

    def capture_some(length: int) -> kterm.Trace:
        with kterm.capture(built) as capture:
            for _ in range(length):
                _take_step(model, built, mode)
                capture.end_step()
                optimizer.step()
                optimizer.zero_grad()
        return capture.trace()

    judgement = judge_steps(steps, chunk, capture_some)
    return Run(model.name, mode, steps, judgement, time.perf_counter() - start)


def judge_steps(steps: int, chunk: int, capture_some: Callable[[int], kterm.Trace]) -> Judgement:
    """Judge steps in chunks, each captured by a call with its length; their sums are judged together."""
    units, parts = list[Unit](), list[Part]()
    options, trace = Options(), None
    for length in _chunks(steps, chunk):
        trace = capture_some(length)
        check_trace(trace)
        some = list_units(trace, options)
        parts += [judge_unit(trace, unit, options, NOTHING_EXPECTED) for unit in some]
        units += some
    assert trace is not None  # there is at least one chunk
    return collect_parts(trace, options, units, parts)


def _chunks(steps: int, chunk: int) -> Iterator[int]:
    for begin in range(0, steps, chunk):
        yield min(chunk, steps - begin)


def _take_step(model: Model, built: nn.Module, mode: Mode) -> None:
    for _ in range(_PASSES if mode == "accumulate" else 1):
        batch = model.draw(_EXAMPLES)
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16 autocast"):
            loss = model.loss(built, batch)
        loss.backward()


def _row(one: Run) -> Row:
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
        f"{len(judgement.unjudged):,}",
        f"{failing:,}",
        "" if worst is None else f"{worst.sigmas:.1f} ({place_of(worst)})",
        f"{max(t):.1f}" if t else "",
        f"{max(squares):.2f}" if squares else "",
        seconds_text(one.seconds),
    )


HEADER = (
    "model",
    "mode",
    "steps",
    "layers",
    "judged",
    "not judged",
    "findings",
    "worst error in σ",
    "largest abs(t) of bias",
    "largest mean square in σ²",
    "time",
)


def _body(rows: list[Row]) -> str:
    return f"""\
Does a sound training step ever depart? Models of `transformers` and `torchvision` with random weights and dropout take
real steps of AdamW, and every quantity of every dense layer is judged, shared tables included. `accumulate` adds
{_PASSES} backward passes to a step; `checkpoint` and `reentrant` are the two kinds of activation checkpointing. `t` is
a mean error, of one layer or of all, over its standard error, the largest of many; float64 has no such mean. In
bfloat16, rounding to nearest itself has a mean of the order of -0.001 `u|v|`, since the half unit below a power of two
is half of that above, and the limit of a mean has a floor of `u` for it. Time includes the steps.

{table(HEADER, rows)}

{circumstances("kterm", "numpy", "torch", "transformers", "torchvision")}"""


if __name__ == "__main__":
    sys.exit(main())
