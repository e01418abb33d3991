"""Changes that are none: each comes with the proof that it is the rule in other words, and must never be found."""

from collections.abc import Callable

from ....reference.steps import Work
from ....reference.value import Value
from ..changes import rows_alone
from ..mutant import Mutant

_MONOTONE = ("relu", "leaky_relu")


def _of_activation(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.z[i].f(w.name(i)).slope(w.name(i)) if w.name(i) in _MONOTONE else right()


def _output_form(w: Work, i: int, right: Callable[[], Value]) -> Value:
    f = w.z[i].f(w.name(i))
    return {"sigmoid": lambda: f * (f * -1.0 + 1.0), "tanh": lambda: f * f * -1.0 + 1.0}.get(w.name(i), right)()


def _mirrored(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (-w.z[i]).slope(w.name(i)) if w.name(i) in ("sigmoid", "tanh", "softsign") else right()


def _left(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (w.weights[i + 1] @ w.k[i + 1].mT).mT


def _halves(w: Work, i: int, right: Callable[[], Value]) -> Value:
    half = w.batch // 2
    first, second = (rows_alone(rows)(w, i, right) for rows in (slice(half), slice(half, None)))
    return first + second


def _mean_undone(w: Work, i: int, right: Callable[[], Value]) -> Value:
    most = 2 ** (max(w.batch, 1) - 1).bit_length()
    return right() / most * most


def _no_slope_of_identity(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.s[i] if w.name(i) == "identity" else right()


EQUIVALENTS: tuple[Mutant, ...] = (
    Mutant(
        "relu-slope-of-activation", "f' of a ReLU taken at the activation", "none", "",
        {"d": _of_activation},
        equivalent="f is strictly increasing above 0, and f(z) > 0 exactly where z > 0; f' depends on that sign alone.",
    ),
    Mutant(
        "output-form", "f' in its output form, fed the activation", "none", "", {"d": _output_form},
        equivalent="With s = sigmoid(z), s' = s (1 - s); with t = tanh(z), t' = 1 - t^2. Rounding differs within the "
        "tolerance, which allows for the cancellation near 1.",
    ),
    Mutant(
        "even-slope-mirrored", "f'(-z) of an odd f, or of one that is odd up to a constant", "none", "",
        {"d": _mirrored},
        equivalent="tanh and softsign are odd and sigmoid(z) - 1/2 is; the derivative of an odd function is even.",
    ),
    Mutant(
        "left-product", "(W k^T)^T for k W^T", "none", "", {"s": _left},
        equivalent="(A B)^T = B^T A^T; the same products are summed up.",
    ),
    Mutant(
        "batch-turned-round", "the batch read backwards in the weight gradient", "none", "",
        {"W": rows_alone(slice(None, None, -1))},
        equivalent="A sum depends on the order of its terms by rounding only, which the tolerance allows.",
    ),
    Mutant(
        "batch-in-halves", "the weight gradient as the sum of two halves of the batch", "none", "", {"W": _halves},
        equivalent="x^T k is a sum over rows; a sum may be taken in parts.",
    ),
    Mutant(
        "mean-undone", "the residual divided by a power of two and multiplied by it", "none", "", {"r": _mean_undone},
        equivalent="Multiplying by a power of two is exact within the range of the format.",
    ),
    Mutant(
        "identity-without-slope", "no f' where the activation is the identity", "none", "",
        {"k": _no_slope_of_identity},
        equivalent="The derivative of the identity is 1, and multiplying by 1 is exact.",
    ),
)  # fmt: skip
