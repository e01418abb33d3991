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

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from . import special
from .activation import (
    EXACT,
    Activation,
    Array,
    Function,
    Kink,
    Tail,
    make_celu,
    make_elu,
    make_hardshrink,
    make_leaky_relu,
    make_row,
    make_softshrink,
    make_squareplus,
    ones,
    own_size,
    step,
)

__all__ = ["ACTIVATIONS", "OTHER_VALUES", "Activation", "Kink", "Tail", "base_of", "name_with"]


def _gelu_slope(z: Array) -> Array:
    return special.normal_cdf(z) + z * special.normal_pdf(z)


def _hard_swish_slope(z: Array) -> Array:
    return step(np.abs(z) < 3, z) * (np.clip(z, -3, 3) / 3 + 0.5) + step(z >= 3, z)


def _selu(z: Array) -> Array:
    alpha, scale = z.dtype.type(SELU_ALPHA), z.dtype.type(SELU_SCALE)
    with np.errstate(over="ignore"):  # infinity is correct here: the scale is above 1
        return scale * special.elu(z, alpha)


def _selu_slope(z: Array) -> Array:
    alpha, scale = z.dtype.type(SELU_ALPHA), z.dtype.type(SELU_SCALE)
    return scale * special.elu_slope(z, alpha)


def _abs(z: Array) -> Array:
    return np.abs(z)


LEAKY_SLOPE = 0.125
ELU_ALPHA = 1.0
CELU_ALPHA = 1.5
SHRINK = 0.75
SQUAREPLUS_B = 2.0
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")
SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")


def _table() -> tuple[Activation, ...]:
    sigmoid, softplus = special.sigmoid, special.softplus
    gated = lambda z: 1 + np.abs(z)  # noqa: E731
    inside = lambda low, high: lambda z: step((z > low) & (z < high), z)  # noqa: E731

    def hard_sigmoid(z: Array) -> Array:
        return np.clip(z + 3, 0, 6) / 6

    def hard_sigmoid_slope(z: Array) -> Array:
        return step(np.abs(z) < 3, z) / 6

    def soft_reciprocal(z: Array) -> Array:
        return 1 / (1 + np.abs(z))

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

    def gelu_tanh_gain(z: Array) -> Array:
        # What the gate loses is multiplied by z in f, and by 1 + z w' in f'.
        z, _, w_slope = special.gelu_tanh_gate(z)
        return 1 + np.abs(z) * w_slope

    def gelu_tanh_resolves(z: Array) -> Array:
        # Where 1 + tanh has no digits left, z/2 times the slope of tanh may have some, as 1 / cosh**2 has. Their sum is
        # off from f' by the first term, which is 1 / (1 + |z| w') of it. A quarter of this is between.
        z, _, w_slope = special.gelu_tanh_gate(z)
        return 0.25 / (1 + np.abs(z) * w_slope)

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
        make_row("identity", lambda z: z.copy(), ones, EXACT, EXACT, piecewise_linear=True),
        make_row(
            "sigmoid",
            sigmoid,
            special.sigmoid_derivative,
            (5, sigmoid),
            (5, sigmoid),
            turning=(0.0,),
            tail=Tail(slope_terms=tail_of(special.sigmoid_derivative)),
        ),
        make_row(
            "tanh",
            np.tanh,
            special.tanh_derivative,
            (8, own_size(np.tanh)),
            (15, ones),
            turning=(0.0,),
            tail=Tail(slope_terms=tail_of(special.tanh_derivative)),
        ),
        make_row(
            "relu",
            lambda z: np.maximum(z, 0),
            lambda z: step(z > 0, z),
            EXACT,
            EXACT,
            kinks=(Kink(0, 0, 1),),
            piecewise_linear=True,
        ),
        make_leaky_relu("leaky_relu", LEAKY_SLOPE),
        make_row(
            "relu6",
            lambda z: np.clip(z, 0, 6),
            inside(0, 6),
            EXACT,
            EXACT,
            kinks=(Kink(0, 0, 1), Kink(6, 1, 0)),
            piecewise_linear=True,
        ),
        make_row(
            "hardtanh",
            lambda z: np.clip(z, -1, 1),
            inside(-1, 1),
            EXACT,
            EXACT,
            kinks=(Kink(-1, 0, 1), Kink(1, 1, 0)),
            piecewise_linear=True,
        ),
        make_row(
            "hard_sigmoid",
            hard_sigmoid,
            hard_sigmoid_slope,
            (2, lambda z: np.minimum(np.abs(z) + 3, 6) / 6),
            (1, lambda z: step(np.abs(z) < 4, z) / 6),  # also at the kinks, where 1/6 is one of the right values
            kinks=(Kink(-3, 0, 1 / 6), Kink(3, 1 / 6, 0, blur=6)),
        ),
        make_row(
            "hard_swish",
            lambda z: z * hard_sigmoid(z),
            _hard_swish_slope,
            (3, lambda z: np.abs(z) * (np.minimum(np.abs(z) + 3, 6) / 6)),
            (3, lambda z: np.where(z < -3, 0, np.minimum(np.abs(z), 3) / 3 + 0.5)),
            kinks=(Kink(-3, 0, -0.5), Kink(3, 1.5, 1, blur=6)),
        ),
        make_elu("elu", ELU_ALPHA),
        make_row(
            "selu",
            _selu,
            _selu_slope,
            (6, own_size(_selu)),
            (5, _selu_slope),
            kinks=(Kink(0, float(SELU_SCALE * SELU_ALPHA), float(SELU_SCALE)),),
        ),
        make_celu("celu", CELU_ALPHA),
        # A usual derivative is exp(z - f(z)), whose argument has the rounding error of z - f.
        make_row(
            "softplus",
            softplus,
            sigmoid,
            (7, own_size(softplus)),
            (4, lambda z: sigmoid(z) * (1 + np.minimum(np.abs(z), 40))),
        ),
        make_row(
            "softsign",
            lambda z: z / (1 + np.abs(z)),
            lambda z: np.square(soft_reciprocal(z)),
            (3, lambda z: np.abs(z) * soft_reciprocal(z)),
            (4, soft_reciprocal),
            turning=(0.0,),
            tail=Tail(slope_terms=lambda z: np.square(soft_reciprocal(z))),
        ),
        make_row(
            "silu",
            lambda z: z * sigmoid(z),
            special.silu_slope,
            (5, lambda z: np.abs(z) * sigmoid(z)),
            (6, lambda z: sigmoid(z) * (1 + np.abs(z))),
            underflow_gain=gated,
            turning=(-2.3993572805154677, 2.3993572805154677),
        ),
        make_row(
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
                tail_of(lambda z: z * special.normal_cdf(z), np.square),
                tail_of(gelu_parts, np.square),
                lambda z: np.full(z.shape, 2.0**-12),
            ),
        ),
        make_row(
            "gelu_tanh",
            special.gelu_tanh,
            special.gelu_tanh_slope,
            (6, _abs),
            (5, gelu_tanh_slope_terms),
            underflow_gain=gelu_tanh_gain,
            turning=(-1.4185040087908284, 1.4185040087908284),
            tail=Tail(tail_of(special.gelu_tanh, gelu_gate), tail_of(gelu_tanh_parts, gelu_gate), gelu_tanh_resolves),
        ),
        make_row(
            "mish",
            special.mish,
            special.mish_slope,
            (7, own_size(special.mish)),
            (14, mish_slope_terms),
            underflow_gain=gated,
            turning=(-2.256376396360793, 1.4905711794854285),
        ),
        make_row(
            "log_sigmoid",
            lambda z: -softplus(-z),
            lambda z: sigmoid(-z),
            (7, lambda z: softplus(-z)),
            (4, lambda z: sigmoid(-z) * (1 + np.minimum(np.abs(z), 40))),
        ),
        make_row(
            "tanhshrink",
            special.tanhshrink,
            lambda z: np.square(np.tanh(z)),
            (3, lambda z: np.abs(z) + np.abs(np.tanh(z))),
            (15, ones),
            turning=(0.0,),
            tail=Tail(own_size(special.tanhshrink), lambda z: np.square(np.tanh(z))),
        ),
        make_softshrink("softshrink", SHRINK),
        make_hardshrink("hardshrink", SHRINK),
        make_squareplus("squareplus", SQUAREPLUS_B),
        make_row("sin", np.sin, np.cos, (2, ones), (2, ones), turning=(0.0,), turning_period=np.pi),
    )


