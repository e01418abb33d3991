"""The elementary functions behind the activations.

Every function works elementwise on an array of float32, float64 or longdouble and returns an array of the same shape
and dtype. For any finite input there is no NaN, no warning and no avoidable cancellation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PI = np.longdouble("3.14159265358979323846264338327950288")
_SQRT_HALF = np.sqrt(np.longdouble(0.5))
_SQRT_PI = np.sqrt(PI)


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), computed as e / (1 + e) with e = exp(z), which is accurate in both tails.

    z is clipped at 50, so that e cannot overflow. The quotient is already 1 in every dtype there.
    """
    e = np.exp(np.minimum(z, 50))
    return e / (1 + e)


def sigmoid_derivative(z: Array) -> Array:
    """s(1 - s) = e / (1 + e)**2 with e = exp(-|z|), so that nothing cancels."""
    e = np.exp(-np.abs(z))
    return e / (1 + e * (2 + e))  # (1 + e)**2 would double the rounding error of 1 + e


def tanh_derivative(z: Array) -> Array:
    """1 - tanh(z)**2 = 4 exp(-2|z|) / (1 + exp(-2|z|))**2."""
    e = np.exp(np.minimum(z, -z))
    e *= e  # exp(-2|z|); 2|z| itself may overflow
    below = e + 1
    below *= below
    e *= 4
    e /= below  # in place, because on small arrays allocations cost most
    return e


def softplus(z: Array) -> Array:
    """log(1 + exp(z))."""
    return np.maximum(z, 0) + _log1p(np.exp(-np.abs(z)))


def _log1p(e: Array) -> Array:
    # log(1 + e) for 0 <= e <= 1. NumPy's log uses SIMD and its log1p does not. (e - (u - 1)) / u corrects for the
    # rounding of u = 1 + e.
    u = 1 + e
    return np.log(u) + (e - (u - 1)) / u


def tanhshrink(z: Array) -> Array:
    """z - tanh(z). For |z| < 1 it uses Lambert's continued fraction for tanh, whose terms are all positive."""
    small = np.clip(z, -1, 1)
    square = np.square(small)
    tail = np.zeros_like(square)
    for odd in range(21, 1, -2):
        tail = square / (odd + tail)
    return np.where(np.abs(z) < 1, small * (tail / (1 + tail)), z - np.tanh(z))


def normal_cdf(z: Array) -> Array:
    """The standard normal distribution function. Nothing cancels in the left tail; the error there is z**2 units."""
    if z.dtype == np.longdouble and z.dtype.itemsize > 8:
        return _erfc_longdouble(-z * _SQRT_HALF) / 2
    from scipy.special import erfc  # hosts of adapters import this module, and need not have SciPy

    return erfc(-z * z.dtype.type(_SQRT_HALF)) / 2


def normal_pdf(z: Array) -> Array:
    """The standard normal density. |z| is clipped at 160, where the density is 0, so that z**2 cannot overflow."""
    constant = z.dtype.type(1 / (_SQRT_PI / _SQRT_HALF))
    return np.exp(np.square(np.minimum(np.abs(z), 160)) / -2) * constant


_GELU_SCALE = 2 * np.sqrt(2 / PI)
_GELU_CUBE = 0.044715


def gelu_tanh_gate(z: Array) -> tuple[Array, Array, Array]:
    """(1 + tanh v) / 2 = sigmoid(2 v). Returns z, 2 v and the derivative of 2 v. z is clipped to a range outside which
    the gate is 0 or 1 in every dtype.
    """
    z = np.clip(z, -100, 10)
    scale = z.dtype.type(_GELU_SCALE)
    cube = _GELU_CUBE * z * z
    return z, scale * z * (1 + cube), scale * (1 + 3 * cube)


def gelu_tanh(z: Array) -> Array:
    """z times the gate."""
    return z * sigmoid(gelu_tanh_gate(z)[1])


def gelu_tanh_slope(z: Array) -> Array:
    """s (1 + z w' (1 - s)), with s = sigmoid(w) = e / (1 + e)."""
    z, w, w_slope = gelu_tanh_gate(z)
    e = np.exp(w)
    total = 1 + e
    return e / total * (1 + z * w_slope / total)


def mish_gate(z: Array) -> tuple[Array, Array, Array]:
    """tanh(log(1 + e)) = n / (n + 2), with e = exp(z) and n = e (e + 2), so that nothing cancels. Returns z, e and n. z
    is clipped at 40, where the quotient is already 1 in every dtype.
    """
    z = np.minimum(z, 40)
    e = np.exp(z)
    return z, e, e * (e + 2)


def mish(z: Array) -> Array:
    """z times the gate."""
    _, _, n = mish_gate(z)
    return z * (n / (n + 2))


def mish_slope(z: Array) -> Array:
    """The gate's own slope is (1 - tanh**2) sigmoid(z), and 1 - tanh**2 = 4 (1 + e)**2 / (n + 2)**2."""
    z, e, n = mish_gate(z)
    return n / (n + 2) + z * (4 * e / (n + 2)) * ((1 + e) / (n + 2))


def _erfc_longdouble(z: Array) -> Array:
    # SciPy has no longdouble erfc. Up to `split` this sums a series of positive terms for erf (DLMF 7.6.2). Beyond it,
    # where 1 - erf would cancel, it uses the continued fraction DLMF 7.9.2. Both converge most slowly at the split, and
    # their lengths give 64 bits there.
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
