"""The type of one row of the activation table, how its functions are evaluated, and the rows that have a parameter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import special
from .dtypes import DTYPES

Array = NDArray[Any]
Function = Callable[[Array], Array]


def ones(z: Array) -> Array:
    """An array of ones, of the shape and dtype of z."""
    return np.ones_like(z)


@dataclass(frozen=True)
class Kink:
    """A point where `f'` jumps from `left` to `right`, and `f` by `jump`.

    `blur` is how far rounding inside the usual formula can move the point, in units of u. For example, `relu6(z + 3)`
    rounds `z + 3`.
    """

    point: float
    left: float
    right: float
    jump: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class Tail:
    """Where a usual formula of f or f' cancels: the errors of a formula that does not.

    For example, 1 - tanh(z)**2 has an absolute error of u, and is 0 from z = 9 on in float32, while 4 e / (1 + e)**2
    with e = exp(-2|z|) keeps its digits. `f_terms` and `slope_terms` are the size of the terms of the second kind of
    formula, as in a row; None if nothing cancels in the first. Where the cancelling formula has no digits left, its
    relative error exceeds `resolves(z)`.
    """

    f_terms: Function | None = None
    slope_terms: Function | None = None
    resolves: Function = lambda z: np.full(z.shape, 0.25)


@dataclass(frozen=True)
class Activation:
    """One row of the activation table: all that the suite knows of an activation.

    `function` and `slope` are the formulas of f and f'; call them through `f` and `derivative`. A sound implementation
    computes f within `f_ulps * u * f_terms(z)` and f' within `slope_ulps * u * slope_terms(z)`, where u is the unit
    roundoff of the dtype and the terms are the size of what may cancel in a usual formula. `parameters` are passed to
    every framework by keyword. `turning` lists the points where f' turns; with `turning_period` they repeat.
    """

    name: str
    function: Function
    slope: Function
    f_ulps: float
    f_terms: Function
    slope_ulps: float
    slope_terms: Function
    parameters: Mapping[str, float] = field(default_factory=dict)
    kinks: tuple[Kink, ...] = ()
    seams: tuple[float, ...] = ()
    """Points where a usual formula switches branches although f' does not jump. Only one slope is right there."""
    turning: tuple[float, ...] = ()
    turning_period: float | None = None
    underflow_gain: Function = ones
    """The factor by which a usual formula multiplies an intermediate result that may underflow: |z| in z sigmoid(z)."""
    piecewise_linear: bool = False
    """Whether f and f' are exact on small integers, as the lattice regime requires."""
    tail: Tail | None = None
    """The errors of formulas that do not cancel, where a usual one does."""

    def f(self, z: Array) -> Array:
        """f(z), elementwise, in z's dtype (float16 and bfloat16 are computed in float32 and rounded once)."""
        return _in_blocks(self.function, z)

    def derivative(self, z: Array) -> Array:
        """f'(z), elementwise, in z's dtype, computed as f is. At a kink it is the value that most frameworks choose."""
        return _in_blocks(self.slope, z)


# Formulas allocate temporaries. In blocks of this many bytes the temporaries stay in cache, and the allocator does not
# map new pages for each. This is 2 to 5 times as fast.
_BLOCK = 1 << 17


def _in_blocks(function: Function, z: Array) -> Array:
    block = _BLOCK // z.itemsize
    if z.size <= block:
        return _in_working_precision(function, z)
    flat = z.reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, block):
        out[start : start + block] = _in_working_precision(function, flat[start : start + block])
    return out.reshape(z.shape)


def _in_working_precision(function: Function, z: Array) -> Array:
    if z.dtype.itemsize == 2:
        wide = function(z.astype(np.float32))
        with np.errstate(over="ignore"):  # infinity is correct here: SELU scales its input up
            return wide.astype(z.dtype)
    return function(z)


def step(condition: Array, z: Array) -> Array:
    """1 where a condition holds and 0 elsewhere, in the dtype of z."""
    return condition.astype(z.dtype)


def _zero(z: Array) -> Array:
    return np.zeros_like(z)


def make_row(name: str, f: Function, slope: Function, f_error: Any, slope_error: Any, **rest: Any) -> Activation:
    """A row. The errors are pairs: a number of ulps, and the size of the terms."""
    return Activation(name, f, slope, f_error[0], f_error[1], slope_error[0], slope_error[1], **rest)


