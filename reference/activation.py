"""What the suite knows of one activation: a row of the activation table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[[Array], Array]


def ones(z: Array) -> Array:
    """1 for each entry of z."""
    return np.ones_like(z)


@dataclass(frozen=True)
class Kink:
    """A point where `f'` jumps from `left` to `right`, and `f` by `jump`.

    `blur`, in units of u, is how far rounding inside the usual formula can move it: `relu6(z + 3)` rounds `z + 3`.
    """

    point: float
    left: float
    right: float
    jump: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class Activation:
    """One row of the table. `f` and `derivative` are called through the methods of the same sense below."""

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
    """Points where a usual formula changes while f' does not jump: one value is right there."""
    turning: tuple[float, ...] = ()
    turning_period: float | None = None
    underflow_gain: Function = ones
    """What multiplies, in a usual formula for f or f', an intermediate result that may fall below the normal range:
    |z| in z s(z).
    """
    piecewise_linear: bool = False
    """Whether small integers stay exact through f and f': what lattice draws need."""

    def f(self, z: Array) -> Array:
        """f(z), elementwise, in z's dtype (float16 and bfloat16 are computed in float32 and rounded once)."""
        return _in_blocks(self.function, z)

    def derivative(self, z: Array) -> Array:
        """f'(z), elementwise, in z's dtype; at a kink, the value most frameworks choose."""
        return _in_blocks(self.slope, z)


# Formulas make temporaries. In blocks of this many bytes they stay in cache and are not mapped anew by the allocator
# each time, which is worth a factor of 2 to 5.
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
        with np.errstate(over="ignore"):  # the infinity is right: SELU scales its input up
            return wide.astype(z.dtype)
    return function(z)
