"""The arithmetic of matrix products that a framework declares for a dtype, and what it loses.

For example, `Arithmetic(operands="tf32")` in f32 says that the factors of products are rounded to 11 bits, as tensor
cores do, and that sums are accumulated in f32 as usual. What is not declared is the usual arithmetic of the dtype.
`error_model` makes a `Reading` from it, and `rounding.product` adds the errors.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from .network import Array

Direction = Literal["nearest", "toward zero"]
Flushing = Literal["never", "always", "may"]


@dataclass(frozen=True)
class OperandFormat:
    """A format that factors of products are rounded to: the bits of its significand, and its smallest number."""

    bits: int
    smallest: float


OPERAND_FORMATS: Mapping[str, OperandFormat] = {
    "f32": OperandFormat(24, 2.0**-149),
    "tf32": OperandFormat(11, 2.0**-136),
    "f16": OperandFormat(11, 2.0**-24),
    "bf16": OperandFormat(8, 2.0**-133),
}
"""The formats of operands that can be declared. tf32 has the range of f32."""

ACCUMULATORS = ("f64", "f32", "f16", "bf16")
"""The formats of accumulators that can be declared."""


@dataclass(frozen=True)
class Arithmetic:
    """How a framework computes matrix products in one dtype. None stands for what is usual in the dtype.

    Each factor is rounded to `operands`, one of OPERAND_FORMATS, or to a sum of `terms` numbers of that format: bf16 in
    three terms is what some libraries call bf16x3. Of the products of terms, those of high order are kept: i + j <=
    terms + 1 for the i-th and the j-th term. `operand_rounding` is how a factor becomes a number of its format.

    Sums of products are accumulated in the format `accumulator`, and `rounding` is the direction of each addition. This
    is about matrix products only; sums over a batch and the error E are accumulated as is usual in the dtype.

    `flushing` says what happens to results below the normal range of products, sums and elementwise operations: never,
    always or maybe flushed to zero. None leaves it to the regime.
    """

    operands: str | None = None
    terms: int = 1
    accumulator: str | None = None
    rounding: Direction = "nearest"
    operand_rounding: Direction = "nearest"
    flushing: Flushing | None = None

    @property
    def cut(self) -> "Cut | None":
        """What factors of products lose; None if they lose nothing."""
        if self.operands is None:
            return None
        return Cut(OPERAND_FORMATS[self.operands], self.terms, self.operand_rounding == "toward zero")

    @property
    def is_usual(self) -> bool:
        """Whether products are computed as is usual in the dtype, so that sums of exact numbers are exact."""
        return self.operands is None and self.accumulator is None and self.rounding == "nearest"

    @property
    def is_one_sided(self) -> bool:
        """Whether errors of products are toward zero by declaration."""
        return "toward zero" in (self.rounding, self.operand_rounding if self.operands else "nearest")

    def to_json(self) -> dict[str, Any]:
        """The declaration in plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Cut:
    """Factors of products that are rounded to a sum of `terms` numbers of a format; `chops` says toward zero."""

    format: OperandFormat
    terms: int
    chops: bool

    @property
    def u(self) -> float:
        """The largest error of a factor that is rounded to nearest, relative to the factor: u**terms of the format."""
        return 2.0 ** -(self.format.bits * self.terms)

    def lost(self, a: Array, is_exact: Array | bool = True) -> Array:
        """The size of the largest rounding error of each entry of `a`, rounded to nearest; 0 for an entry that fits.
        Where `is_exact` is false, the entry itself is uncertain, and nothing is known to fit.
        """
        # A term below the normal range of its format loses digits, or all of them.
        size = self.u * np.abs(a) + self.format.smallest * (a != 0)
        return np.where(self.fits(a, self.terms) & is_exact, 0.0, size)

    def fits(self, a: Array, terms: int) -> Array:
        """Elementwise: whether the sum of `terms` numbers of the format, without gaps, represents an entry."""
        bits = min(self.format.bits * terms, 53)
        significand, _ = np.frexp(a)
        scaled = np.ldexp(significand, bits)
        large = np.abs(a) >= self.format.smallest * 2.0**bits
        return (a == 0) | ((scaled == np.rint(scaled)) & large)
