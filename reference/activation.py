"""The type of one row of the activation table, and how its functions are evaluated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    relative error exceeds `resolves`.
    """

    f_terms: Function | None = None
    slope_terms: Function | None = None
    resolves: float = 0.25


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
