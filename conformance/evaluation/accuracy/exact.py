"""The activations written in mpmath from their definitions, independently of the table's formulas; f' is derived by
hand.

Every function takes and returns `mpf` at the working precision. At a kink, f' follows the table's convention. Only this
module needs mpmath, which the extra `ulp` installs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import mpmath as mp
import numpy as np
from mpmath import mpf
from numpy.typing import NDArray

from ....reference import ACTIVATIONS, Array, DType

Mpf: TypeAlias = Any  # mpmath is untyped, and makes its mpf at run time
MpFunction = Callable[[Mpf], Mpf]

DIGITS = 50
# Beyond this, exponential tails are 0 or 1 in every format, x87 included, and mpmath would be very slow.
_FAR = mpf(30000)


def _parameter(name: str, key: str) -> Mpf:
    return mpf(ACTIVATIONS[name].parameters[key])


def _clamp(function: MpFunction) -> MpFunction:
    return lambda z: function(max(min(z, _FAR), -_FAR))


@_clamp
def sigmoid(z: Mpf) -> Mpf:
    if z >= 0:
        return 1 / (1 + mp.exp(-z))
    e = mp.exp(z)
    return e / (1 + e)


def _softplus(z: Mpf) -> Mpf:
    return max(z, mpf(0)) + mp.log1p(mp.exp(max(-abs(z), -_FAR)))


@_clamp
def _tanh(z: Mpf) -> Mpf:
    if abs(z) < 1:
        return mp.tanh(z)
    e = mp.exp(-2 * abs(z))
    return (1 - e) / (1 + e) * mp.sign(z)


@_clamp
def _sech_squared(z: Mpf) -> Mpf:
    return 4 / (mp.exp(z) + mp.exp(-z)) ** 2


def _tanhshrink(z: Mpf) -> Mpf:
    with mp.workprec(mp.mp.prec + 2 * max(0, -int(mp.mag(z))) if z else mp.mp.prec):  # z**3 / 3 is what is left
        return z - _tanh(z)


@_clamp
def _normal_cdf(z: Mpf) -> Mpf:
    return mp.erfc(-z / mp.sqrt(2)) / 2


@_clamp
def _normal_pdf(z: Mpf) -> Mpf:
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def _gelu_tanh_gate(z: Mpf) -> Mpf:
    return sigmoid(2 * mp.sqrt(2 / mp.pi) * (z + mpf(0.044715) * z**3))


@_clamp
def _gelu_tanh_slope(z: Mpf) -> Mpf:
    g = _gelu_tanh_gate(z)
    h = _gelu_tanh_gate(-z)
    return g + z * g * h * 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mpf(0.044715) * z**2)


def _mish_slope(z: Mpf) -> Mpf:
    return _tanh(_softplus(z)) + z * _sech_squared(_softplus(z)) * sigmoid(z)


def _hard_sigmoid(z: Mpf) -> Mpf:
    return max(mpf(0), min(mpf(6), z + 3)) / 6


def _elu(z: Mpf, alpha: Mpf) -> Mpf:
    return z if z > 0 else alpha * mp.expm1(max(z, -_FAR))


def _elu_slope(z: Mpf, alpha: Mpf) -> Mpf:
    return mpf(1) if z > 0 else alpha * mp.exp(max(z, -_FAR))


def selu_constants() -> tuple[Mpf, Mpf]:
    """alpha and scale of selu, which make mean 0 and variance 1 a fixed point (Klambauer et al. 2017)."""
    e = mp.e
    half, one = mp.erfc(1 / mp.sqrt(2)), mp.erfc(mp.sqrt(2))
    root = mp.sqrt(2 * one * e**2 + mp.pi * half**2 * e - 2 * (2 + mp.pi) * half * mp.sqrt(e) + mp.pi + 2)
    alpha = -mp.sqrt(2 / mp.pi) / (half * mp.exp(mpf(1) / 2) - 1)
    scale = (1 - half * mp.sqrt(e)) * mp.sqrt(2 * mp.pi) / root
    return alpha, scale


def _squareplus(z: Mpf) -> Mpf:
    b = _parameter("squareplus", "b")
    root = mp.sqrt(z * z + b)
    return (z + root) / 2 if z >= 0 else b / (2 * (root - z))


def _table() -> dict[str, tuple[MpFunction, MpFunction]]:
    zero, one = mpf(0), mpf(1)
    with mp.workdps(DIGITS + 10):
        selu_alpha, selu_scale = selu_constants()
    leaky, alpha, celu = (_parameter(*at) for at in (("leaky_relu", "slope"), ("elu", "alpha"), ("celu", "alpha")))
    shrink = _parameter("softshrink", "threshold")

    def inside(low: float, high: float) -> MpFunction:
        return lambda z: one if low < z < high else zero

    def hard_swish_slope(z: Mpf) -> Mpf:
        return zero if z <= -3 else one if z >= 3 else z / 3 + mpf(1) / 2

    def sech_of_half(z: Mpf) -> Mpf:
        return sigmoid(z) * sigmoid(-z)

    def outside(z: Mpf) -> Mpf:
        return one if abs(z) > shrink else zero

    return {
        "identity": (lambda z: z, lambda z: one),
        "sigmoid": (sigmoid, sech_of_half),
        "tanh": (_tanh, _sech_squared),
        "relu": (lambda z: max(z, zero), inside(0, np.inf)),
        "leaky_relu": (lambda z: z if z > 0 else leaky * z, lambda z: one if z > 0 else leaky),
        "relu6": (lambda z: min(max(z, zero), mpf(6)), inside(0, 6)),
        "hardtanh": (lambda z: min(max(z, -one), one), inside(-1, 1)),
        "hard_sigmoid": (_hard_sigmoid, lambda z: inside(-3, 3)(z) / 6),
        "hard_swish": (lambda z: z * _hard_sigmoid(z), hard_swish_slope),
        "elu": (lambda z: _elu(z, alpha), lambda z: _elu_slope(z, alpha)),
        "selu": (lambda z: selu_scale * _elu(z, selu_alpha), lambda z: selu_scale * _elu_slope(z, selu_alpha)),
        "celu": (
            lambda z: z if z > 0 else celu * mp.expm1(max(z / celu, -_FAR)),
            lambda z: one if z > 0 else mp.exp(max(z / celu, -_FAR)),
        ),
        "softplus": (_softplus, sigmoid),
        "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
        "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * sigmoid(-z))),
        "gelu": (lambda z: z * _normal_cdf(z), lambda z: _normal_cdf(z) + z * _normal_pdf(z)),
        "gelu_tanh": (lambda z: z * _gelu_tanh_gate(z), _gelu_tanh_slope),
        "mish": (lambda z: z * _tanh(_softplus(z)), _mish_slope),
        "log_sigmoid": (lambda z: -_softplus(-z), lambda z: sigmoid(-z)),
        "tanhshrink": (_tanhshrink, lambda z: _tanh(z) ** 2),
        "softshrink": (lambda z: z - min(max(z, -shrink), shrink), outside),
        "hardshrink": (lambda z: z * outside(z), outside),
        "squareplus": (_squareplus, lambda z: _squareplus(z) / mp.sqrt(z * z + _parameter("squareplus", "b"))),
        "sin": (mp.sin, mp.cos),
    }


EXACT = _table()
"""f and f' of every activation, by name."""


