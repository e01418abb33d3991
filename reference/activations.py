"""The activation table: one row for each activation, with all that the suite knows of it.

A row (`Activation`) holds:

- `f` and `f'`, as NumPy formulas that neither cancel nor overflow;
- the points where `f'` (or `f`) jumps, with both one-sided values;
- the points where `f'` turns, so that its range over an interval is known exactly;
- the parameters, which are passed to every framework;
- the error magnitudes of a sound implementation. Computed values of `f` are within `f_ulps * u * f_terms(z)`, where
  `f_terms` is the size of the terms that may cancel in a usual formula. `f_ulps` covers the largest error measured over
  NumPy, PyTorch and XLA (whose tanh has an error of up to 5 u) in the formats that they compute in. The same holds for
  `f'`. A framework with larger errors is reported; no magnitude is widened to hide it;
- where a usual formula cancels, the magnitudes of one that does not (`Tail`).
"""

from typing import Any

import numpy as np

from . import special
from .activation import Activation, Array, Function, Kink, Tail, ones

__all__ = ["ACTIVATIONS", "Activation", "Kink", "Tail"]

Number = float | np.floating[Any]


def _step(condition: Array, z: Array) -> Array:
    return condition.astype(z.dtype)


def _silu_slope(z: Array) -> Array:
    # s (1 + z (1 - s)), with s = e / (1 + e). It is 1 in every dtype from z = 50 on.
    z = np.minimum(z, 50)
    e = np.exp(z)
    total = 1 + e
    return e / total * (1 + z / total)


def _gelu_slope(z: Array) -> Array:
    return special.normal_cdf(z) + z * special.normal_pdf(z)


def _hard_swish_slope(z: Array) -> Array:
    return _step(np.abs(z) < 3, z) * (np.clip(z, -3, 3) / 3 + 0.5) + _step(z >= 3, z)


def _elu(z: Array, alpha: Number) -> Array:
    return np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0))


def _elu_slope(z: Array, alpha: Number) -> Array:
    return np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0)))


def _selu(z: Array) -> Array:
    alpha, scale = z.dtype.type(SELU_ALPHA), z.dtype.type(SELU_SCALE)
    with np.errstate(over="ignore"):  # infinity is correct here: the scale is above 1
        return scale * _elu(z, alpha)


def _selu_slope(z: Array) -> Array:
    alpha, scale = z.dtype.type(SELU_ALPHA), z.dtype.type(SELU_SCALE)
    return scale * _elu_slope(z, alpha)


def _squareplus(z: Array, b: float) -> tuple[Array, Array]:
    # Returns f and f' = f / r. f = (z + r) / 2 with r = sqrt(z**2 + b). For negative z this would cancel, and
    # f = (b / 4) / ((|z| + r) / 2) is used.
    r = np.hypot(z, np.sqrt(z.dtype.type(b)))
    larger = np.abs(z) / 2 + r / 2
    f = np.where(z >= 0, larger, b / 4 / larger)
    return f, f / r


def _abs(z: Array) -> Array:
    return np.abs(z)


def _zero(z: Array) -> Array:
    return np.zeros_like(z)


LEAKY_SLOPE = 0.125
ELU_ALPHA = 1.0
CELU_ALPHA = 1.5
SHRINK = 0.75
SQUAREPLUS_B = 2.0
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")
SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")


def _row(name: str, f: Function, slope: Function, f_error: Any, slope_error: Any, **rest: Any) -> Activation:
    return Activation(name, f, slope, f_error[0], f_error[1], slope_error[0], slope_error[1], **rest)


