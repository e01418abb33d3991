"""Mistakes in f': left out, taken twice, of another place or another function."""

from collections.abc import Callable

import numpy as np

from ....reference import ACTIVATIONS, Array, base_of
from ....reference.steps import Change, Work
from ....reference.value import Value, exact
from ..mutant import Mutant


def _no_slope(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return w.s[i]


_OUTPUT_FORMS: dict[str, Callable[[Value], Value]] = {
    "sigmoid": lambda v: v * (v * -1.0 + 1.0),
    "tanh": lambda v: v * v * -1.0 + 1.0,
    "softplus": lambda v: v.through(lambda a: -np.expm1(np.minimum(-a, 700.0)), 2.0),
    "softsign": lambda v: (v.through(np.abs) * -1.0 + 1.0) * (v.through(np.abs) * -1.0 + 1.0),
}
"""f' written in terms of x = f(z)."""


def _output_form(w: Work, i: int, right: Callable[[], Value]) -> Value:
    form = _OUTPUT_FORMS.get(w.name(i))
    return right() if form is None else form(w.z[i])


def other(name: str) -> str:
    """The activation whose f' is taken for that of another: the next of the table that has another f' throughout."""
    names = list(ACTIVATIONS)
    return names[(names.index(base_of(name)) + 1) % len(names)]


def _slope_parameter(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """0.01, the usual default, for the slope that was asked for."""
    if w.name(i) != "leaky_relu":
        return right()
    d = right()
    return d.where(d.value > 0.5, exact(np.full(d.shape, 0.01), w.reading))


def _at_kink(w: Work, i: int, right: Callable[[], Value]) -> Value:
    d = right()
    for kink in ACTIVATIONS[w.name(i)].kinks:
        at = w.z[i].value == kink.point
        declared = w.conventions.get(w.name(i), {})
        taken = declared.get(kink.point, ACTIVATIONS[w.name(i)].derivative(np.array([kink.point]))[0])
        flipped = kink.right if taken != kink.right else kink.left
        d = exact(np.full(d.shape, flipped), w.reading).where(at, d)
    return d


def _swapped(pairs: dict[str, str]) -> Change:
    return lambda w, i, right: w.z[i].slope(pairs[w.name(i)]) if w.name(i) in pairs else right()


def _clipped(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return right().through(lambda a: np.clip(a, 0.0, 1.0))


def _mirrored(w: Work, i: int, right: Callable[[], Value]) -> Value:
    return (-w.z[i]).slope(w.name(i))


def _before_bias(w: Work, i: int, right: Callable[[], Value]) -> Value:
    if w.network.bias != "pre":
        return right()
    return (w.x[i - 1] @ w.weights[i]).slope(w.name(i))


def _half_formed(w: Work, i: int, right: Callable[[], Value]) -> Value:
    """s for s (1 - s), 1 - t for 1 - t**2."""
    f = w.z[i].f(w.name(i))
    return {"sigmoid": lambda: f, "tanh": lambda: f * -1.0 + 1.0}.get(w.name(i), right)()


def _wide_band(limit: float) -> Change:
    """A slope that is taken for 0 beyond |z| = limit, as by a formula that guards against overflow too early."""

    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        d = right()
        inside: Array = np.abs(w.z[i].value) <= limit
        return d.where(inside, exact(np.zeros(d.shape), w.reading))

    return change


_PLAIN = "identity activation, every ReLU active, zero residual, tiny pre-activations"

SLOPES: tuple[Mutant, ...] = (
    Mutant(
        "no-slope-last", "no f' at the output layer", "k_n is the residual", _PLAIN,
        {"k": _no_slope}, "the last layer", is_common=True,
    ),
    Mutant(
        "no-slope-hidden", "no f' in hidden layers", "k_i is what is passed back", f"{_PLAIN}, depth one",
        {"k": _no_slope}, "the hidden layers", is_common=True,
    ),
    Mutant(
        "no-slope-first", "no f' in the first layer", "k_1 is what is passed back", f"{_PLAIN}, depth one",
        {"k": _no_slope}, "the first layer",
    ),
    Mutant(
        "no-slope-middle", "no f' in a middle layer", "k_i is what is passed back there", f"{_PLAIN}, depth two",
        {"k": _no_slope}, "a middle layer",
    ),
    Mutant(
        "no-slope", "no f' at all", "a linear network's k-terms", _PLAIN, {"k": _no_slope},
    ),
    Mutant(
        "slope-twice", "f' applied twice", "k_i is f'(z_i) too small or too large", f"any ReLU, {_PLAIN}",
        {"k": lambda w, i, right: right() * w.d[i]}, is_common=True,
    ),
    Mutant(
        "slope-of-activation", "f' applied at the activation instead of the pre-activation", "f'(x_i) for f'(z_i)",
        f"any ReLU, {_PLAIN}", {"d": lambda w, i, right: w.z[i].f(w.name(i)).slope(w.name(i))}, is_common=True,
    ),
    Mutant(
        "output-form-of-z", "f' in its output form (s(1 - s), 1 - t^2) fed the pre-activation", "z(1 - z), 1 - z^2",
        f"any ReLU, {_PLAIN}", {"d": _output_form},
    ),
    Mutant(
        "slope-of-layer-before", "f' of the layer before", "f'(z_{i-1}) for f'(z_i), where widths agree",
        "depth one; raises unless widths agree", {"d": lambda w, i, right: w.z[i - 1].slope(w.name(i - 1))},
    ),
    Mutant(
        "slope-of-layer-after", "f' of the layer after", "f'(z_{i+1}) for f'(z_i), where widths agree",
        "depth one; raises unless widths agree", {"d": lambda w, i, right: w.z[i + 1].slope(w.name(i + 1))},
    ),
    Mutant(
        "slope-added", "f' added instead of multiplied", "k_i is a sum", "none",
        {"k": lambda w, i, right: w.s[i] + w.d[i]},
    ),
    Mutant(
        "slope-averaged", "f' averaged over the batch", "one slope for all rows",
        "batch of one, identity activation, every ReLU active, repeated rows",
        {"d": lambda w, i, right: (right().rows() / w.batch).like(right())},
    ),
    Mutant(
        "slope-of-another", "another activation's f'", "the slope of the next activation of the table",
        "zero residual", {"d": lambda w, i, right: w.z[i].slope(other(w.name(i)))},
    ),
    Mutant(
        "slope-of-another-last", "another activation's f' at the output layer", "as if the output's name were ignored",
        "zero residual", {"d": lambda w, i, right: w.z[i].slope(other(w.name(i)))}, "the last layer",
    ),
    Mutant(
        "slope-parameter", "f' of a leaky ReLU with the default slope 0.01", "a parameter is left out of the backward",
        "no leaky ReLU, no negative pre-activation", {"d": _slope_parameter},
    ),
    Mutant(
        "slope-at-kink", "the other one-sided derivative exactly at a kink", "relu'(0) = 1 where 0 is declared",
        "everything but an exact kink whose slope the adapter declares", {"d": _at_kink},
    ),
    Mutant(
        "gelu-variants-swapped", "f' of GELU's tanh form for that of its exact form, and the reverse",
        "off by up to 1e-3", "no GELU", {"d": _swapped({"gelu": "gelu_tanh", "gelu_tanh": "gelu"})},
    ),
    Mutant(
        "elu-family-swapped", "ELU's f' for SELU's", "a scale of 1.05 is left out", "no SELU",
        {"d": _swapped({"selu": "elu"})},
    ),
    Mutant(
        "slope-clipped", "f' held between 0 and 1", "where f' leaves that range it is cut",
        "activations whose f' stays in it", {"d": _clipped},
    ),
    Mutant(
        "slope-mirrored", "f'(-z) for f'(z)", "a sign lost on the way", "even f' (tanh, sigmoid, softsign)",
        {"d": _mirrored},
    ),
    Mutant(
        "slope-before-bias", "f' taken before the bias is added", "f'(z_i - b_i)", f"no bias inside, {_PLAIN}",
        {"d": _before_bias},
    ),
    Mutant(
        "slope-half-formed", "half of an output form: s for s(1 - s), 1 - t for 1 - t^2", "a factor left out",
        "neither sigmoid nor tanh", {"d": _half_formed},
    ),
    Mutant(
        "slope-cut-off", "f' taken for zero beyond |z| = 8", "a guard against overflow that is too near",
        "small pre-activations, activations that are flat there", {"d": _wide_band(8.0)},
    ),
)  # fmt: skip