def to_mpf(value: Any) -> Mpf:
    """Convert a NumPy scalar exactly, longdouble included."""
    fraction, exponent = np.frexp(np.longdouble(value))
    high = float(fraction)
    return mp.ldexp(mpf(high) + mpf(float(fraction - np.longdouble(high))), int(exponent))


def to_mpfs(values: NDArray[Any]) -> list[Mpf]:
    """Convert every element exactly, flattened."""
    return [to_mpf(value) for value in values.ravel()]


@dataclass(frozen=True)
class Truth:
    """True values to 106 bits, of any size: sign * (high * 2**53 + low) * 2**(exponent - 106).

    `high` and `low` hold integers below 2**53, and 2**(exponent - 1) <= |value| < 2**exponent. Zero has sign 0. All
    four arrays have one shape; they are float64, and int64 for the exponent.
    """

    sign: Array
    high: Array
    low: Array
    exponent: Array

    def __getitem__(self, index: Any) -> "Truth":
        return Truth(self.sign[index], self.high[index], self.low[index], self.exponent[index])

    def rounded(self) -> Array:
        """The nearest float64; 0 or an infinity where the value is out of its range."""
        with np.errstate(over="ignore", under="ignore"):
            return self.sign * _scaled(self.high + self.low * 2.0**-53, self.exponent - 53)

    def place(self, dtype: DType) -> Array:
        """The exponent of one unit in the last place: e - p + 1 where 2**e <= |value| < 2**(e + 1), and at least that
        of the smallest subnormal number.
        """
        return np.maximum(self.exponent - precision(dtype), int(np.log2(dtype.subnormal)))

    def ulps(self, given: Array, dtype: DType) -> Array:
        """|given - value| in units in the last place (ulp) of the value. `given` holds numbers of the format as
        float64; an infinity counts as the first number beyond the format, 2**(emax + 1).
        """
        place = self.place(dtype)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            beyond = np.sign(given) * _scaled(np.ones_like(given), np.frexp(dtype.max)[1] - place)
            difference = np.where(np.isinf(given), beyond, _scaled(given, -place))
            # The high part cancels exactly; the low part is subtracted from what is left.
            difference = difference - self.sign * _scaled(self.high, self.exponent - 53 - place)
            return np.abs(difference - self.sign * _scaled(self.low, self.exponent - 106 - place))

    def overflows(self, dtype: DType) -> Array:
        """Whether the value rounds to an infinity: whether it is at least half a unit beyond the largest number."""
        top, edge = int(np.frexp(dtype.max)[1]), 2**106 - 2 ** (105 - precision(dtype))
        high, low = edge >> 53, edge & (2**53 - 1)
        beyond = (self.high > high) | ((self.high == high) & (self.low >= low))
        return (self.exponent > top) | ((self.exponent == top) & beyond)


