"""The error model behind every tolerance: a value with its error, and the two ways to read and add errors.

`bound` reads errors as worst cases, `deviation` as standard deviations. Both give a `Reading`, and the steps in
`rounding.py` run the same code for either. All computation is in float64, whatever format is under test. The oracle's
own rounding errors have the same form with u = 2**-53 and add to the framework's, so its unit roundoff is added to
that of the format.
"""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from .arithmetic import Arithmetic, Cut
from .dtypes import DTYPES, DType
from .network import Array

SIGMAS = 10.0
"""λ: a departure of more than this many standard deviations is a finding."""

ORACLE_U = DTYPES["f64"].u
NARROW_U = DTYPES["f16"].u
ORACLE_QUANTUM = DTYPES["f64"].subnormal
_SQUARES_UNDERFLOW = 1e-75
_NARROW_RANGE = 2.0**-100


@dataclass(frozen=True)
class Reading:
    """How errors are read and added in one floating-point format.

    Errors add as the p-th root of a sum of p-th powers: `p` is 1 for bounds and 2 for standard deviations. A tolerance
    is `kappa` errors, and the slope of an activation is examined within `kappa` errors of z. `u` and `u_acc` are the
    unit roundoffs of the format and of the accumulator inside a product, each plus that of the oracle. `underflow` and
    `underflow_acc` are the largest absolute errors of one operation whose result is below the normal range, in the
    format and in the accumulator; `underflow_f` is that of an activation or its derivative. With `selects`, rows of x_0
    select rows of a matrix; sums of one term and additions that round nothing are then recognised, and have no error.

    `cut` says what factors of matrix products lose, and `chops` that sums of products are rounded toward zero. `plain`
    is the reading of sums that are no matrix products, where it differs.
    """

    p: int
    kappa: float
    format: DType
    u: float
    u_acc: float
    underflow: float
    underflow_acc: float
    underflow_f: float
    selects: bool = False
    cut: Cut | None = None
    chops: bool = False
    plain: "Reading | None" = None

    @property
    def is_wide(self) -> bool:
        """Whether results of matrix products are rounded from a wider accumulator."""
        return self.u_acc < self.u

    @property
    def of_sums(self) -> "Reading":
        """The reading of sums that are no matrix products."""
        return self.plain or self

    @property
    def exact(self) -> "Reading":
        """The reading of numbers that nothing rounds."""
        return replace(
            self, u=0.0, u_acc=0.0, underflow=0.0, underflow_acc=0.0, underflow_f=0.0, cut=None, chops=False, plain=None
        )

    def times(self, n: int) -> float:
        """The sum of n errors of size 1: n**(1/p)."""
        return float(n) ** (1 / self.p)

    def add(self, *errors: Array | None) -> Array | None:
        """The error of a sum whose terms have these errors, where None stands for an exact term (or an exact sum)."""
        present = [error for error in errors if error is not None]
        if not present:
            return None
        return reduce(self.both, present)

    def both(self, a: Array, b: Array) -> Array:
        """The error of a sum of two terms with errors `a` and `b`, elementwise."""
        return a + b if self.p == 1 else np.hypot(a, b)

    def accumulation(self, n: int) -> float:
        """The error of a sum of n products, relative to `product` of its factors: gamma_n = n u / (1 - n u) for p = 1,
        and the share of its terms for p = 2, sqrt(1 + (n + 1)/3 - 4/(3n)) u. u is `u_acc`. A sum that chops has
        gamma_4n: it loses up to 2 u at each step, and n times more where terms are aligned before they are added.
        """
        if self.p == 1:
            total = (4 * n if self.chops else n) * self.u_acc
            # (1 + u)**n - 1 has no pole, for accumulators so narrow that n u reaches 1.
            return total / (1 - total) if total < 0.5 else float(np.expm1(total))
        return (1 + (n + 1) / 3 - 4 / (3 * n)) ** 0.5 * self.u_acc if n else 0.0

    def partial_sums(self, n: int) -> float:
        """The error of a sum of n products, relative to its result: 0 for p = 1, where `accumulation` covers every
        partial sum, and sqrt((n + 1)/3) u for p = 2, where partial sums may rise evenly to the result.
        """
        return 0.0 if self.p == 1 else ((n + 1) / 3) ** 0.5 * self.u_acc

    def sums(self, size: Array, value: Array, n: int, rounded: float = 0.0) -> Array:
        """The error of sums of n products with these results, in any order of their terms, where `size` is `product` of
        the factors. `rounded` is an error of each product, relative to it.
        """
        of_terms = float(np.power(self.accumulation(n) ** self.p + rounded**self.p, 1 / self.p)) * size
        return of_terms if self.p == 1 else self.both(of_terms, self.partial_sums(n) * np.abs(value))

    def one_sided(self, value: Array, n: int) -> Array | None:
        """What sums of n terms in a narrow accumulator, f16 or bf16, may lose to one side beside their error, for
        p = 2; None for wider ones.

        A term of less than u times the partial sum is lost whole, and every later one with it: these errors are not
        independent. If partial sums rise evenly to the result z, all errors together are at most n u |z| / 2.
        """
        return None if self.p == 1 or self.u_acc < NARROW_U else n * self.u_acc * np.abs(value) / 2

    def bias_first(self, before: Array | None, bias: Array, value: Array, n: int) -> Array:
        """What the error of a sum of n products is larger by if the sum starts at a bias and ends at `value`, instead
        of ending with the bias. `before` is the error of the sum without the bias.
        """
        if self.p == 1:
            # Each product takes part in one addition more, and the bias in all of them.
            own = self.accumulation(n) * np.abs(bias)
            return np.broadcast_to(own, value.shape) if before is None else own + before / n
        return self.u_acc * np.sqrt(n * np.maximum(bias * value, 0.0))

    def norm(self, a: Array, axis: int) -> Array:
        """(sum a**p)**(1/p) of nonnegative numbers along an axis, which is kept."""
        if self.p == 1:
            return a.sum(axis, keepdims=True)
        most = np.maximum(a.max(axis, keepdims=True, initial=0.0), _SQUARES_UNDERFLOW)
        return most * np.sqrt(np.square(a / most).sum(axis, keepdims=True))

    def product(self, a: Array, b: Array) -> Array:
        """(sum_j a_ij**p b_jk**p)**(1/p), for nonnegative `a` (..., m, n) and `b` (..., n, k)."""
        if self.p == 1:
            return a @ b
        if not a.shape[-1] or min(_smallest(a), _smallest(b)) >= _SQUARES_UNDERFLOW:
            return np.sqrt(np.square(a) @ np.square(b))
        # Squares below 1e-308 underflow, so each row and column is scaled to a maximum of 1. A square may still
        # underflow where a large entry of a row is multiplied by a small one of a column. The root of a sum of n
        # squares is at least the sum divided by sqrt(n), and that lower bound does not underflow.
        row, column = (np.where(most > 0, most, 1.0) for most in (a.max(-1, keepdims=True), b.max(-2, keepdims=True)))
        root = np.sqrt(np.square(a / row) @ np.square(b / column)) * row * column
        return np.maximum(root, (a @ b) / a.shape[-1] ** 0.5)

    def of_mean(self, n: int) -> "Reading":
        """The reading of a backward pass whose loss may be a mean of n terms, where gradients are scaled back to those
        of E at the end: what is lost below the normal range is scaled with them.

        In f16, whose range is narrow, this covers gradual underflow, and no flushing of such gradients to zero.
        """
        scale = max(1.0, n / 2)
        flushed = self.underflow >= self.format.tiny
        if flushed and self.format.tiny > _NARROW_RANGE:
            lost = max(self.underflow, scale * self.format.subnormal / 2)
        else:
            lost = scale * self.underflow
        return replace(self, underflow=lost, underflow_acc=scale * self.underflow_acc)


