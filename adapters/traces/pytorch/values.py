"""The values of tensors as arrays, copied when they are seen, each tensor once."""

import math
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from ....reference import Array
from ..manifest import DTypeName
from ..trace import TraceBuilder

DTYPES: Mapping[torch.dtype, DTypeName] = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
}
_INDICES = (torch.int64, torch.int32)
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def why_not(tensor: Tensor, *, indices: bool = False) -> str:
    """Why the values of a tensor cannot be captured, or "" if they can."""
    kind = type(tensor)
    if kind is not Tensor and kind is not torch.nn.Parameter:
        return f"a {kind.__name__}"
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return "a sparse tensor"
    if tensor.is_meta:
        return "a tensor without values, on the device meta"
    if tensor.dtype not in (_INDICES if indices else DTYPES):
        return f"a tensor of {tensor.dtype}"
    return "" if tensor.numel() else "an empty tensor"


def copy_values(tensor: Tensor) -> Array:
    """Copy a tensor into a new NumPy array with the same bits."""
    here = tensor.detach().resolve_neg()
    here = here.clone(memory_format=torch.contiguous_format) if here.device.type == "cpu" else here.cpu().contiguous()
    if here.dtype == torch.bfloat16:
        return here.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return here.numpy()


def _has_values(tensor: Tensor, array: Array) -> bool:
    """Whether a tensor has the bits of an array."""
    if tuple(tensor.shape) != array.shape or DTYPES.get(tensor.dtype) is None:
        return False
    size = array.dtype.itemsize
    bits = torch.from_numpy(array.view(np.dtype(f"i{size}")))
    return torch.equal(tensor.detach().cpu().contiguous().view(_BITS[size]), bits)


@dataclass(eq=False)
class Value:
    """An array, until it is written, and its name in the step that it was put into."""

    array: Array | None
    name: str = ""
    step: int = -1

    @property
    def bytes(self) -> int:
        """The bytes of the array, if it is here."""
        return 0 if self.array is None else self.array.nbytes


class Values:
    """Makes values of tensors, and puts them into a trace."""

    def __init__(self, builder: TraceBuilder, *, streams: bool) -> None:
        self._builder, self._streams = builder, streams
        self._of_tensor: dict[tuple[int, int], tuple[weakref.ref[Tensor], int, Value]] = {}
        self._parameters: dict[int, tuple[Tensor, Value]] = {}
        self._recent: deque[tuple[Array, Value]] = deque(maxlen=2)
        self._pending: weakref.WeakSet[Value] = weakref.WeakSet()

    @property
    def bytes(self) -> int:
        """The bytes that are held here and not by the trace."""
        held = {id(one): one for one in (*self._pending, *(value for _, value in self._parameters.values()))}
        waiting = sum(one.bytes for one in held.values() if self._streams or one.step < 0)
        return waiting + (sum(array.nbytes for array, _ in self._recent) if self._streams else 0)

    def of_rows(self, tensor: Tensor, features: int = 1) -> Value:
        """The value of a tensor with its leading axes flattened, and its last `features` axes. It is the same as before
        if this tensor was seen and nothing wrote to it.
        """
        key, version = (id(tensor), features), tensor._version
        if (known := self._of_tensor.get(key)) is not None and known[0]() is tensor and known[1] == version:
            return known[2]
        value = Value(_to_rows(copy_values(tensor), features))
        self._pending.add(value)
        self._of_tensor[key] = (weakref.ref(tensor, lambda _: self._forget(key, value)), version, value)
        return value

    def of_lookup(self, indices: Tensor, output: Tensor, padding: int | None) -> tuple[Value, Value, Array | None]:
        """The indices (N,) and the output (N, outputs) of a lookup, and which rows are left: a row for `padding` gets
        no gradient. The last is None if all are left.
        """
        chosen, rows = copy_values(indices).reshape(-1), _to_rows(copy_values(output))
        left = None if padding is None else chosen != padding
        if left is None or left.all():
            made = Value(chosen), Value(rows), None
        else:
            made = Value(chosen[left]), Value(rows[left]), left
        self._pending.update(made[:2])
        return made

    def _forget(self, key: tuple[int, int], value: Value) -> None:
        if (known := self._of_tensor.get(key)) is not None and known[2] is value:
            del self._of_tensor[key]

    def of_parameter(self, tensor: Tensor) -> Value:
        """The value of a weight or a bias, copied anew only when its contents are others than when it was last seen.
        Contents are compared, since changes through `.data` leave no other mark.
        """
        known = self._parameters.get(id(tensor))
        if known is not None and known[1].array is not None and _has_values(tensor, known[1].array):
            return known[1]
        value = Value(copy_values(tensor))
        self._parameters[id(tensor)] = (tensor, value)
        return value

    def has_changed(self, tensor: Tensor, value: Value) -> bool:
        """Whether a parameter has other contents than a value of it."""
        return value.array is None or not _has_values(tensor, value.array)

    def put(self, value: Value, name: str, *, is_parameter: bool = False, shape: tuple[int, ...] | None = None) -> str:
        """Put a value into the open step, once, in this shape, if one is given. Returns its name there, or "" if it was
        written in an earlier step.
        """
        step = self._builder.step
        if value.step == step:
            return value.name
        if value.array is None:
            return ""
        array = value.array if shape is None else value.array.reshape(shape)
        value.name, value.step = self._builder.put(name, array), step
        if self._streams and not is_parameter:
            value.array = None
        return value.name

    def put_gradient(self, gradient: Tensor, name: str, rows: Array | None = None, *, features: int = 1) -> str:
        """Put a gradient into the open step. One with the bits of one of the last two is that one: the gradient by an
        activation's output is often that by the input of the next layer.
        """
        array = _to_rows(copy_values(gradient), features)
        if rows is not None:
            array = array[rows]
        for known, value in self._recent:
            if value.step == self._builder.step and same_bits(known, array):
                return value.name
        value = Value(array)
        put = self.put(value, name)
        self._recent.append((array, value))
        return put

    def end_step(self) -> None:
        """Keep no gradient of the step that ended."""
        self._recent.clear()

    def clear(self) -> None:
        """Keep nothing."""
        self._of_tensor.clear()
        self._parameters.clear()
        self._recent.clear()


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bits."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    bits: Any = np.dtype(f"i{one.dtype.itemsize}")
    return bool(np.array_equal(one.view(bits), other.view(bits)))


def _to_rows(array: Array, features: int = 1) -> Array:
    return array.reshape(-1, math.prod(array.shape[-features:])) if array.ndim else array.reshape(1, 1)
