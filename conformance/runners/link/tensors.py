"""Arrays as messages, and back, on the suite's side."""

import sys
from itertools import pairwise

import numpy as np

from ....adapters import Observation
from ....reference import ACTIVATIONS, DTYPES, Array, Structure
from ..form import Foreign
from .messages import ActivationCall, Observed, StructureMessage, Tensor, Value
from .text import clean_line

_NAMES = {dtype.numpy: name for name, dtype in DTYPES.items()}
_SWAPS = sys.byteorder == "big"


class MalformedError(ValueError):
    """A tensor whose parts do not add up. The message is one line."""


def tensor_of(array: Array) -> Tensor:
    """An array in one of the four formats as a message."""
    data = np.array(array, order="C").byteswap() if _SWAPS else array
    return Tensor(_NAMES[array.dtype], array.shape, data.tobytes())


def array_of(value: Value, name: str = "") -> Array | Foreign:
    """The array of a message, on memory that cannot be written; a `Foreign` where there is none in a known format.
    Raises MalformedError, with the `name` of the tensor, where shape and data do not fit together.
    """
    if value is None:
        return Foreign("builtins.NoneType")
    if isinstance(value, str):
        return Foreign(clean_line(value, 80) or "value of an unnamed type")
    dtype = DTYPES.get(value.dtype)
    if dtype is None:
        # More than 64 axes are no shape of an array.
        return Foreign("numpy.ndarray", clean_line(value.dtype, 40) or "unnamed", value.shape[:64])
    entries = 1
    for length in value.shape:
        entries *= length
    if len(value.shape) > 32 or entries * dtype.numpy.itemsize != len(value.data):
        shape = clean_line(str(value.shape), 80)
        raise MalformedError(
            f"{name} has {len(value.data)} bytes of data; shape {shape} in {dtype.name} has "
            f"{_shown(entries * dtype.numpy.itemsize)}"
        )
    array = np.frombuffer(value.data, dtype.numpy).reshape(value.shape)
    return array.byteswap() if _SWAPS else array


def observation_of(message: Observed) -> Observation:
    """The observation that a message holds. Its arrays cannot be written, and some may be `Foreign`. Raises
    MalformedError.
    """

    def every(symbol: str, values: tuple[Value, ...] | None) -> tuple[Array, ...] | None:
        return None if values is None else tuple(_unchecked(v, f"{symbol}_{i}") for i, v in enumerate(values, 1))

    return Observation(
        _unchecked(message.outputs, "outputs"),
        _unchecked(message.error, "E"),
        every("dE/dW", message.weight_gradients) or (),
        every("dE/db", message.bias_gradients) or (),
        every("z", message.z),
        every("x", message.x),
        every("k", message.k),
    )


def structure_message(structure: Structure) -> StructureMessage:
    """A structure as a message, with the values of the parameters of its activations."""
    network = structure.network
    return StructureMessage(
        tuple(map(int, network.widths)),
        tuple(ActivationCall(name, dict(ACTIVATIONS[name].parameters)) for name in network.activations),
        network.bias,
        structure.dtype,
        int(structure.batch),
    )


def most_bytes(structure: Structure) -> int:
    """The longest reply to a call of a program: several times what its arrays take in float64, and a mebibyte."""
    widths = structure.network.widths
    weights = sum(n * m for n, m in pairwise(widths))
    return 2**20 + 64 * (weights + sum(widths) + 4 * structure.batch * sum(widths))


def _unchecked(value: Value, name: str) -> Array:
    # `examine_form` finds each Foreign, so that none reaches the checks.
    return array_of(value, name)  # pyright: ignore[reportReturnType]


def _shown(count: int) -> str:
    return str(count) if count < 10**15 else "more than can be sent"
