"""The elementary functions behind the activations, each free of NaN, warnings and avoidable cancellation.

Every function takes an array of float32, float64 or longdouble and answers in that dtype, for any finite input.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[Any]

PI = np.longdouble("3.14159265358979323846264338327950288")
_SQRT_HALF = np.sqrt(np.longdouble(0.5))
_SQRT_PI = np.sqrt(PI)


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), as e / (1 + e) with e = exp(z): full relative accuracy in both tails.

    From 50 on e is held, so that it cannot overflow; the quotient is 1 in every dtype well before that.
    """
    e = np.exp(np.minimum(z, 50))
    return e / (1 + e)


def sigmoid_derivative(z: Array) -> Array:
    """s(1 - s) = e / (1 + e)**2 with e = exp(-|z|), so that nothing cancels."""
    e = np.exp(-np.abs(z))
    return e / (1 + e * (2 + e))  # the square written out, which rounds 1 + e once and not twice


def tanh_derivative(z: Array) -> Array:
    """1 - tanh(z)**2 = 4 exp(-2|z|) / (1 + exp(-2|z|))**2."""
    e = np.exp(np.minimum(z, -z))
    e *= e  # exp(-2|z|), where 2|z| may overflow
    below = e + 1
    below *= below
    e *= 4
    e /= below  # in place: on small arrays the allocations are what costs
    return e


def softplus(z: Array) -> Array:
    """log(1 + exp(z))."""
    return np.maximum(z, 0) + _log1p(np.exp(-np.abs(z)))


def _log1p(e: Array) -> Array:
    # log(1 + e) for 0 <= e <= 1. NumPy's log runs in SIMD and its log1p does not; (e - (u - 1)) / u is what 1 + e lost.
    u = 1 + e
    return np.log(u) + (e - (u - 1)) / u


def tanhshrink(z: Array) -> Array:
    """z - tanh(z); below 1 by Lambert's continued fraction for tanh, whose terms are all positive."""
    small = np.clip(z, -1, 1)
    square = np.square(small)
    tail = np.zeros_like(square)
    for odd in range(21, 1, -2):
        tail = square / (odd + tail)
    return np.where(np.abs(z) < 1, small * (tail / (1 + tail)), z - np.tanh(z))


def normal_cdf(z: Array) -> Array:
    """The standard normal distribution function; nothing cancels in the left tail, where it costs z**2 units."""
    if z.dtype == np.longdouble and z.dtype.itemsize > 8:
        return _erfc_longdouble(-z * _SQRT_HALF) / 2
    return special.erfc(-z * z.dtype.type(_SQRT_HALF)) / 2


def normal_pdf(z: Array) -> Array:
    """The standard normal density. Clipped at 160, where it is zero in every dtype, so that z**2 cannot overflow."""
    constant = z.dtype.type(1 / (_SQRT_PI / _SQRT_HALF))
    return np.exp(np.square(np.minimum(np.abs(z), 160)) / -2) * constant


def _erfc_longdouble(z: Array) -> Array:
    # SciPy has no longdouble erfc. Up to `split` a series of positive terms (DLMF 7.6.2); beyond, where 1 - erf would
    # cancel, the continued fraction DLMF 7.9.2. The lengths suffice for 64 bits at the split, where both are slowest.
    split = np.longdouble(1.25)
    a = np.minimum(np.abs(z), np.longdouble(120))
    near, far = np.minimum(a, split), np.maximum(a, split)
    term = total = near
    for n in range(1, 27):
        term = term * (2 * np.square(near)) / (2 * n + 1)
        total = total + term
    erf = 2 / _SQRT_PI * np.exp(-np.square(near)) * total
    fraction = far
    for n in range(200, 0, -1):
        fraction = far + (n / np.longdouble(2)) / fraction
    tail = np.exp(-np.square(far)) / (_SQRT_PI * fraction)
    positive = np.where(a < split, 1 - erf, tail)
    return np.where(z < 0, 2 - positive, positive)
