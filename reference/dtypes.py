"""The floating-point formats under test, and their unit roundoffs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

try:
    import ml_dtypes
except ImportError:  # the environment of an adapter without 16-bit dtypes needs NumPy alone
    ml_dtypes = None


@dataclass(frozen=True)
class DType:
    """A floating-point format.

    `name` is the short name used in case ids, such as "f32", and `numpy` the dtype of its arrays. `u` is the unit
    roundoff: half a unit in the last place of 1. `u_acc` is the unit roundoff of the accumulator inside a matrix
    product.
    """

    name: str
    numpy: np.dtype
    u: float
    u_acc: float

    @property
    def is_narrow(self) -> bool:
        """Whether products are accumulated in a wider type than results are stored in."""
        return self.u_acc < self.u

    @cached_property
    def tiny(self) -> float:
        """The smallest positive normal number."""
        return float(_finfo(self.numpy).smallest_normal)

    @cached_property
    def subnormal(self) -> float:
        """The smallest positive number."""
        return float(_finfo(self.numpy).smallest_subnormal)

    @cached_property
    def max(self) -> float:
        """The largest finite number."""
        return float(_finfo(self.numpy).max)


def _finfo(dtype: np.dtype) -> Any:
    return np.finfo(dtype) if ml_dtypes is None else ml_dtypes.finfo(dtype)


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        DType("f64", np.dtype(np.float64), 2.0**-53, 2.0**-53),
        DType("f32", np.dtype(np.float32), 2.0**-24, 2.0**-24),
        *([] if ml_dtypes is None else [DType("bf16", np.dtype(ml_dtypes.bfloat16), 2.0**-8, 2.0**-24)]),
        DType("f16", np.dtype(np.float16), 2.0**-11, 2.0**-24),
    )
}
"""The formats by name. Without the package ml_dtypes, which the suite always has, there is no bf16."""
