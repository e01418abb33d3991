"""Mistakes of the forward pass that the backward pass goes along with."""

from collections.abc import Callable

from ....reference.steps import Work, with_bias
from ....reference.value import Value
from ..mutant import Mutant


def _no_bias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.x[i - 1] @ w.weights[i] if w.network.bias == "pre" else right()


def _no_outer_bias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.z[i].f(w.name(i)) if w.network.bias == "post" else right()


def _bias_twice(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return with_bias(w, i, right(), "pre")


def _transposed_weights(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return with_bias(w, i, w.x[i - 1] @ w.weights[i].mT, "pre")


def _last_input_lost(w: Work, i: int, right: Callable[[], Value]) -> Value:
    n = w.width(i - 1)
    if n % 2 == 0 or n == 1:
        return right()
    return with_bias(w, i, w.x[i - 1][..., :-1] @ w.weights[i][..., :-1, :], "pre")


FORWARDS: tuple[Mutant, ...] = (
    Mutant(
        "forward-no-bias", "no bias added in the forward pass", "its gradient is right all the same",
        "no bias inside", {"z": _no_bias},
    ),
    Mutant(
        "forward-no-outer-bias", "no bias added outside the activation", "its gradient is right all the same",
        "no bias outside", {"x": _no_outer_bias},
    ),
    Mutant(
        "forward-bias-twice", "the bias added twice in the forward pass", "z_i is off by b_i", "no bias inside",
        {"z": _bias_twice},
    ),
    Mutant(
        "forward-no-activation", "no activation at the output layer in the forward pass", "x_n is z_n",
        "identity activation, every ReLU active",
        {"x": lambda w, i, right: with_bias(w, i, w.z[i], "post")},
        "the last layer",
    ),
    Mutant(
        "forward-transposed", "x W^T in place of x W in the forward pass", "another matrix, in one direction alone",
        "symmetric weights; raises unless square", {"z": _transposed_weights},
    ),
    Mutant(
        "forward-input-lost", "the last of an odd number of inputs left out of a product", "one term is lost",
        "even widths", {"z": _last_input_lost},
    ),
    Mutant(
        "forward-narrowed", "pre-activations rounded to the next narrower type", "half of the digits are lost",
        "nothing; loose tolerances miss it", {"z": lambda w, i, right: right().narrowed(w.narrower)},
    ),
)  # fmt: skip
