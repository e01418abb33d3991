"""Mistakes in activations as hypotheses: a framework's default parameter, a coarse formula, half of a formula.

A row of `VARIANTS` is one way to compute an activation or its derivative. It is tried in the forward pass, in the
backward pass and in both. A coarse formula is computed in the format under test, since its errors are what it shows.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....reference import ACTIVATIONS, DTYPES, Activation, Array
from ....reference import rounding as r
from ....reference.activation import ones
from ....reference.rounding import Estimate
from ....reference.steps import Change, Changes, Work, with_bias
from ....reference.value import Value
from ..hypothesis import Hypothesis, Limit, everywhere, only_where

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Variant:
    """One way to compute an activation (`f`) and its derivative (`slope`); None where it is the right one.

    `text` completes "the rule with ...". `is_coarse` says that the formula cancels or overflows: it is computed in the
    format under test, and its terms are of size 1. `limit` is the z beyond which another formula is taken, if there is
    one.
    """

    activation: str
    name: str
    text: str
    f: Function | None = None
    slope: Function | None = None
    is_coarse: bool = False
    limit: Limit | None = None


def _sigmoid(z: Array) -> Array:
    return ACTIVATIONS["sigmoid"].f(z)


def _leaky(slope: float) -> tuple[Function, Function]:
    return lambda z: np.where(z > 0, z, slope * z), lambda z: np.where(z > 0, 1.0, slope)


def _elu(alpha: float, inner: float = 1.0, scale: float = 1.0) -> tuple[Function, Function]:
    return (
        lambda z: scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0) / inner)),
        lambda z: scale * np.where(z > 0, 1.0, alpha / inner * np.exp(np.minimum(z, 0) / inner)),
    )


def _shrink(limit: float, is_soft: bool) -> tuple[Function, Function]:
    return (
        lambda z: z - np.clip(z, -limit, limit) if is_soft else np.where(np.abs(z) > limit, z, 0.0),
        lambda z: (np.abs(z) > limit) * 1.0,
    )


def _squareplus(b: float) -> tuple[Function, Function]:
    return lambda z: (z + np.sqrt(z * z + b)) / 2, lambda z: (1 + z / np.sqrt(z * z + b)) / 2


def _softplus(beta: float) -> tuple[Function, Function]:
    return lambda z: np.logaddexp(0, beta * z) / beta, lambda z: _sigmoid(beta * z)


def _swish(beta: float) -> tuple[Function, Function]:
    def slope(z: Array) -> Array:
        s = _sigmoid(beta * z)
        return s + beta * z * s * (1 - s)

    return lambda z: z * _sigmoid(beta * z), slope


def _parameters() -> Iterator[tuple[str, str, tuple[Function, Function]]]:
    """The activations with parameters that are some framework's defaults."""
    for slope in (0.01, 0.1, 0.2, 0.25, 0.3, 1 / 3):
        yield "leaky_relu", f"the slope {slope:.3g}", _leaky(slope)
    yield "elu", "alpha = 1", _elu(1.0)
    yield "celu", "alpha = 1", _elu(1.0)
    yield "celu", "ELU's formula, alpha exp(z) for exp(z/alpha)", _elu(float(ACTIVATIONS["celu"].parameters["alpha"]))
    yield "selu", "the constants 1.67 and 1.05", _elu(1.67, scale=1.05)
    yield "selu", "a scale of 1", _elu(1.6732632423543772)
    yield "selu", "alpha = 1", _elu(1.0, scale=1.0507009873554805)
    for beta in (2.0, 0.5, 5.0, 10.0):
        yield "softplus", f"β = {beta:g}", _softplus(beta)
        yield "silu", f"β = {beta:g}", _swish(beta)
    for name, is_soft in (("softshrink", True), ("hardshrink", False)):
        yield name, "the threshold 0.5", _shrink(0.5, is_soft)
        yield name, "the threshold 1", _shrink(1.0, is_soft)
    for b in (1.0, 4.0):
        yield "squareplus", f"b = {b:g}", _squareplus(b)
    yield "hard_sigmoid", "the slope 0.2", (lambda z: np.clip(0.2 * z + 0.5, 0, 1), lambda z: (np.abs(z) < 2.5) * 0.2)
    for name in ("gelu", "gelu_tanh"):
        yield name, "the sigmoid form z s(1.702 z)", _swish(1.702)
    yield "relu6", "no limit at 6", (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0)
    yield "hard_swish", "no limits", (lambda z: z * (z + 3) / 6, lambda z: (2 * z + 3) / 6)