_FAMILIES: dict[str, tuple[Callable[[str, float], Activation], float]] = {
    "leaky_relu": (make_leaky_relu, 1),
    "elu": (make_elu, np.inf),
    "celu": (make_celu, np.inf),
    "softshrink": (make_softshrink, np.inf),
    "hardshrink": (make_hardshrink, np.inf),
    "squareplus": (make_squareplus, np.inf),
}
"""How the row of another value of a parameter is made. Values lie between 0 and the second entry."""


OTHER_VALUES: dict[str, tuple[float, float]] = {
    "leaky_relu": (0.3125, 0.015625),
    "elu": (0.625, 1.75),
    "celu": (0.625, 3.0),
    "softshrink": (0.3125, 1.25),
    "hardshrink": (0.3125, 1.25),
    "squareplus": (0.75, 6.0),
}
"""Other values of each parameter than the table's. None is the default of a framework, and all are numbers of every
dtype.
"""


class _Table(dict[str, Activation]):
    """The rows by name. The row of another value of a parameter, such as `leaky_relu_0d2`, is made when it is looked
    up, and iteration does not give it.
    """

    def __missing__(self, name: str) -> Activation:
        made = _make_row(name)
        if made is None:
            raise KeyError(name)
        return made

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _make_row(name) is not None)


ACTIVATIONS: dict[str, Activation] = _Table({row.name: row for row in _table()})
"""The rows of the table by name, and by `name_with` those of other values of a parameter."""


def name_with(name: str, parameters: Mapping[str, float]) -> str:
    """The name of an activation with other values of its parameters: leaky_relu_0d2 for leaky_relu and slope 0.2. It is
    `name` itself where the values are those of the table.

    Raises ValueError, in one line, for parameters that the activation does not have, or that are out of range.
    """
    own = ACTIVATIONS[name].parameters
    for key, value in parameters.items():
        if key not in own:
            raise ValueError(f"{name} has no parameter {key!r}; it has {', '.join(own) or 'none'}")
        _, most = _FAMILIES[name]
        if not 0 < value < most:
            raise ValueError(f"{name}: {key} = {value!r} should be a number between 0 and {most:g}")
    changed = {key: float(value) for key, value in parameters.items() if value != own[key]}
    return "_".join((name, *(repr(value).replace(".", "d").replace("-", "m") for value in changed.values())))


def base_of(name: str) -> str:
    """The name in the table of an activation with other values of its parameters: leaky_relu for leaky_relu_0d2."""
    base, _, value = name.rpartition("_")
    return base if base in _FAMILIES and value else name


@cache
def _make_row(name: str) -> Activation | None:
    base, _, text = name.rpartition("_")
    if base not in _FAMILIES:
        return None
    make, most = _FAMILIES[base]
    try:
        value = float(text.replace("d", ".").replace("m", "-"))
    except ValueError:
        return None
    (key,) = ACTIVATIONS[base].parameters
    return make(name, value) if 0 < value < most and name_with(base, {key: value}) == name else None
