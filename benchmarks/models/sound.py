"""Sound training steps of real models, judged: does anything depart?

    python -m benchmarks.models.sound [--steps 200] [--model NAME] [--mode NAME] [--chunk 5] [--rows FILE] [--write]

It needs torch, transformers and torchvision. The optimizer takes every step, so that weights and gradients are those of
a training run. The steps are judged in chunks, which bounds the memory, and their sums are judged together at the end.
With `--rows`, the row of each run is kept in a file, and runs whose row is there are not repeated. It exits with 1 if a
verdict fails.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import kterm
from benchmarks._common import circumstances, one_thread, parser, publish, table
from benchmarks.models.build import MODELS, Model
from benchmarks.models.rows import HEADER, Row, Run, add_row, are_sound, is_done, read_rows
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.interfaces.models.judge import Part, Unit, collect_parts, judge_unit, list_units
from kterm.conformance.interfaces.models.judgement import Judgement, Options
from kterm.conformance.interfaces.models.read import check_trace

Mode = Literal["f32", "f64", "bf16", "bf16 autocast", "accumulate", "checkpoint", "reentrant"]
MODES: tuple[Mode, ...] = ("f32", "f64", "bf16", "bf16 autocast", "accumulate", "checkpoint", "reentrant")
_DTYPES = {"f64": torch.float64, "bf16": torch.bfloat16}
_EXAMPLES, _PASSES = 2, 3


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
            if is_done(rows, name, mode, chosen.steps):
                continue
            if MODELS[name].checkpoint is None and mode in ("checkpoint", "reentrant"):
                continue
            add_row(run(MODELS[name], mode, chosen.steps, chosen.chunk), rows, chosen.rows)
    publish("models-sound", "Sound steps of real models", _body(rows), chosen.write)
    return 0 if are_sound(rows) else 1


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
