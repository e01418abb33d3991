"""The fingerprint of an adapter's arithmetic: what the probes measure, as plain data."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...reference.arithmetic import OPERAND_FORMATS
from ..runners.runner import NoAnswer, Runner
from .directions import UNKNOWN
from .order import describe_order
from .probes import (
    BITS,
    NEXT,
    SPREAD,
    find_accumulation_direction,
    find_accumulator_bits,
    find_flushing,
    find_fusion,
    find_operand_bits,
    find_operand_direction,
    find_order,
    find_product_direction,
    find_store_direction,
    gapped,
)
from .products import Multiplier, make_multipliers
from .terms import find_terms


@dataclass(frozen=True)
class ProductArithmetic:
    """How one product is computed, in one dtype. What the probes do not determine is "unknown".

    `kind` is z (of z = x W), dE/dx (of k W^T) or dE/dW (of x^T k), and `batch` the number of rows of x.

    `operands` is the format that factors are rounded to, such as "tf32" or "bf16x3", or a number of bits that is none
    of these; `operand_rounding` is the direction, "exact" where nothing is lost. `accumulator` is the number of bits
    of a partial sum, and `inside` that of sums of neighbouring terms where it differs: these are added at once.
    `accumulation` and `store` are the directions in which partial sums and results are rounded. `products` says whether
    products are rounded before they are added: separate, fused (they are not) or exact (they need not be). `flushing`
    says which numbers below the normal range become 0: none, outputs, inputs or all. `order` says in a few words in
    which order 32 terms are added.
    """

    dtype: str
    kind: str
    batch: int
    operands: str = UNKNOWN
    operand_rounding: str = UNKNOWN
    accumulator: int | None = None
    inside: int | None = None
    accumulation: str = UNKNOWN
    products: str = UNKNOWN
    store: str = UNKNOWN
    flushing: str = UNKNOWN
    order: str = UNKNOWN

    @property
    def facts(self) -> tuple[object, ...]:
        """What is measured, without the product that it is measured of."""
        return tuple(asdict(replace(self, kind="", batch=0)).values())


@dataclass(frozen=True)
class Fingerprint:
    """What was measured of an adapter on one device. `missing` says in a line why a dtype has no measurements."""

    adapter: str
    version: str
    device: str
    measured: tuple[ProductArithmetic, ...]
    missing: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fingerprint in plain JSON types."""
        return {**asdict(self), "measured": [asdict(one) for one in self.measured], "missing": dict(self.missing)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Fingerprint":
        """The inverse of `to_json`."""
        measured = tuple(ProductArithmetic(**one) for one in data["measured"])
        return cls(data["adapter"], data["version"], data["device"], measured, tuple(data["missing"].items()))


def measure_arithmetic(runner: Runner, dtypes: Sequence[str] = ()) -> Fingerprint:
    """Measure the products of an adapter in each of its dtypes, or in those named. What an adapter does not answer is
    left out, and `missing` says why; nothing that it does raises here.
    """
    described = runner.describe()
    measured: list[ProductArithmetic] = []
    missing: dict[str, str] = {}
    for dtype in described.dtypes:
        if dtypes and dtype not in dtypes:
            continue
        if "identity" not in described.activations or "none" not in described.biases:
            missing[dtype] = "the probes need the activation identity and networks without biases"
            continue
        for build in make_multipliers(runner, dtype):
            try:
                measured += [measure_product(one) for one in build()]
            except NoAnswer as no:
                missing[dtype] = no.message
                if no.lost:
                    return Fingerprint(
                        described.name, described.version, described.device, tuple(measured), tuple(missing.items())
                    )
    return Fingerprint(described.name, described.version, described.device, tuple(measured), tuple(missing.items()))


def measure_product(one: Multiplier) -> ProductArithmetic:
    """Measure one product. Raises NoAnswer."""
    dtype, multiply = one.dtype, one.multiply
    own = BITS[dtype]
    found = find_operand_bits(multiply, dtype)
    if found is None:
        return ProductArithmetic(dtype, one.kind, one.batch)
    bits = found[0] if found[0] == found[1] else None
    operands, direction = _name_operands(multiply, dtype, found)
    rounded = UNKNOWN if bits is None else find_product_direction(multiply, dtype, bits)
    if bits == own and rounded == "several terms" and dtype == "f32":
        terms = find_terms(multiply)
        operands, direction = (f"{terms[0]}x{terms[1]}", "nearest") if terms else ("several terms", UNKNOWN)
    order = find_order(multiply, dtype)
    accumulator = find_accumulator_bits(multiply, dtype, SPREAD)
    inside = find_accumulator_bits(multiply, dtype, NEXT)
    return ProductArithmetic(
        dtype,
        one.kind,
        one.batch,
        operands,
        direction,
        accumulator,
        None if inside == accumulator else inside,
        UNKNOWN if accumulator is None else find_accumulation_direction(multiply, dtype, accumulator),
        UNKNOWN if bits is None else find_fusion(multiply, dtype, bits, accumulator, order),
        find_store_direction(multiply, dtype),
        find_flushing(multiply, dtype),
        describe_order(order),
    )


def _name_operands(multiply: Callable[..., Any], dtype: str, found: tuple[int, int]) -> tuple[str, str]:
    """The format of factors that keep `found` bits, and the direction in which they are rounded to it."""
    left, right = found
    own = BITS[dtype]
    if left != right:
        return f"{left} and {right} bits", UNKNOWN
    if left == own:
        return dtype, "exact"
    # Two numbers of one bit each, far apart, fit two terms.
    if find_operand_bits(multiply, dtype, gapped) != found:
        terms = find_terms(multiply) if dtype == "f32" else None
        return (f"{terms[0]}x{terms[1]}", "nearest") if terms else (f"{left} bits in several terms", UNKNOWN)
    names = [name for name, format_ in OPERAND_FORMATS.items() if format_.bits == left]
    if "tf32" in names and dtype == "f32":
        names = [_wide_or_narrow(multiply)]
    return names[0] if len(names) == 1 else f"{left} bits", find_operand_direction(multiply, left)


def _wide_or_narrow(multiply: Callable[..., Any]) -> str:
    """tf32 or f16, which have 11 bits each: f16 has no 2**40."""
    import numpy as np

    a, b = np.zeros(32), np.zeros((32, 1))
    a[0], b[0, 0] = 1.0, 2.0**40
    return "tf32" if multiply(a, b)[0] == 2.0**40 else "f16"
