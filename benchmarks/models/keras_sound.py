"""Sound training steps of a Keras model, judged, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=torch python -m benchmarks.models.keras_sound --rows FILE [--steps 200] [--mode NAME]
    KERAS_BACKEND=jax python -m benchmarks.models.keras_sound --rows FILE --write

It needs Keras 3 with torch or jax. Keras has one backend in a process, so the file of `--rows` collects the rows of
both; runs whose row is there are not repeated. It exits with 1 if a verdict fails, as float64 on PyTorch does.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import kterm
from benchmarks._common import circumstances, one_thread, parser, publish, table
from benchmarks.models.rows import HEADER, Row, Run, add_row, are_sound, is_done, read_rows
from benchmarks.models.sound import judge_steps

keras: Any = import_module("keras")  # which need not be here when types are checked
MODES = {"f32": "float32", "f64": "float64", "mixed bf16": "mixed_bfloat16"}
"""The dtype policies."""
_BATCH, _INPUTS, _CLASSES, _CHUNK = 64, 64, 10, 50


def main() -> int:
    """Judge, print the table, and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--rows", type=Path, help="a file that keeps the rows of the table")
    options.add_argument("--mode", choices=MODES, action="append")
    chosen = options.parse_args()
    one_thread()
    name, rows = f"Keras MLP on {keras.backend.backend()}", read_rows(chosen.rows)
    for mode in chosen.mode or MODES:
        if not is_done(rows, name, mode, chosen.steps):
            add_row(run(name, mode, chosen.steps), rows, chosen.rows)
    publish("keras-sound", "Sound steps of a Keras model", _body(rows), chosen.write)
    return 0 if are_sound(rows) else 1


def run(name: str, mode: str, steps: int) -> Run:
    """Train the model for some steps of Adam and judge each."""
    start = time.perf_counter()
    if mode == "f64" and keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    model, rng = _build(MODES[mode]), np.random.default_rng(0)
    dtype = "float64" if mode == "f64" else "float32"

    def capture_some(length: int) -> kterm.Trace:
        with kterm.capture(model) as trace:
            for _ in range(length):
                x = rng.normal(size=(_BATCH, _INPUTS)).astype(dtype)
                model.train_on_batch(x, rng.integers(0, _CLASSES, _BATCH))
                trace.end_step()
        return trace.trace()

    return Run(name, mode, steps, judge_steps(steps, _CHUNK, capture_some), time.perf_counter() - start)


def _build(policy: str) -> Any:
    """Four dense layers with four kinds of what may be behind them."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential(
        [
            keras.Input((_INPUTS,)),
            layers.Dense(256, activation="gelu", name="first"),
            layers.Dense(128, activation="tanh", name="second"),
            layers.Dense(96, name="third"),
            layers.LeakyReLU(0.1),
            layers.Dense(_CLASSES, name="last"),
        ],
        name="mlp",
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _body(rows: list[Row]) -> str:
    return f"""\
Does a sound training step of a Keras model ever depart? A model of four `Dense` layers, with gelu, tanh, a layer of
leaky ReLU and nothing behind them, 64, 256, 128, 96 and {_CLASSES} units wide, takes steps of Adam by
`train_on_batch`, each with a batch of {_BATCH} new examples. Columns are as in the section on
[sound steps of models of JAX](#sound-steps-of-models-of-jax). What is found is Keras's own: on PyTorch `Dense` layers
[compute float64 in float32](found.md#keras-3151), which shows in every product. JAX adds the rows of a bias gradient in
bfloat16. The capture says so, and each of these gradients passes. Inconclusive are a and dL/dz of gelu and tanh in
bfloat16. On JAX fewer quantities are judged: what an activation layer gives back is not, nor, in float64, are
activations that Keras computes in float32.

{table(HEADER, rows)}

{circumstances("kterm", "numpy", "keras", "torch", "jax")}"""


if __name__ == "__main__":
    sys.exit(main())