def _halves() -> Iterator[tuple[str, str, Function]]:
    """Derivatives with a part left out or exchanged."""
    s, tanh = _sigmoid, np.tanh
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    celu, leak = float(ACTIVATIONS["celu"].parameters["alpha"]), float(ACTIVATIONS["leaky_relu"].parameters["slope"])
    elu = float(ACTIVATIONS["elu"].parameters["alpha"])
    yield "sigmoid", 'the "1 -" missing, s s for s(1 - s)', lambda z: s(z) ** 2
    yield "sigmoid", "1 - s for s(1 - s)", lambda z: s(-z)
    yield "tanh", 'the "1 -" missing, t^2 for 1 - t^2', lambda z: tanh(z) ** 2
    yield "tanh", "(1 - t)^2 for 1 - t^2", lambda z: (1 - tanh(z)) ** 2
    yield "tanhshrink", "1 - t^2 for t^2", lambda z: 1 - tanh(z) ** 2
    yield "tanhshrink", "t for t^2", tanh
    yield "log_sigmoid", "s(z) for s(-z)", s
    yield "log_sigmoid", "s(1 - s) for 1 - s", lambda z: s(z) * s(-z)
    yield "softplus", "s(1 - s) for s", lambda z: s(z) * s(-z)
    yield "softplus", "s(-z) for s(z)", lambda z: s(-z)
    yield "silu", 'the "1 -" missing, s(1 + z s)', lambda z: s(z) * (1 + z * s(z))
    yield "silu", "s alone, as if the gate were constant", s
    yield "silu", "s(1 + (1 - s)) for s(1 + z(1 - s))", lambda z: s(z) * (1 + s(-z))
    yield "silu", "s + s(1 - s), z left out", lambda z: s(z) + s(z) * s(-z)
    yield "gelu", "Φ(z) alone, as if the gate were constant", lambda z: _cdf(z)
    yield "gelu", "the sign of its second term turned", lambda z: _cdf(z) - z * _pdf(z)
    yield "gelu", "φ(z) for z φ(z)", lambda z: _cdf(z) + _pdf(z)
    yield "softsign", "1/(1 + |z|) for its square", lambda z: 1 / (1 + np.abs(z))
    yield "softsign", "1/(1 + z^2) for 1/(1 + |z|)^2", lambda z: 1 / (1 + z * z)
    yield "elu", "f for f + alpha", lambda z: np.where(z > 0, 1.0, elu * np.expm1(np.minimum(z, 0)))
    yield "elu", "alpha left out", lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))
    yield "elu", "f + 1 for f + alpha", lambda z: np.where(z > 0, 1.0, elu * np.expm1(np.minimum(z, 0)) + 1)
    yield "celu", "1/alpha twice", lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0) / celu) / celu)
    yield "celu", "alpha times too much", lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0) / celu) * celu)
    yield (
        "celu",
        "f + alpha for (f + alpha)/alpha",
        lambda z: np.where(z > 0, 1.0, celu * np.exp(np.minimum(z, 0) / celu)),
    )
    yield (
        "selu",
        "scale (f + alpha) for f + scale alpha",
        (lambda z: scale * np.where(z > 0, 1.0, scale * alpha * np.expm1(np.minimum(z, 0)) + alpha)),
    )
    yield (
        "selu",
        "f + alpha for f + scale alpha",
        (lambda z: np.where(z > 0, scale, scale * alpha * np.expm1(np.minimum(z, 0)) + alpha)),
    )
    yield "leaky_relu", "its sides exchanged", lambda z: np.where(z > 0, leak, 1.0)
    yield "leaky_relu", "the slope left at 0", lambda z: (z > 0) * 1.0
    yield "relu", "1 everywhere", np.ones_like
    yield "sin", "sin for cos", np.sin
    yield "sin", "-cos for cos", lambda z: -np.cos(z)
    yield "hard_sigmoid", "1 for 1/6", lambda z: (np.abs(z) < 3) * 1.0
    yield "hardtanh", "1 everywhere", np.ones_like
    yield "relu6", "1 above 6", lambda z: (z > 0) * 1.0
    yield "hard_swish", "(z + 3)/6 for (2z + 3)/6", lambda z: np.where(np.abs(z) < 3, (z + 3) / 6, (z >= 3) * 1.0)
    yield "squareplus", "f/(2r) for f/r", lambda z: ACTIVATIONS["squareplus"].derivative(z) / 2
    yield "softshrink", "1 everywhere", np.ones_like
    yield "hardshrink", "1 everywhere", np.ones_like


def _cdf(z: Array) -> Array:
    return ACTIVATIONS["gelu"].derivative(z) - z * _pdf(z)


def _pdf(z: Array) -> Array:
    return np.exp(-np.square(np.minimum(np.abs(z), 40)) / 2) / np.sqrt(2 * np.pi)


def _coarse() -> Iterator[tuple[str, str, Function | None, Function | None]]:
    """Formulas that lose digits, overflow, or replace a tail."""
    exp, log = np.exp, np.log
    yield "tanh", "tanh by the quotient (e^2z - 1)/(e^2z + 1)", lambda z: (exp(2 * z) - 1) / (exp(2 * z) + 1), None
    yield "tanh", "tanh by a quotient, and 0 where it is NaN", (
        lambda z: np.nan_to_num((exp(2 * z) - 1) / (exp(2 * z) + 1), nan=0.0)
    ), None  # fmt: skip
    yield "sigmoid", "sigmoid by e^z/(1 + e^z), and 0 where it is NaN", (
        lambda z: np.nan_to_num(exp(z) / (1 + exp(z)), nan=0.0)
    ), None  # fmt: skip
    yield "softplus", "softplus by log(1 + exp z)", lambda z: log(1 + exp(z)), None
    yield "softplus", "softplus by log(1 + exp z), and its f' by e^z/(1 + e^z)", (
        lambda z: log(1 + exp(z))
    ), lambda z: np.nan_to_num(exp(z) / (1 + exp(z)), nan=0.0)  # fmt: skip
    yield "log_sigmoid", "log_sigmoid by log of the sigmoid", lambda z: log(1 / (1 + exp(-z))), None
    yield "log_sigmoid", "log_sigmoid by -log(1 + exp(-z))", lambda z: -log(1 + exp(-z)), None
    for limit in (8.0, 10.0, 15.0, 16.0, 18.0, 20.0, 30.0, 35.0, 50.0, 88.0, 500.0):
        yield "sigmoid", f"sigmoid of z held between ±{limit:g}", *_clipped(limit, "sigmoid")
        yield "tanh", f"tanh of z held between ±{limit:g}", *_clipped(limit, "tanh")
    alpha, celu = float(ACTIVATIONS["elu"].parameters["alpha"]), float(ACTIVATIONS["celu"].parameters["alpha"])
    yield "elu", "elu by exp(z) - 1", lambda z: np.where(z > 0, z, alpha * (exp(np.minimum(z, 0)) - 1)), None
    yield "celu", "celu by exp(z/alpha) - 1", (
        lambda z: np.where(z > 0, z, celu * (exp(np.minimum(z, 0) / celu) - 1))
    ), None  # fmt: skip
    a, scale = 1.6732632423543772, 1.0507009873554805
    yield "elu", "elu's f' by alpha (expm1(z) + 1)", None, (
        lambda z: np.where(z > 0, 1.0, alpha * (np.expm1(np.minimum(z, 0)) + 1))
    )  # fmt: skip
    yield "celu", "celu's f' by expm1(z/alpha) + 1", None, (
        lambda z: np.where(z > 0, 1.0, np.expm1(np.minimum(z, 0) / celu) + 1)
    )  # fmt: skip
    yield "selu", "selu's f' by expm1(z) + 1", None, (
        lambda z: scale * np.where(z > 0, 1.0, a * (np.expm1(np.minimum(z, 0)) + 1))
    )  # fmt: skip
    yield "selu", "selu by exp(z) - 1", lambda z: scale * np.where(z > 0, z, a * (exp(np.minimum(z, 0)) - 1)), None


def _cut() -> Iterator[Variant]:
    """Tails that are replaced by their limits beyond some z."""
    for z in (10.0, 15.0, 20.0, 30.0):
        for own in ("softplus", "mish"):
            yield _beyond(Limit(own, z, False, lambda z: z, np.ones_like), "linear")
        for own in ("softplus", "silu", "mish"):
            yield _beyond(Limit(own, -z, True, np.zeros_like, np.zeros_like), "0")


def _beyond(limit: Limit, what: str) -> Variant:
    row, (f, slope) = ACTIVATIONS[limit.activation], (limit.f, limit.slope)
    assert f is not None
    assert slope is not None

    def is_beyond(z: Array) -> Array:
        return z < limit.z if limit.is_below else z > limit.z

    return Variant(
        limit.activation, "formula", f"{limit.activation} {what} {limit.words}",
        lambda z: np.where(is_beyond(z), f(z), row.f(z)),
        lambda z: np.where(is_beyond(z), slope(z), row.derivative(z)),
        True, limit,
    )  # fmt: skip


def _clipped(limit: float, own: str) -> tuple[Function, Function]:
    row = ACTIVATIONS[own]
    return lambda z: row.f(np.clip(z, -limit, limit)), lambda z: row.derivative(np.clip(z, -limit, limit))


