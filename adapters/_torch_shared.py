"""What the PyTorch adapters share: arrays to tensors and back, the activation table, and what PyTorch offers here."""

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..reference import DTYPES, Array
from .base import Adapter
from .layout import OUT_IN, WeightLayout

TORCH_DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def to_tensor(array: Array, device: str) -> Tensor:
    """A fresh, contiguous tensor with an array's very bits, whatever its strides and whether or not it is writable."""
    # from_numpy takes no negative strides, warns of read-only memory, and shares what it takes: it gets a copy.
    own = np.array(array, order="C")
    if own.dtype == ml_dtypes.bfloat16:  # which PyTorch cannot take from NumPy
        return torch.from_numpy(own.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(own).to(device)


def to_array(tensor: Tensor) -> Array:
    """A tensor's very bits in a NumPy array that shares no memory with it."""
    here = tensor.detach().cpu()
    if here.dtype == torch.bfloat16:
        return here.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return here.numpy().copy()


def to_arrays(tensors: Any) -> tuple[Array, ...]:
    """`to_array` of each."""
    return tuple(to_array(tensor) for tensor in tensors)


def _squareplus(z: Tensor, b: float) -> Tensor:
    return (z + torch.sqrt(z * z + b)) / 2


ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": lambda z, slope: functional.leaky_relu(z, negative_slope=slope),
    "relu6": functional.relu6,
    "hardtanh": lambda z: functional.hardtanh(z, min_val=-1.0, max_val=1.0),
    "hard_sigmoid": functional.hardsigmoid,
    "hard_swish": functional.hardswish,
    "elu": functional.elu,
    "selu": functional.selu,
    "celu": functional.celu,
    "softplus": lambda z: functional.softplus(z, beta=1.0, threshold=20.0),
    "softsign": functional.softsign,
    "silu": functional.silu,
    "gelu": lambda z: functional.gelu(z, approximate="none"),
    "gelu_tanh": lambda z: functional.gelu(z, approximate="tanh"),
    "mish": functional.mish,
    "log_sigmoid": functional.logsigmoid,
    "tanhshrink": functional.tanhshrink,
    "softshrink": lambda z, threshold: functional.softshrink(z, lambd=threshold),
    "hardshrink": lambda z, threshold: functional.hardshrink(z, lambd=threshold),
    "squareplus": _squareplus,
    "sin": torch.sin,
}


class TorchAdapter(Adapter):
    """What every PyTorch adapter declares. Constructing one sets PyTorch to one compute thread in this process."""

    weight_layout: WeightLayout = OUT_IN
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        torch.set_num_threads(1)
        if device == "mps":  # has no float64
            self.dtypes = tuple(name for name in self.dtypes if name != "f64")

    def devices(self) -> tuple[str, ...]:
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ("cpu", *(["cuda", *cuda] if cuda else []), *(["mps"] if torch.backends.mps.is_available() else []))

    @property
    def version(self) -> str:
        return str(torch.__version__)
