"""Weight layouts: how a framework stores a dense layer's matrix, and the way to and from the canonical (in, out)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..reference import Array


@dataclass(frozen=True)
class WeightLayout:
    """A named pair of maps between the canonical (in, out) matrix and the framework's own array.

    `from_native(to_native(W))` must give `W` back, values and shape.
    """

    name: str
    to_native: Callable[[Array], Array]
    from_native: Callable[[Array], Array]


def _same(matrix: Array) -> Array:
    return matrix


def _transpose(matrix: Array) -> Array:
    # A contiguous matrix stays contiguous, so that no framework meets a transposed view that its user would not have
    # made; one that is strided on purpose keeps its strides.
    return np.ascontiguousarray(matrix.T) if matrix.flags.c_contiguous else matrix.T


IN_OUT = WeightLayout("(in, out)", _same, _same)
OUT_IN = WeightLayout("(out, in)", _transpose, _transpose)