def precision(dtype: DType) -> int:
    """The number p of bits in a significand, including the leading one: the unit roundoff u is 2**-p."""
    return -int(np.log2(dtype.u))


def _scaled(value: Array, exponent: Array) -> Array:
    return np.ldexp(value, np.clip(exponent, -5000, 5000).astype(np.int32))


def compute_truth(name: str, slope: bool, z: Array) -> Truth:
    """f, or f' where `slope`, of the activation `name` at each of `z` (1-D, float64), to `DIGITS` digits."""
    function = EXACT[name][slope]
    with mp.workdps(DIGITS):
        parts = [_split(function(mpf(float(point)))) for point in z]
    sign, high, low, exponent = zip(*parts, strict=True) if parts else ((), (), (), ())
    return Truth(np.array(sign, float), np.array(high, float), np.array(low, float), np.array(exponent, np.int64))


def _split(value: Mpf) -> tuple[int, int, int, int]:
    if not value:
        return 0, 0, 0, -5000
    bits, exponent = value.man_exp
    bits = abs(bits)
    length = bits.bit_length()
    bits = int(bits >> (length - 106) if length > 106 else bits << (106 - length))
    return (1 if value > 0 else -1), bits >> 53, bits & ((1 << 53) - 1), exponent + length


def concatenate(parts: Sequence[Truth]) -> Truth:
    """Join values one after the other."""
    return Truth(*(np.concatenate([getattr(part, name) for part in parts]) for name in Truth.__dataclass_fields__))
