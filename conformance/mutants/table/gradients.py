"""Mistakes in the gradients of weights and biases, and in the error, with the k-terms right."""

from collections.abc import Callable

import numpy as np

from ....reference.steps import Change, Work
from ....reference.value import Value, exact
from ..changes import rows_alone, scaled
from ..mutant import Mutant

DECAY = 1e-4


def _product(left: Callable[[Work, int], Value]) -> Change:
    """Another matrix in place of x_{i-1} in x_{i-1}^T k_i."""
    return lambda w, i, right: left(w, i).mT @ w.k[i]


def _reshaped(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (w.k[i].mT @ w.x[i - 1]).reshape(w.width(i - 1), w.width(i))


def _of_means(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (w.x[i - 1].rows() / max(w.batch, 1)).mT @ (w.k[i].rows() / max(w.batch, 1))


def _plus_before(factor: float, gradients: str) -> Change:
    """With what was computed in the call before added, times a factor; the first call has none before it."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return right() if w.before is None else right() + getattr(w.before, gradients)[i] * factor

    return change


def _swapped(w: Work, i: int, right: Callable[[], Value]) -> Value:
    j = w.depth + 1 - i
    return w.x[j - 1].mT @ w.k[j]


def _alias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """Layer 1's buffer is that of the first later layer of its shape, which is written first."""
    twin = next((j for j in range(i + 1, w.depth + 1) if w.gw[j].shape[-2:] == _shape(w, i)), None)
    return right() if twin is None else w.gw[twin]


def _added_alias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    twin = next((j for j in range(i + 1, w.depth + 1) if w.gw[j].shape[-2:] == _shape(w, i)), None)
    return right() if twin is None else right() + w.gw[twin]


def _shape(w: Work, i: int) -> tuple[int, int]:
    return w.width(i - 1), w.width(i)


def _clipped(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return right().through(lambda a: np.clip(a, -0.5, 0.5))


def _other_axis(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (w.k[i] if w.network.bias == "pre" else w.s[i]).columns().mT


def _zero_bias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return exact(np.zeros(right().shape), w.reading)


def _of_layer_after(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.k[i + 1].rows()


def _half_diagonal(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """The gradient made symmetric, as for a matrix that is taken for its own transpose."""
    g = right()
    return (g + g.mT) * 0.5


WEIGHT_GRADIENTS: tuple[Mutant, ...] = (
    Mutant(
        "x-of-own-layer", "x_i in place of x_{i-1} in the weight gradient", "x_i^T k_i",
        "none; raises unless widths agree", {"W": _product(lambda w, i: w.x[i])},
    ),
    Mutant(
        "z-for-x", "z_{i-1} in place of x_{i-1} in the weight gradient", "the layer before without its activation",
        "identity activation, every ReLU active, tiny pre-activations, depth one",
        {"W": _product(lambda w, i: w.z[i - 1])}, is_common=True,
    ),
    Mutant(
        "input-at-every-layer", "the raw input in place of x_{i-1} in every weight gradient", "x_0^T k_i",
        "depth one; raises unless widths agree", {"W": _product(lambda w, i: w.x[0])},
    ),
    Mutant(
        "gradient-transposed", "k^T x: the weight gradient transposed", "rows and columns exchanged",
        "all widths one; raises unless square", {"W": lambda w, i, right: right().mT}, is_common=True,
    ),
    Mutant(
        "gradient-transposed-last", "the last weight gradient transposed", "rows and columns exchanged in one layer",
        "all widths one; raises unless square", {"W": lambda w, i, right: right().mT}, "the last layer",
    ),
    Mutant(
        "gradient-reshaped", "a weight gradient reshaped instead of transposed", "entries in another order",
        "all widths one, zero residual", {"W": _reshaped},
    ),
    Mutant(
        "gradient-symmetrised", "a square weight gradient averaged with its transpose", "symmetry taken for granted",
        "symmetric gradients; raises unless square", {"W": _half_diagonal},
    ),
    Mutant(
        "last-row-only", "only the last row of the batch in the weight gradient", "the others are lost",
        "batch of one, zero residual", {"W": rows_alone(slice(-1, None))},
    ),
    Mutant(
        "first-row-lost", "the first row of the batch left out of the weight gradient", "one example is lost",
        "a first row of zeros", {"W": rows_alone(slice(1, None))},
    ),
    Mutant(
        "outer-of-means", "an outer product of batch means as the weight gradient", "mean(x)^T mean(k)",
        "batch of one, zero residual, repeated rows, up to the factor 1/B", {"W": _of_means},
    ),
    Mutant(
        "accumulated", "gradients accumulated from the call before", "the last call's gradients are still in it",
        "a first call, zero residual", {"W": _plus_before(1.0, "gw"), "b": _plus_before(1.0, "gb")},
    ),
    Mutant(
        "momentum", "a momentum of 0.9 left in the gradient", "nine tenths of the last call's are still in it",
        "a first call, zero residual", {"W": _plus_before(0.9, "gw"), "b": _plus_before(0.9, "gb")},
    ),
    Mutant(
        "rate-inside", "the learning rate of 0.01 left inside the weight gradient", "a hundredth of it",
        "zero residual", {"W": scaled(0.01)},
    ),
    Mutant(
        "gradient-order", "the order of the layers' weight gradients turned round", "dE/dW_{n+1-i} for dE/dW_i",
        "depth one; raises unless shapes agree", {"W": _swapped},
    ),
    Mutant(
        "weight-decay", "a weight decay of 1e-4 left in the gradient", "1e-4 W on top",
        "fixed tolerances miss it", {"W": lambda w, i, right: right() + w.weights[i] * DECAY},
    ),
    Mutant(
        "aliased-layers", "one buffer for the gradients of layers of equal shape", "a later layer's stands in both",
        "no two layers of one shape", {"W": _alias},
    ),
    Mutant(
        "added-layers", "gradients of layers of equal shape added into one", "as if their weights were shared",
        "no two layers of one shape", {"W": _added_alias},
    ),
    Mutant(
        "gradient-clipped", "weight gradients held between -1/2 and 1/2", "large entries cut", "small gradients",
        {"W": _clipped},
    ),
    Mutant(
        "gradient-mean", "a mean over the batch in the weight gradient alone", "a factor 1/B, biases right",
        "batch of one, zero residual", {"W": scaled(lambda w, i: 1 / max(w.batch, 1))},
    ),
    Mutant(
        "first-gradient-doubled", "the first layer's weight gradient twice as large", "counted twice in one layer",
        "zero residual, depth one", {"W": scaled(2.0)}, "the first layer",
    ),
    Mutant(
        "gradient-narrowed", "weight gradients rounded to the next narrower type", "half of the digits are lost",
        "zero residual", {"W": lambda w, i, right: right().narrowed(w.narrower)},
    ),
)  # fmt: skip

BIAS_GRADIENTS: tuple[Mutant, ...] = (
    Mutant(
        "bias-mean", "the bias gradient averaged over the batch", "a factor 1/B",
        "batch of one, zero residual, no bias", {"b": scaled(lambda w, i: 1 / max(w.batch, 1))}, is_common=True,
    ),
    Mutant(
        "bias-first-row", "the bias gradient of the first row alone", "the sum over the batch is left out",
        "batch of one, no bias",
        {"b": lambda w, i, right: (w.k[i] if w.network.bias == "pre" else w.s[i])[..., :1, :]},
    ),
    Mutant(
        "bias-wrong-axis", "the bias gradient summed over the wrong axis", "a sum over units for each row",
        "no bias; raises unless B equals the width", {"b": _other_axis},
    ),
    Mutant(
        "bias-before-slope", "the bias gradient taken before f'", "dE/dx_i summed for dE/dz_i",
        "no bias inside, identity activation, every ReLU active",
        {"b": lambda w, i, right: w.s[i].rows()},
    ),
    Mutant(
        "bias-after-slope", "the gradient of a bias outside the activation taken after f'", "k_i summed for dE/dx_i",
        "no bias outside, identity activation, every ReLU active",
        {"b": lambda w, i, right: w.k[i].rows()},
    ),
    Mutant("bias-zero", "a bias gradient of zero", "biases never learn", "zero residual, no bias", {"b": _zero_bias}),
    Mutant(
        "bias-zero-first", "a bias gradient of zero in the first layer", "one layer's bias never learns",
        "zero residual, no bias, depth one", {"b": _zero_bias}, "the first layer",
    ),
    Mutant(
        "bias-of-layer-after", "the bias gradient of the layer after", "sum k_{i+1} for sum k_i",
        "no bias, depth one; raises unless widths agree", {"b": _of_layer_after},
    ),
    Mutant(
        "bias-sign", "the sign of the bias gradient turned", "biases go uphill", "zero residual, no bias",
        {"b": scaled(-1.0)},
    ),
    Mutant(
        "bias-decay", "a weight decay of 1e-4 applied to biases", "1e-4 b on top", "biases of zero, no bias",
        {"b": lambda w, i, right: right() + w.biases[i] * DECAY},
    ),
)  # fmt: skip

ERRORS: tuple[Mutant, ...] = (
    Mutant("error-doubled", "E without its half", "the gradients are right", "zero residual", {"E": scaled(2.0)}),
    Mutant(
        "error-mean", "E averaged over the batch", "the gradients are right", "batch of one, zero residual",
        {"E": scaled(lambda w, i: 1 / max(w.batch, 1))},
    ),
    Mutant(
        "error-of-z", "E taken of z_n instead of x_n", "the gradients are right", "identity activation",
        {"E": lambda w, i, right: ((w.z[i] - w.y) * (w.z[i] - w.y)).rows().columns() * 0.5},
    ),
)  # fmt: skip