EXACT = (0.0, _zero)
"""The error of a function that rounds nothing."""


def own_size(f: Function) -> Function:
    """The size of the terms of a function in which nothing cancels: that of the function."""
    return lambda z: np.abs(f(z))


# Rows with a parameter. A framework rounds a value that is no number of a dtype, by up to u relative to it. `extra` is
# 1 for such a value, else 0: as many units of u, times the terms of the row, are the most that it changes f and f'.


def make_leaky_relu(name: str, slope: float) -> Activation:
    """The row of max(z, slope z)."""
    extra = _extra(slope)

    def f(z: Array) -> Array:
        return np.maximum(z, slope * z)

    def derivative(z: Array) -> Array:
        return np.maximum(step(z > 0, z), slope)

    return make_row(
        name, f, derivative, (1 + extra, own_size(f)), (1 + extra, derivative), parameters={"slope": slope},
        # On small integers, exact where the slope is an eighth.
        kinks=(Kink(0, slope, 1),), piecewise_linear=(8 * slope).is_integer(),
    )  # fmt: skip


def make_elu(name: str, alpha: float) -> Activation:
    """The row of z where it is positive, else alpha expm1(z)."""
    extra = _extra(alpha)

    def f(z: Array) -> Array:
        return special.elu(z, alpha)

    def derivative(z: Array) -> Array:
        return special.elu_slope(z, alpha)

    at_zero: Any = {"seams": (0.0,)} if alpha == 1 else {"kinks": (Kink(0, alpha, 1),)}
    errors = (6 + extra, own_size(f)), (4 + extra, derivative)
    return make_row(name, f, derivative, *errors, parameters={"alpha": alpha}, **at_zero)


def make_celu(name: str, alpha: float) -> Activation:
    """The row of max(z, 0) + alpha expm1(min(z, 0) / alpha)."""
    extra = _extra(alpha)

    def f(z: Array) -> Array:
        return np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0) / alpha)

    def derivative(z: Array) -> Array:
        return np.exp(np.minimum(z, 0) / alpha)

    return make_row(
        name, f, derivative, (6 + extra, own_size(f)),
        (3 + extra, lambda z: derivative(z) * (1 + np.minimum(np.abs(z), 1000) / alpha)),
        parameters={"alpha": alpha}, underflow_gain=lambda z: np.full_like(z, alpha), seams=(0.0,),
    )  # fmt: skip


def make_softshrink(name: str, threshold: float) -> Activation:
    """The row of z moved by the threshold towards 0, at most to 0."""
    extra = _extra(threshold)

    def f(z: Array) -> Array:
        return z - np.clip(z, -threshold, threshold)

    def f_terms(z: Array) -> Array:
        return np.abs(f(z)) + extra * threshold * step(np.abs(z) > threshold, z)

    kinks = (Kink(-threshold, 1, 0, blur=extra * threshold), Kink(threshold, 0, 1, blur=extra * threshold))
    return make_row(
        name, f, lambda z: step(np.abs(z) > threshold, z), (1, f_terms), EXACT, parameters={"threshold": threshold},
        kinks=kinks,
    )  # fmt: skip


def make_hardshrink(name: str, threshold: float) -> Activation:
    """The row of z where it is beyond the threshold, else 0."""
    blur = _extra(threshold) * threshold

    def outside(z: Array) -> Array:
        return step(np.abs(z) > threshold, z)

    return make_row(
        name, lambda z: z * outside(z), outside, EXACT, EXACT, parameters={"threshold": threshold},
        kinks=(Kink(-threshold, 1, 0, threshold, blur), Kink(threshold, 0, 1, threshold, blur)),
    )  # fmt: skip


def make_squareplus(name: str, b: float) -> Activation:
    """The row of (z + sqrt(z**2 + b)) / 2."""
    extra = _extra(b)

    def f(z: Array) -> Array:
        return special.squareplus(z, b)[0]

    def derivative(z: Array) -> Array:
        return special.squareplus(z, b)[1]

    return make_row(
        name, f, derivative, (3 + extra, lambda z: np.abs(z) / 2 + np.hypot(z, b**0.5) / 2), (3 + extra, ones),
        parameters={"b": b}, tail=Tail(f, derivative),
    )  # fmt: skip


def _extra(value: float) -> int:
    return int(any(float(dtype.numpy.type(value)) != value for dtype in DTYPES.values()))
