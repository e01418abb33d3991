"""How the arrays of a call lie in memory. This module needs NumPy alone: hosts of adapters use it."""

import zlib

import numpy as np

from ...reference import Array, Parameters

ODD = "odd"
"""The memory of regimes that present odd arrays: Fortran-ordered, non-contiguous, reversed or read-only, in turn."""


WAYS = 4
"""How many ways there are."""


def arrange(memory: str | None, parameters: Parameters, x: Array, y: Array) -> tuple[Parameters, Array, Array]:
    """Copies of the arrays of a call as `memory` says: None for plain copies, or ODD.

    Odd arrays are laid out in four ways in turn. The inputs say which way comes first, so that the same numbers always
    lie in memory in the same way.
    """
    ways = (_fortran, _gapped, _reversed, _read_only) if memory == ODD else (np.array,)
    every, first = (*parameters.weights, *parameters.biases, x, y), first_way(x) if memory == ODD else 0
    arranged = tuple(ways[(first + i) % len(ways)](array) for i, array in enumerate(every))
    depth = len(parameters.weights)
    return Parameters(arranged[:depth], arranged[depth:-2]), arranged[-2], arranged[-1]


def first_way(x: Array) -> int:
    """The number, from 0 to 3, of the way in which the first array of a call with the inputs `x` is laid out."""
    return zlib.crc32(np.ascontiguousarray(x).tobytes()) % WAYS


def _fortran(array: Array) -> Array:
    return np.array(array, order="F")


def _gapped(array: Array) -> Array:
    return np.repeat(array, 2, axis=-1)[..., ::2]


def _reversed(array: Array) -> Array:
    return array[..., ::-1].copy()[..., ::-1]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy
