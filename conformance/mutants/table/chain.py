"""Mistakes in the residual and in what is passed back from layer to layer."""

from collections.abc import Callable

import numpy as np

from ....reference.steps import Work
from ....reference.value import Value, exact
from ..changes import scaled
from ..mutant import Mutant

RATE = 0.125
"""The learning rate of the mutants that have one."""


def _rows(w: Work, i: int) -> float:
    return 1 / max(w.batch, 1)


def _entries(w: Work, i: int) -> float:
    return 1 / max(w.batch * w.width(i), 1)


def _updated(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """The weights are updated first, and the error is passed back through what they have become."""
    step = w.x[i].mT @ w.k[i + 1]
    return w.k[i + 1] @ (w.weights[i + 1] - step * RATE).mT


def _transposed(w: Work, i: int, right: Callable[[], Value]) -> Value:
    if w.batch != w.width(i):
        return right()
    return right().mT


def _without_last_unit(w: Work, i: int, right: Callable[[], Value]) -> Value:
    n = w.width(i + 1)
    if n % 2 == 0 or n == 1:
        return right()
    return w.k[i + 1][..., :-1] @ w.weights[i + 1].mT[..., :-1, :]


def _huber(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return right().through(lambda a: np.clip(a, -1.0, 1.0))


def _zero(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return exact(np.zeros((*w.s[w.depth].shape[:-2], w.batch, w.width(i))), w.reading)


def _elementwise(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.k[i + 1] * w.weights[i + 1].mT


def _agree(w: Work, i: int) -> bool:
    return i < w.depth and w.width(i) == w.width(i + 1)


def _slope_first(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (w.k[i + 1] * w.d[i]) @ w.weights[i + 1].mT if _agree(w, i) else right()


def _not_again(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.s[i] if _agree(w, i) else right()


def _normalised(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return right() / w.width(i + 1)


CHAIN: tuple[Mutant, ...] = (
    Mutant(
        "slope-before-product", "(k o f') W^T: f' multiplied in before the product", "f' lands on the wrong side of W",
        "W the identity, all widths one, depth one; raises unless widths agree",
        {"s": _slope_first, "k": _not_again},
    ),
    Mutant(
        "own-weights", "W_i in place of W_{i+1} in what is passed back", "the error goes back through another matrix",
        "equal weights, depth one; raises unless shapes agree",
        {"s": lambda w, i, right: w.k[i + 1] @ w.weights[i].mT},
    ),
    Mutant(
        "no-transpose", "k W in place of k W^T", "the matrix is not transposed on the way back",
        "symmetric weights, all widths one, depth one; raises unless square",
        {"s": lambda w, i, right: w.k[i + 1] @ w.weights[i + 1]}, is_common=True,
    ),
    Mutant(
        "reshaped-transpose", "a reshape in place of the transpose of W", "the matrix's entries in another order",
        "symmetric weights, all widths one, zero residual, depth one",
        {"s": lambda w, i, right: w.k[i + 1] @ w.weights[i + 1].reshape(w.width(i + 1), w.width(i))},
    ),
    Mutant(
        "elementwise-product", "an elementwise product in place of a matrix product on the way back",
        "k_{i+1} o W^T", "all widths one, depth one; raises unless the batch is as large as the widths",
        {"s": _elementwise},
    ),
    Mutant(
        "weights-updated-first", "weights updated before the error is passed back", "W - rate dE/dW is gone through",
        "zero residual, depth one", {"s": _updated},
    ),
    Mutant(
        "k-overwritten", "the buffer of k_{i+1} multiplied by f' once more before it is passed back",
        "f' of the layer after counts twice further down", "zero residual, depth one, any ReLU",
        {"s": lambda w, i, right: (w.k[i + 1] * w.d[i + 1]) @ w.weights[i + 1].mT},
    ),
    Mutant(
        "residual-for-k", "the residual in place of k_{i+1} in what is passed back", "every layer gets x_n - y",
        "depth one; raises unless widths agree", {"s": lambda w, i, right: w.s[w.depth] @ w.weights[i + 1].mT},
    ),
    Mutant(
        "last-k-for-k", "k_n in place of k_{i+1} in what is passed back", "every layer gets k_n",
        "depth one or two; raises unless widths agree",
        {"s": lambda w, i, right: w.k[w.depth] @ w.weights[i + 1].mT},
    ),
    Mutant(
        "stopped-after-last", "the gradient stopped after the last layer", "k_i is zero below it",
        "zero residual, depth one", {"s": _zero},
    ),
    Mutant(
        "layer-skipped", "the error passed back past the layer after", "W_{i+1}^T is left out",
        "depth one; raises unless widths agree", {"s": lambda w, i, right: w.k[i + 1]},
    ),
    Mutant(
        "unit-left-out", "the last unit of an odd width left out of what is passed back", "one term of the sum is lost",
        "even widths, depth one", {"s": _without_last_unit},
    ),
    Mutant(
        "divided-by-fan-out", "what is passed back averaged over the units it comes from", "a factor 1/n_{i+1}",
        "widths one, depth one", {"s": _normalised},
    ),
    Mutant(
        "sign", "the sign of the residual turned", "y - x_n: all gradients point uphill", "zero residual",
        {"r": scaled(-1.0)}, is_common=True,
    ),
    Mutant(
        "factor-2", "a factor 2: the half of E forgotten in the gradient", "all gradients doubled", "zero residual",
        {"r": scaled(2.0)}, is_common=True,
    ),
    Mutant(
        "factor-half", "a factor 1/2 left in the gradient", "all gradients halved", "zero residual",
        {"r": scaled(0.5)}, is_common=True,
    ),
    Mutant(
        "residual-of-z", "the residual taken from z_n instead of x_n", "z_n - y", "any ReLU, identity activation",
        {"r": lambda w, i, right: w.z[i] - w.y},
    ),
    Mutant(
        "mean-over-batch", "a mean over the batch instead of a sum", "a factor 1/B", "batch of one, zero residual",
        {"r": scaled(_rows)}, is_common=True,
    ),
    Mutant(
        "mean-over-all", "a mean over the batch and the outputs", "a factor 1/(B n_n)",
        "batch and width one, zero residual", {"r": scaled(_entries)}, is_common=True,
    ),
    Mutant(
        "mean-at-every-layer", "a mean over the batch at every layer", "a factor 1/B for every layer gone back",
        "batch of one, zero residual, depth one", {"k": scaled(_rows)},
    ),
    Mutant(
        "residual-clipped", "the residual held between -1 and 1 (a Huber loss)", "large residuals cut",
        "residuals below one", {"r": _huber},
    ),
    Mutant(
        "k-transposed-if-square", "rows and columns of k_i exchanged when B equals the width", "examples mixed",
        "every batch size but the width", {"k": _transposed}, "the hidden layers",
    ),
    Mutant(
        "k-narrowed", "k-terms rounded to the next narrower type on the way", "half of the digits are lost",
        "zero residual", {"k": lambda w, i, right: right().narrowed(w.narrower)},
    ),
)  # fmt: skip
