"""Sound training steps of models of flax nnx and equinox, judged: does anything depart?

    python -m benchmarks.models.functional.sound [--steps 200] [--model NAME] [--mode NAME] [--rows FILE] [--write]

It needs flax, equinox and optax. Adam takes every step, so that weights and gradients are those of a training run. With
`--rows`, the row of each run is kept in a file, and runs whose row is there are not repeated. It exits with 1 if a
verdict fails.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import kterm
from benchmarks._common import circumstances, one_thread, parser, publish, table
from benchmarks.models.functional.build import LIBRARIES, Library, Precision, draw_words
from benchmarks.models.rows import HEADER, Row, Run, add_row, are_sound, is_done, read_rows
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.conformance.interfaces.models.judgement import Judgement
from kterm.conformance.interfaces.models.read import read_trace

_EXAMPLES, _PASSES = 2, 3
_F32 = Precision()


@dataclass(frozen=True)
class Mode:
    """How a model is trained: its precision, micro-batches, rematerialisation of blocks, compiled or not."""

    name: str
    precision: Precision = _F32
    passes: int = 1
    remat: bool = False
    jit: bool = False


_PLAIN = (
    Mode("f32"),
    Mode("f64", Precision("float64", "float64")),
    Mode("bf16", Precision("bfloat16", "bfloat16")),
    Mode("mixed", Precision("float32", "bfloat16")),
    Mode("accumulate", passes=_PASSES),
    Mode("remat", remat=True),
)
MODES: Mapping[str, Mode] = {
    mode.name: mode
    for plain in _PLAIN
    for mode in (plain, Mode(f"{plain.name} jit", plain.precision, plain.passes, plain.remat, True))
}


def main() -> int:
    """Judge, print the table, and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--rows", type=Path, help="a file that keeps the rows of the table")
    options.add_argument("--model", choices=LIBRARIES, action="append")
    options.add_argument("--mode", choices=MODES, action="append")
    chosen = options.parse_args()
    one_thread()
    rows = read_rows(chosen.rows)
    for name in chosen.model or LIBRARIES:
        for mode in chosen.mode or MODES:
            if not is_done(rows, name, mode, chosen.steps):
                add_row(run(LIBRARIES[name], MODES[mode], chosen.steps), rows, chosen.rows)
    order = [(name, mode) for name in LIBRARIES for mode in MODES]
    rows.sort(key=lambda row: order.index((row[0], row[1])))
    publish("models-functional-sound", "Sound steps of models of JAX", _body(rows), chosen.write)
    return 0 if are_sound(rows) else 1


def run(library: Library, mode: Mode, steps: int) -> Run:
    """Train a model for some steps, in a trace on disk, and judge each."""
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        # For the whole process: callbacks run in threads, where a block of jax.enable_x64 does not reach.
        jax.config.update("jax_enable_x64", mode.precision.parameters == "float64")
        _train(library, mode, steps, trace)
        judgement = judge_trace(read_trace(trace))
        _print_notes(judgement)
        return Run(library.name, mode.name, steps, judgement, time.perf_counter() - start)


def _train(library: Library, mode: Mode, steps: int, folder: Path) -> None:
    rng = np.random.default_rng(0)
    model, optimizer = library.build(mode.precision, mode.remat)
    step = library.make_step(mode.precision, mode.jit)
    with kterm.capture(model, folder) as trace:
        for _ in range(steps):
            found = [step(model, draw_words(rng, _EXAMPLES))[1] for _ in range(mode.passes)]
            gradients: Any = reduce(lambda one, other: jax.tree.map(jnp.add, one, other), found)
            trace.end_step(gradients, model)
            model, optimizer = library.update(model, optimizer, gradients)


def _print_notes(judgement: Judgement) -> None:
    notes = Counter(note for step in judgement.trace.manifest.steps for note in step.notes)
    notes.update(f"{one.name} of {one.layer}: {one.why}" for _, one in judgement.unjudged)
    notes.update(
        f"inconclusive: {one.verdict.quantity} of {one.layer}"
        for one in judgement.verdicts
        if one.verdict.grade == "inconclusive"
    )
    for note, times in sorted(notes.items()):
        print(f"    {note} ({times:,} times)", file=sys.stderr, flush=True)


def _body(rows: list[Row]) -> str:
    return f"""\
Does a sound training step of JAX ever depart? Transformers of two blocks, of the libraries' own modules, take real
steps of Adam, and every quantity of every dense layer is judged. `flax` has `nnx.MultiHeadAttention`, `equinox`
`eqx.nn.MultiheadAttention` under `jax.vmap`. The tied models multiply by their embedding table in the end: flax by
`nnx.Embed.attend`, whose table also has the gradient of lookups, which is not judged, and equinox through
`eqx.nn.Shared`, which is not captured. `bf16` has parameters in bfloat16; `mixed` has them in float32 and computes in
bfloat16, in equinox by a cast of the model in front of the forward pass.
`accumulate` adds the gradients of {_PASSES} micro-batches, and `remat` computes each block again in the backward pass.
Modes with `jit` compile the step, the others run operation by operation. The columns are those of the table for
PyTorch. A tensor is inconclusive if rounding may be as large as a tenth of it. The gradient of a key's bias is: softmax
does not depend on it, so it is 0 apart from rounding. Not judged are outputs that a block does not compute again.

{table(HEADER, rows)}

{circumstances("kterm", "numpy", "jax", "flax", "equinox", "optax")}"""


if __name__ == "__main__":
    sys.exit(main())