def _table() -> tuple[Activation, ...]:
    sigmoid, softplus = special.sigmoid, special.softplus
    exact = (0.0, _zero)
    own_f = lambda f: lambda z: np.abs(f(z))  # noqa: E731  (nothing cancels, so the size of the terms is that of f)
    gated = lambda z: 1 + np.abs(z)  # noqa: E731
    inside = lambda low, high: lambda z: _step((z > low) & (z < high), z)  # noqa: E731

    def elu_slope(z: Array) -> Array:
        return _elu_slope(z, ELU_ALPHA)

    def elu(z: Array) -> Array:
        return _elu(z, ELU_ALPHA)

    def celu(z: Array) -> Array:
        return np.maximum(z, 0) + CELU_ALPHA * np.expm1(np.minimum(z, 0) / CELU_ALPHA)

    def celu_slope(z: Array) -> Array:
        return np.exp(np.minimum(z, 0) / CELU_ALPHA)

    def leaky(z: Array) -> Array:
        return np.maximum(z, LEAKY_SLOPE * z)

    def leaky_slope(z: Array) -> Array:
        return np.maximum(_step(z > 0, z), LEAKY_SLOPE)

    def hard_sigmoid(z: Array) -> Array:
        return np.clip(z + 3, 0, 6) / 6

    def hard_sigmoid_slope(z: Array) -> Array:
        return _step(np.abs(z) < 3, z) / 6

    def soft_reciprocal(z: Array) -> Array:
        return 1 / (1 + np.abs(z))

    def squareplus(z: Array) -> Array:
        return _squareplus(z, SQUAREPLUS_B)[0]

    def squareplus_slope(z: Array) -> Array:
        return _squareplus(z, SQUAREPLUS_B)[1]

    def softshrink(z: Array) -> Array:
        return z - np.clip(z, -SHRINK, SHRINK)

    def outside(z: Array) -> Array:
        return _step(np.abs(z) > SHRINK, z)

    def pdf_term(z: Array) -> Array:
        return np.abs(z) * special.normal_pdf(z) * (1 + np.square(np.minimum(np.abs(z), 160)))

    # Formulas of the tails that do not cancel. The argument of an exponential may be rounded first: z by u |z|, z**2 by
    # u z**2, so that errors grow with the argument.
    def tail_of(function: Function, argument: Function = _abs) -> Function:
        return lambda z: np.abs(function(z)) * (1 + np.minimum(argument(z), 2000))

    def gelu_parts(z: Array) -> Array:
        return special.normal_cdf(z) + np.abs(z) * special.normal_pdf(z)

    def gelu_tanh_parts(z: Array) -> Array:
        z, w, w_slope = special.gelu_tanh_gate(z)
        gate = sigmoid(w)
        return gate * (1 + np.abs(z) * w_slope * sigmoid(-w))

    def gelu_gate(z: Array) -> Array:
        return np.abs(special.gelu_tanh_gate(z)[1])

    def mish_gate(z: Array) -> Array:
        _, _, n = special.mish_gate(z)
        return n / (n + 2)

    def mish_slope_terms(z: Array) -> Array:
        # z (1 - tanh**2) has an absolute error of |z| u until tanh is exactly 1. In the left tail the gate is computed
        # as exp(z - softplus(z)), whose argument has the rounding error of a difference.
        return mish_gate(z) * (1 + np.abs(np.minimum(z, 40))) * (1 + np.clip(-z, 0, 40))

    def gelu_tanh_slope_terms(z: Array) -> Array:
        # 1 - tanh(v)**2 has an absolute error of u until tanh(v) is exactly 1, and is multiplied by z v'.
        z, w, w_slope = special.gelu_tanh_gate(z)
        return 1 + np.where(np.abs(w) < 40, np.abs(z) * w_slope, 0)

    return (
        _row("identity", lambda z: z.copy(), ones, exact, exact, piecewise_linear=True),
        _row(
            "sigmoid",
            sigmoid,
            special.sigmoid_derivative,
            (5, sigmoid),
            (5, sigmoid),
            turning=(0.0,),
            tail=Tail(slope_terms=tail_of(special.sigmoid_derivative)),
        ),
        _row(
            "tanh",
            np.tanh,
            special.tanh_derivative,
            (8, own_f(np.tanh)),
            (15, ones),
            turning=(0.0,),
            tail=Tail(slope_terms=tail_of(special.tanh_derivative)),
        ),
        _row(
            "relu",
            lambda z: np.maximum(z, 0),
            lambda z: _step(z > 0, z),
            exact,
            exact,
            kinks=(Kink(0, 0, 1),),
            piecewise_linear=True,
        ),
        _row(
            "leaky_relu",
            leaky,
            leaky_slope,
            (1, own_f(leaky)),
            (1, leaky_slope),
            parameters={"slope": LEAKY_SLOPE},
            kinks=(Kink(0, LEAKY_SLOPE, 1),),
            piecewise_linear=True,
        ),
        _row(
            "relu6",
            lambda z: np.clip(z, 0, 6),
            inside(0, 6),
            exact,
            exact,
            kinks=(Kink(0, 0, 1), Kink(6, 1, 0)),
            piecewise_linear=True,
        ),
        _row(
            "hardtanh",
            lambda z: np.clip(z, -1, 1),
            inside(-1, 1),
            exact,
            exact,
            kinks=(Kink(-1, 0, 1), Kink(1, 1, 0)),
            piecewise_linear=True,
        ),
        _row(
            "hard_sigmoid",
            hard_sigmoid,
            hard_sigmoid_slope,
            (2, lambda z: np.minimum(np.abs(z) + 3, 6) / 6),
            (1, lambda z: _step(np.abs(z) < 4, z) / 6),  # also at the kinks, where 1/6 is one of the right values
            kinks=(Kink(-3, 0, 1 / 6), Kink(3, 1 / 6, 0, blur=6)),
        ),
        _row(
            "hard_swish",
            lambda z: z * hard_sigmoid(z),
            _hard_swish_slope,
            (3, lambda z: np.abs(z) * (np.minimum(np.abs(z) + 3, 6) / 6)),
            (3, lambda z: np.where(z < -3, 0, np.minimum(np.abs(z), 3) / 3 + 0.5)),
            kinks=(Kink(-3, 0, -0.5), Kink(3, 1.5, 1, blur=6)),
        ),
        _row("elu", elu, elu_slope, (6, own_f(elu)), (4, elu_slope), parameters={"alpha": ELU_ALPHA}, seams=(0.0,)),
        _row(
            "selu",
            _selu,
            _selu_slope,
            (6, own_f(_selu)),
            (5, _selu_slope),
            kinks=(Kink(0, float(SELU_SCALE * SELU_ALPHA), float(SELU_SCALE)),),
        ),
        _row(
            "celu",
            celu,
            celu_slope,
            (6, own_f(celu)),
            (3, lambda z: celu_slope(z) * (1 + np.minimum(np.abs(z), 1000) / CELU_ALPHA)),
            parameters={"alpha": CELU_ALPHA},
            underflow_gain=lambda z: np.full_like(z, CELU_ALPHA),
            seams=(0.0,),
        ),
        # A usual derivative is exp(z - f(z)), whose argument has the rounding error of z - f.
        _row(
            "softplus",
            softplus,
            sigmoid,
            (7, own_f(softplus)),
            (4, lambda z: sigmoid(z) * (1 + np.minimum(np.abs(z), 40))),
        ),
        _row(
            "softsign",
            lambda z: z / (1 + np.abs(z)),
            lambda z: np.square(soft_reciprocal(z)),
            (3, lambda z: np.abs(z) * soft_reciprocal(z)),
            (4, soft_reciprocal),
            turning=(0.0,),
            tail=Tail(slope_terms=lambda z: np.square(soft_reciprocal(z))),
        ),
        _row(
            "silu",
            lambda z: z * sigmoid(z),
            _silu_slope,
            (5, lambda z: np.abs(z) * sigmoid(z)),
            (6, lambda z: sigmoid(z) * (1 + np.abs(z))),
            underflow_gain=gated,
            turning=(-2.3993572805154677, 2.3993572805154677),
        ),
        _row(
            "gelu",
            lambda z: z * special.normal_cdf(z),
            _gelu_slope,
            (7, _abs),
            (5, lambda z: 1 + pdf_term(z)),
            underflow_gain=gated,
            turning=(-(2**0.5), 2**0.5),
            # Where 1 + erf has no digits left, z pdf(z) still has some: it is off from the slope by 1 / z**2, at least
            # 2**-11.
            tail=Tail(
                tail_of(lambda z: z * special.normal_cdf(z), np.square), tail_of(gelu_parts, np.square), 2.0**-12
            ),
        ),
        _row(
            "gelu_tanh",
            special.gelu_tanh,
            special.gelu_tanh_slope,
            (6, _abs),
            (5, gelu_tanh_slope_terms),
            underflow_gain=lambda z: 1 + np.abs(z) * special.gelu_tanh_gate(z)[1],
            turning=(-1.4185040087908284, 1.4185040087908284),
            tail=Tail(tail_of(special.gelu_tanh, gelu_gate), tail_of(gelu_tanh_parts, gelu_gate)),
        ),
        _row(
            "mish",
            special.mish,
            special.mish_slope,
            (7, own_f(special.mish)),
            (14, mish_slope_terms),
            underflow_gain=gated,
            turning=(-2.256376396360793, 1.4905711794854285),
        ),
        _row(
            "log_sigmoid",
            lambda z: -softplus(-z),
            lambda z: sigmoid(-z),
            (7, lambda z: softplus(-z)),
            (4, lambda z: sigmoid(-z) * (1 + np.minimum(np.abs(z), 40))),
        ),
        _row(
            "tanhshrink",
            special.tanhshrink,
            lambda z: np.square(np.tanh(z)),
            (3, lambda z: np.abs(z) + np.abs(np.tanh(z))),
            (15, ones),
            turning=(0.0,),
            tail=Tail(own_f(special.tanhshrink), lambda z: np.square(np.tanh(z))),
        ),
        _row(
            "softshrink",
            softshrink,
            outside,
            (1, own_f(softshrink)),
            exact,
            parameters={"threshold": SHRINK},
            kinks=(Kink(-SHRINK, 1, 0), Kink(SHRINK, 0, 1)),
        ),
        _row(
            "hardshrink",
            lambda z: z * outside(z),
            outside,
            exact,
            exact,
            parameters={"threshold": SHRINK},
            kinks=(Kink(-SHRINK, 1, 0, jump=SHRINK), Kink(SHRINK, 0, 1, jump=SHRINK)),
        ),
        _row(
            "squareplus",
            squareplus,
            squareplus_slope,
            (3, lambda z: np.abs(z) / 2 + np.hypot(z, SQUAREPLUS_B**0.5) / 2),
            (3, ones),
            parameters={"b": SQUAREPLUS_B},
            tail=Tail(squareplus, squareplus_slope),
        ),
        _row("sin", np.sin, np.cos, (2, ones), (2, ones), turning=(0.0,), turning_period=np.pi),
    )


ACTIVATIONS: dict[str, Activation] = {row.name: row for row in _table()}
