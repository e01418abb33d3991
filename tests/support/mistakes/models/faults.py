"""Mistakes planted in layer 1 of a small model, by what they change in its trace: the quantity at fault, and the words
that a cause has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from kterm.adapters.traces.trace import Trace
from kterm.conformance.interfaces.models.causes.hypotheses import round_to
from kterm.reference import ACTIVATIONS

from .small import Arrays, Small

PLAIN = Small(widths=(12, 20, 16, 8), steps=1)
PASSES = Small(widths=(12, 20, 16, 8), passes=4, axes=(3, 5))
STEPS = Small(widths=(12, 20, 16, 8), steps=3)
SQUARE = Small(widths=(14, 14, 14, 14), axes=(2, 7))
SAME = Small(widths=(16, 16, 16, 16), axes=(4, 5), steps=2)


@dataclass(frozen=True)
class Fault:
    """A mistake: what it changes, and what the judge should say. `cause` is a part of the words, empty if unknown."""

    name: str
    model: Small
    quantity: str
    cause: str
    step: int = 0
    call: Callable[[Arrays], None] | None = None
    gradient: Callable[[Arrays, list[Arrays]], None] | None = None
    number: int = 0
    is_added: bool = False

    def trace(self) -> Trace:
        """The trace with the mistake in layer 1."""
        before: list[np.ndarray] = []

        def change(step: int, layer: int, sums: Arrays, calls: list[Arrays]) -> None:
            if layer != 1:
                return
            if self.gradient is not None and step == self.step:
                self.gradient(sums, calls)
            if self.is_added and before and step == self.step:
                sums["W"] = sums["W"] + before[-1]
            before.append(sums["W"])

        calls: Mapping = {} if self.call is None else {(self.step, self.number, 1): self.call}
        return self.model.trace(calls, change)


def _set(field: str, make: Callable[[Arrays], np.ndarray]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[field] = make(arrays).astype(arrays[field].dtype)

    return change


def _forward(make: Callable[[Arrays], np.ndarray]) -> Callable[[Arrays], None]:
    """Another z, with all that follows from it."""

    def change(a: Arrays) -> None:
        row = ACTIVATIONS["tanh"]
        a["z"] = make(a).astype(a["z"].dtype)
        wide = a["z"].astype(float)
        a["a"] = row.f(wide).astype(a["z"].dtype)
        a["k"] = a["gz"] = a["ga"] * row.derivative(wide).astype(a["z"].dtype)
        a["gx"] = a["k"] @ a["W"].T

    return change


def _back(make: Callable[[Arrays], np.ndarray]) -> Callable[[Arrays], None]:
    """Another dL/dz of the activation, which the layer is given."""

    def change(a: Arrays) -> None:
        a["k"] = a["gz"] = make(a).astype(a["z"].dtype)
        a["gx"] = a["k"] @ a["W"].T

    return change


def _edited(arrays: Arrays) -> None:
    arrays["k"] = arrays["k"] * np.float32(3)
    arrays["gx"] = arrays["k"] @ arrays["W"].T


def _sum(field: str, make: Callable[[Arrays, list[Arrays]], np.ndarray]) -> Callable[[Arrays, list[Arrays]], None]:
    def change(sums: Arrays, calls: list[Arrays]) -> None:
        sums[field] = make(sums, calls).astype(sums[field].dtype)

    return change


def _products(calls: list[Arrays], pick: slice = slice(None)) -> np.ndarray:
    return np.sum([a["x"][pick].T @ a["k"][pick] for a in calls], axis=0)


def _narrow_sum(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    total = np.zeros((x.shape[1], k.shape[1]), ml_dtypes.bfloat16)
    for row, other in zip(x, k, strict=True):
        total = (total.astype(np.float32) + np.outer(row, other)).astype(ml_dtypes.bfloat16)
    return total.astype(np.float32)


def _changed_weight(arrays: Arrays) -> None:
    arrays["W after"] = arrays["W"] * np.float32(0.9)
    arrays["gx"] = arrays["k"] @ arrays["W after"].T


def _chop(array: np.ndarray) -> np.ndarray:
    """Truncated to the digits of bfloat16: numbers of float16 too, though no float16 sum gives these alone."""
    return (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


FAULTS = (
    Fault("other-activation", PLAIN, "a", "sigmoid", call=_set("a", lambda a: 1 / (1 + np.exp(-a["z"])))),
    Fault(
        "slope-of-another",
        PLAIN,
        "dL/dz",
        "f' of sigmoid",
        call=_back(lambda a: a["ga"] / (2 + np.exp(-a["z"]) + np.exp(a["z"]))),
    ),
    Fault("no-bias", PLAIN, "z", "leaves out the bias", call=_forward(lambda a: a["x"] @ a["W"])),
    Fault("bias-twice", PLAIN, "z", "adds the bias twice", call=_forward(lambda a: a["z"] + a["b"])),
    Fault(
        "forward-transposed",
        SQUARE,
        "z",
        "uses the weight transposed",
        call=_forward(lambda a: a["x"] @ a["W"].T + a["b"]),
    ),
    Fault(
        "forward-reshaped",
        PLAIN,
        "z",
        "uses the weight reshaped",
        call=_forward(lambda a: a["x"] @ a["W"].T.reshape(a["W"].shape) + a["b"]),
    ),
    Fault(
        "forward-bf16-input",
        PLAIN,
        "z",
        "rounds x to bf16",
        call=_forward(lambda a: round_to(a["x"], "bf16") @ a["W"] + a["b"]),
    ),
    Fault(
        "forward-tf32",
        PLAIN,
        "z",
        "rounds x and W to 11 bits",
        call=_forward(lambda a: round_to(a["x"], "tf32") @ round_to(a["W"], "tf32") + a["b"]),
    ),
    Fault(
        "forward-f16-result", PLAIN, "z", "rounds the result to f16", call=_forward(lambda a: a["z"].astype(np.float16))
    ),
    Fault("forward-chopped", PLAIN, "z", "", call=_forward(lambda a: _chop(a["z"]))),
    Fault("row-moved", PLAIN, "z", "moved by", call=_forward(lambda a: np.roll(a["z"], 1, 0))),
    Fault(
        "one-unit",
        PLAIN,
        "z",
        "column 3 alone departs: it is 1.001 times",
        call=_forward(lambda a: a["z"] * np.where(np.arange(16) == 3, 1.001, 1)),
    ),
    Fault(
        "backward-transposed", SQUARE, "dL/dx", "uses the weight transposed", call=_set("gx", lambda a: a["k"] @ a["W"])
    ),
    Fault("weight-updated", PLAIN, "dL/dx", "changed between the forward and the backward pass", call=_changed_weight),
    Fault(
        "weight-scaled", STEPS, "dL/dx", "0.99 times", call=_set("gx", lambda a: a["k"] @ (a["W"] * np.float32(0.99)).T)
    ),
    Fault("gx-zero", PLAIN, "dL/dx", "is 0", call=_set("gx", lambda a: a["gx"] * 0)),
    Fault("gx-halved", PLAIN, "dL/dx", "0.5 times", call=_set("gx", lambda a: a["gx"] / 2)),
    Fault("gx-negated", PLAIN, "dL/dx", "-1 times", call=_set("gx", lambda a: -a["gx"])),
    Fault(
        "gx-dropped",
        PLAIN,
        "dL/dx",
        "sets entries to 0",
        call=_set("gx", lambda a: a["gx"] * 2 * (np.random.default_rng(0).random(a["gx"].shape) < 0.5)),
    ),
    Fault("gx-clipped", PLAIN, "dL/dx", "clips entries at", call=_set("gx", lambda a: np.clip(a["gx"], -0.3, 0.3))),
    Fault(
        "error-bf16",
        PLAIN,
        "dL/dx",
        "rounds dL/dz to bf16",
        call=_set("gx", lambda a: round_to(a["k"], "bf16") @ a["W"].T),
    ),
    Fault(
        "slope-of-a",
        PLAIN,
        "dL/dz",
        "f' of a in place of z",
        call=_back(lambda a: a["ga"] * (1 - np.tanh(a["a"]) ** 2)),
    ),
    Fault("no-slope", PLAIN, "dL/dz", "leaves out f'", call=_back(lambda a: a["ga"])),
    Fault("value-off", PLAIN, "a", "1.00001 times", call=_set("a", lambda a: a["a"] * np.float32(1.00001))),
    Fault("edited-on-the-way", PLAIN, "dL/dz", "3 times", call=_edited),
    Fault(
        "mean-over-rows",
        PLAIN,
        "dL/dW",
        "as is the mean over the 15 rows",
        gradient=_sum("W", lambda s, c: s["W"] / 15),
    ),
    Fault("mean-over-batch", PLAIN, "dL/dW", "as is the mean over axis 0", gradient=_sum("W", lambda s, c: s["W"] / 3)),
    Fault("gradient-transposed", SQUARE, "dL/dW", "is transposed", gradient=_sum("W", lambda s, c: s["W"].T.copy())),
    Fault(
        "stale-input",
        STEPS,
        "dL/dW",
        "",
        step=1,
        gradient=_sum("W", lambda s, c: np.roll(c[0]["x"], 1, 0).T @ c[0]["k"]),
    ),
    Fault(
        "last-row",
        PLAIN,
        "dL/dW",
        "adds the last row alone",
        gradient=_sum("W", lambda s, c: _products(c, slice(-1, None))),
    ),
    Fault(
        "last-example",
        PLAIN,
        "dL/dW",
        "adds the last example alone",
        gradient=_sum("W", lambda s, c: _products(c, slice(-5, None))),
    ),
    Fault(
        "last-position",
        PLAIN,
        "dL/dW",
        "adds the last position of each example alone",
        gradient=_sum("W", lambda s, c: _products(c, slice(4, None, 5))),
    ),
    Fault(
        "lost-micro-batch",
        PASSES,
        "dL/dW",
        "leaves out backward pass 3 of 4",
        gradient=_sum("W", lambda s, c: _products([*c[:2], *c[3:]])),
    ),
    Fault(
        "last-micro-batch-alone",
        PASSES,
        "dL/dW",
        "has backward pass 4 of 4 alone",
        gradient=_sum("W", lambda s, c: _products(c[3:])),
    ),
    Fault(
        "micro-batch-twice",
        PASSES,
        "dL/dW",
        "adds backward pass 2 of 4 twice",
        gradient=_sum("W", lambda s, c: _products([*c, c[1]])),
    ),
    Fault(
        "mean-over-micro-batches",
        PASSES,
        "dL/dW",
        "as is the mean over the 4 backward passes",
        gradient=_sum("W", lambda s, c: s["W"] / 4),
    ),
    Fault(
        "stale-micro-batch",
        PASSES,
        "dL/dW",
        "uses the input of the call before",
        gradient=_sum(
            "W", lambda s, c: np.sum([a["x"].T @ b["k"] for a, b in zip([c[0], *c], c, strict=False)], axis=0)
        ),
    ),
    Fault("not-zeroed", STEPS, "dL/dW", "is added to the gradient of the previous step", step=1, is_added=True),
    Fault(
        "weight-decay",
        PLAIN,
        "dL/dW",
        "times the weight, as weight decay does",
        gradient=_sum("W", lambda s, c: s["W"] + np.float32(0.01) * c[0]["W"]),
    ),
    Fault("clipped", PLAIN, "dL/dW", "0.25 times", gradient=_sum("W", lambda s, c: s["W"] * np.float32(0.25))),
    Fault(
        "clipped-by-value",
        PLAIN,
        "dL/dW",
        "clips entries at",
        gradient=_sum("W", lambda s, c: np.clip(s["W"], -0.5, 0.5)),
    ),
    Fault(
        "noise",
        PLAIN,
        "dL/dW",
        "",
        gradient=_sum("W", lambda s, c: s["W"] + np.random.default_rng(1).normal(size=s["W"].shape) * 1e-3),
    ),
    Fault(
        "accumulated-bf16",
        PLAIN,
        "dL/dW",
        "accumulates sums in bf16",
        gradient=_sum("W", lambda s, c: _narrow_sum(c[0]["x"], c[0]["k"])),
    ),
    Fault(
        "input-bf16",
        PLAIN,
        "dL/dW",
        "rounds x to bf16",
        gradient=_sum("W", lambda s, c: round_to(c[0]["x"], "bf16").T @ c[0]["k"]),
    ),
    Fault("bias-mean", PLAIN, "dL/db", "as is the mean over the 15 rows", gradient=_sum("b", lambda s, c: s["b"] / 15)),
    Fault("bias-axis", SQUARE, "dL/db", "summed over the outputs", gradient=_sum("b", lambda s, c: c[0]["k"].sum(1))),
    Fault("bias-zero", PLAIN, "dL/db", "is 0", gradient=_sum("b", lambda s, c: s["b"] * 0)),
    Fault("bias-last-row", PLAIN, "dL/db", "adds the last row alone", gradient=_sum("b", lambda s, c: c[0]["k"][-1])),
)