def _variants() -> Iterator[Variant]:
    for own, text, (f, slope) in _parameters():
        yield Variant(own, "parameter", f"{own} with {text}", f, slope)
    for own, text, slope in _halves():
        yield Variant(own, "part-of-slope", f"{own}'s f' with {text}", None, slope)
    for own, text, f, slope in _coarse():
        yield Variant(own, "formula", text, f, slope, True)
    yield from _cut()


VARIANTS: tuple[Variant, ...] = tuple(_variants())
"""Ways to compute activations, each of some framework, port or course."""


def of_one_activation(own: str) -> Iterator[Hypothesis]:
    """The variants of one activation, in the forward pass, in the backward pass and in both."""
    for one in (variant for variant in VARIANTS if variant.activation == own):
        front: Changes = {} if one.f is None else {"x": _forward(one)}
        back: Changes = {} if one.slope is None else {"d": _backward(one)}
        ways: Mapping[str, tuple[Changes, str]] = {
            "": (front | back, ", in both directions" if front and back else ""),
            "-forward": (front if back else {}, ", in the forward pass alone"),
            "-backward": (back if front else {}, ", in the backward pass alone"),
        }
        for suffix, (changes, where) in ways.items():
            if changes:
                made = everywhere(f"{one.name}{suffix}@{one.text}", one.text + where, only_where(changes, own))
                yield replace(made, limit=one.limit and _seen_in(one.limit, changes))


def _seen_in(limit: Limit, changes: Changes) -> Limit:
    """The limit in the passes that are changed."""
    return replace(limit, f=limit.f if "x" in changes else None, slope=limit.slope if "d" in changes else None)


def _computed(function: Function, w: Work, is_coarse: bool) -> Function:
    """The function in float64, or in the format in which a framework computes it."""
    if not is_coarse:
        return function
    dtype = DTYPES["f32"].numpy if w.format.is_narrow else w.format.numpy

    def computed(z: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(z.astype(dtype)).astype(np.float64)

    return computed


def _row(one: Variant, w: Work) -> Activation:
    row = ACTIVATIONS[one.activation]
    f = row.function if one.f is None else _computed(one.f, w, one.is_coarse)
    slope = row.slope if one.slope is None else _computed(one.slope, w, one.is_coarse)
    if one.is_coarse:

        def coarse_terms(z: Array) -> Array:
            # Where the formula gives exactly 0, as log(1 + e) for a tiny e, nothing is left to round.
            return np.where(f(z) == 0, 0.0, np.maximum(1.0, row.f_terms(z)))

        return replace(row, function=f, slope=slope, f_terms=coarse_terms, slope_terms=ones)
    ulps = max(row.f_ulps, 4.0)

    def terms(z: Array) -> Array:
        return np.maximum(np.abs(f(z)), row.f_terms(z))

    def slope_terms(z: Array) -> Array:
        return np.maximum(np.abs(slope(z)), row.slope_terms(z))

    return replace(
        row, function=f, slope=slope, f_ulps=ulps, f_terms=terms, slope_ulps=max(row.slope_ulps, 4.0),
        slope_terms=slope_terms, kinks=(), turning=(), turning_period=None,
    )  # fmt: skip


def _forward(one: Variant) -> Change:
    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        z, row = w.z[i], _row(one, w)
        value = row.f(z.value) if z.reading is None else None
        given = (
            Value(Estimate(value))
            if value is not None
            else Value(r.activation(row, z.estimate, _reading(z)), z.reading)
        )
        return with_bias(w, i, given, "post")

    return change


def _backward(one: Variant) -> Change:
    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        z, row = w.z[i], _row(one, w)
        if z.reading is None:
            return Value(Estimate(row.derivative(z.value)))
        return Value(r.derivative(row, z.estimate, z.reading), z.reading)

    return change


def _reading(z: Value) -> r.Reading:
    assert z.reading is not None
    return z.reading


def _at_zero(slope: float) -> Change:
    def change(w: Work, i: int, right: Callable[[], Value]) -> Value:
        if any(kink.point == 0 for kink in ACTIVATIONS[w.name(i)].kinks):
            return right()
        d = right()
        return d.where(w.z[i].value != 0, Value(Estimate(np.full(d.shape, slope)), d.reading))

    return change


AT_ZERO: tuple[Hypothesis, ...] = tuple(
    everywhere(f"slope-at-zero:{c:g}", f"f' of a smooth activation taken for {c:g} at z exactly 0", {"d": _at_zero(c)})
    for c in (0.0, 1.0, 0.5)
)
"""Slopes at exactly 0, where a formula such as f(z)/z has no value."""