def _smallest(a: Array) -> float:
    return float(np.min(a, where=a > 0, initial=np.inf))


def deviation(
    dtype: DType, gradual: bool = False, selects: bool = False, arithmetic: Arithmetic | None = None
) -> Reading:
    """The reading with p = 2: errors are standard deviations, and a tolerance is `SIGMAS` of them.

    With `gradual`, results below the normal range must underflow gradually, as IEEE 754 requires; without it they may
    be flushed to zero. What `arithmetic` declares about flushing stands in place of it. `selects` is as in `Reading`.
    """
    return _reading(2, SIGMAS, dtype, gradual, selects, arithmetic or Arithmetic())


def bound(dtype: DType, gradual: bool = False, selects: bool = False, arithmetic: Arithmetic | None = None) -> Reading:
    """The reading with p = 1: errors are worst-case bounds. The arguments are those of `deviation`."""
    return _reading(1, 1.0, dtype, gradual, selects, arithmetic or Arithmetic())


def _reading(p: int, kappa: float, dtype: DType, gradual: bool, selects: bool, declared: Arithmetic) -> Reading:
    flushing = declared.flushing or ("never" if gradual else "may")
    inside = DTYPES["f32"] if dtype.is_narrow else dtype

    def loss(format_: DType, gradually: bool) -> float:
        # Some compilers flush subnormal results to zero (XLA on CPU does, in every format).
        return max(format_.subnormal / 2, ORACLE_QUANTUM) if gradually else format_.tiny

    # Exponentials in vector code flush, where additions and multiplications of the same framework do not.
    function = loss(dtype, gradual and flushing == "never")
    losses = loss(dtype, flushing == "never"), loss(inside, flushing == "never"), function
    plain = Reading(p, kappa, dtype, dtype.u + ORACLE_U, dtype.u_acc + ORACLE_U, *losses, selects)
    if declared.is_usual:
        return plain
    u_acc, underflow_acc = plain.u_acc, plain.underflow_acc
    if declared.accumulator is not None:
        wide = DTYPES[declared.accumulator]
        u_acc, underflow_acc = wide.u + ORACLE_U, loss(wide, flushing == "never")
    return replace(
        plain,
        u_acc=u_acc,
        underflow_acc=underflow_acc,
        cut=declared.cut,
        chops=declared.rounding == "toward zero",
        plain=plain,
    )


def without_nan(error: Array) -> Array:
    """Errors, infinite where they are NaN: an infinite error times 0, which says no more than the infinite one."""
    unknown = np.isnan(error)
    return np.where(unknown, np.inf, error) if unknown.any() else error


@dataclass(frozen=True)
class Estimate:
    """A value with its error and its jump: float64 arrays of one shape. For error and jump, None stands for zero.

    The error is a bound or a standard deviation, depending on the reading. The jump is the part that always adds
    linearly; see `rounding.py`. `once` says that the error is that of a single rounding, u times the value. A product
    then includes it in its own factor. For a sum of products, `terms` says how many; a bias may be one more of them.
    `again` is how far from `value` it may lie, beside its own rounding, if it is computed once more from the last sum
    of products, with other roundings on the way: see `as_shown`.
    """

    value: Array
    error: Array | None = None
    jump: Array | None = None
    once: bool = False
    terms: int = 0
    again: Array | None = None

    def tolerance(self, reading: Reading) -> Array:
        """The largest departure that is not a finding: kappa times the error, plus the jump. It is infinite where the
        error is not known: no distance is a finding there, and none has been checked.
        """
        total = np.zeros_like(self.value) if self.error is None else reading.kappa * self.error
        total = total if self.jump is None else total + self.jump
        return without_nan(total)
