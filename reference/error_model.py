"""How rounding errors of the k-term rule are described: the readings of an error, and a value with its error."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from .dtypes import DTYPES, DType
from .network import Array

SIGMAS = 10.0
"""λ, the number of standard deviations at which a verdict is given."""

ORACLE_U = DTYPES["f64"].u
ORACLE_QUANTUM = DTYPES["f64"].subnormal
_SQUARES_UNDERFLOW = 1e-75


@dataclass(frozen=True)
class Reading:
    """How errors add (`p`), and out to how many of them a function's slope is looked at (`kappa`), for one format.

    `underflow` is the absolute error that one operation may make below the normal range, `underflow_acc` that of one
    inside a product. `selects` says that rows of x_0 select rows of a matrix, so that sums of one term are to be told
    from others: they are exact.
    """

    p: int
    kappa: float
    format: DType
    u: float
    u_acc: float
    underflow: float
    underflow_acc: float
    selects: bool = False

    def times(self, n: int) -> float:
        """What n independent errors of size 1 come to: n**(1/p)."""
        return float(n) ** (1 / self.p)

    def add(self, *errors: Array | None) -> Array | None:
        """Errors of one sum, added; None stands for an exact term."""
        present = [error for error in errors if error is not None]
        if not present:
            return None
        return reduce(self.both, present)

    def both(self, a: Array, b: Array) -> Array:
        """Two errors of one sum, added."""
        return a + b if self.p == 1 else np.hypot(a, b)

    def accumulation(self, n: int) -> float:
        """The factor on the terms of a sum of n products: gamma_n for the bound, sqrt(n) u for the deviation."""
        return n * self.u_acc / (1 - n * self.u_acc) if self.p == 1 else float(n) ** 0.5 * self.u_acc

    def product(self, a: Array, b: Array) -> Array:
        """(sum_j a_ij**p b_jk**p)**(1/p) for nonnegative a, b."""
        if self.p == 1:
            return a @ b
        if not a.shape[-1] or min(_smallest(a), _smallest(b)) >= _SQUARES_UNDERFLOW:
            return np.sqrt(np.square(a) @ np.square(b))
        # Squares below 1e-308 vanish: rows and columns are scaled to 1. What is still lost, where the large entries
        # of a row meet the small ones of a column, is made up for by the root of a sum of n squares being at least
        # the sum over sqrt(n).
        row, column = (np.where(most > 0, most, 1.0) for most in (a.max(-1, keepdims=True), b.max(-2, keepdims=True)))
        root = np.sqrt(np.square(a / row) @ np.square(b / column)) * row * column
        return np.maximum(root, (a @ b) / a.shape[-1] ** 0.5)


def _smallest(a: Array) -> float:
    return float(np.min(a, where=a > 0, initial=np.inf))


def deviation(dtype: DType, gradual: bool = False, selects: bool = False) -> Reading:
    """The reading with p = 2: errors are standard deviations, and a verdict is given at `SIGMAS` of them.

    `gradual` holds the format to gradual underflow, as IEEE 754 has it; otherwise what falls below the normal range may
    be flushed to zero. `selects` is as in `Reading`.
    """
    return _reading(2, SIGMAS, dtype, gradual, selects)


def bound(dtype: DType, gradual: bool = False, selects: bool = False) -> Reading:
    """The reading with p = 1: errors are worst-case bounds; arguments as of `deviation`."""
    return _reading(1, 1.0, dtype, gradual, selects)


def _reading(p: int, kappa: float, dtype: DType, gradual: bool, selects: bool) -> Reading:
    inside = DTYPES["f32"] if dtype.is_narrow else dtype
    # Some compilers flush subnormal results to zero (XLA on CPU does, in every format).
    underflow, underflow_acc = (max(f.subnormal / 2, ORACLE_QUANTUM) if gradual else f.tiny for f in (dtype, inside))
    return Reading(p, kappa, dtype, dtype.u + ORACLE_U, dtype.u_acc + ORACLE_U, underflow, underflow_acc, selects)


@dataclass(frozen=True)
class Estimate:
    """A value, its error (a bound or a standard deviation, by the reading) and its jump; None means none. One shape.

    `once` says that the error is that of one rounding, u times the value: a product then need not carry it by itself.
    """

    value: Array
    error: Array | None = None
    jump: Array | None = None
    once: bool = False

    def tolerance(self, reading: Reading) -> Array:
        """The largest departure that is not a finding: kappa errors, plus the jump."""
        total = np.zeros_like(self.value) if self.error is None else reading.kappa * self.error
        return total if self.jump is None else total + self.jump
