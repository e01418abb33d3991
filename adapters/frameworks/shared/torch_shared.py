"""What the PyTorch adapters share: arrays to tensors and back, the activation table, and what PyTorch offers here."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....reference import DTYPES, Array
from ....reference.arithmetic import Arithmetic
from ...layout import OUT_IN, WeightLayout
from ...scripts.script import Call
from .tensors import TensorAdapter

TORCH_DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def to_tensor(array: Array, device: str) -> Tensor:
    """A tensor with the bits of an array. On a CPU it shares the memory of the array, which nothing else may use."""
    if array.dtype == ml_dtypes.bfloat16:  # PyTorch cannot take bfloat16 from NumPy
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def to_array(tensor: Tensor) -> Array:
    """Copy a tensor into a new NumPy array with the same bits."""
    here = tensor.detach().cpu()
    if here.dtype == torch.bfloat16:
        return here.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return here.numpy().copy()


def to_arrays(tensors: Any) -> tuple[Array, ...]:
    """Copy each tensor into a NumPy array."""
    return tuple(to_array(tensor) for tensor in tensors)


def _squareplus(z: Tensor, b: float) -> Tensor:
    return (z + torch.sqrt(z * z + b)) / 2


ACTIVATIONS: Mapping[str, Call] = {
    "identity": Call(lambda z: z, expression="z"),
    "sigmoid": Call(torch.sigmoid, "torch.sigmoid"),
    "tanh": Call(torch.tanh, "torch.tanh"),
    "relu": Call(functional.relu, "F.relu"),
    "leaky_relu": Call(functional.leaky_relu, "F.leaky_relu", renamed={"slope": "negative_slope"}),
    "relu6": Call(functional.relu6, "F.relu6"),
    "hardtanh": Call(functional.hardtanh, "F.hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    "hard_sigmoid": Call(functional.hardsigmoid, "F.hardsigmoid"),
    "hard_swish": Call(functional.hardswish, "F.hardswish"),
    "elu": Call(functional.elu, "F.elu"),
    "selu": Call(functional.selu, "F.selu"),
    "celu": Call(functional.celu, "F.celu"),
    "softplus": Call(functional.softplus, "F.softplus", {"beta": 1.0, "threshold": 20.0}),
    "softsign": Call(functional.softsign, "F.softsign"),
    "silu": Call(functional.silu, "F.silu"),
    "gelu": Call(functional.gelu, "F.gelu", {"approximate": "none"}),
    "gelu_tanh": Call(functional.gelu, "F.gelu", {"approximate": "tanh"}),
    "mish": Call(functional.mish, "F.mish"),
    "log_sigmoid": Call(functional.logsigmoid, "F.logsigmoid"),
    "tanhshrink": Call(functional.tanhshrink, "F.tanhshrink"),
    "softshrink": Call(functional.softshrink, "F.softshrink", renamed={"threshold": "lambd"}),
    "hardshrink": Call(functional.hardshrink, "F.hardshrink", renamed={"threshold": "lambd"}),
    "squareplus": Call(_squareplus, expression="(z + torch.sqrt(z * z + b)) / 2"),
    "sin": Call(torch.sin, "torch.sin"),
}

SLOPES_AT_KINKS: Mapping[str, Mapping[float, float]] = {
    "relu": {0: 0},
    "leaky_relu": {0: 0.125},  # its slope
    "relu6": {0: 0, 6: 0},
    "hardtanh": {-1: 0, 1: 0},
    "hard_sigmoid": {-3: 0, 3: 0},
    "hard_swish": {-3: 0, 3: 1},
    "selu": {0: 1.7580993408473766},  # from the left: scale * alpha
    "softshrink": {-0.75: 0, 0.75: 0},
    "hardshrink": {-0.75: 0, 0.75: 0},
}
"""Every kink of every activation. PyTorch takes one slope at each, the same in all four dtypes."""


ON_CPU: Mapping[str, Arithmetic] = {
    **dict.fromkeys(("f64", "f32", "f16"), Arithmetic(flushing="never")),
    "bf16": Arithmetic(flushing="may"),  # its products flush
}
"""How products are computed on a CPU."""


class TorchAdapter(TensorAdapter):
    """What adapters declare whose numbers PyTorch computes. Constructing one sets PyTorch to one thread here."""

    version = str(torch.__version__)
    framework = "torch"
    framework_version = str(torch.__version__)
    weight_layout: WeightLayout = OUT_IN
    dtypes: tuple[str, ...] = tuple(DTYPES)
    activations = ACTIVATIONS
    slopes_at_kinks = SLOPES_AT_KINKS
    to_array = staticmethod(to_array)

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.to_tensor = partial(to_tensor, device=device)
        torch.set_num_threads(1)
        if device == "cpu":  # another device may round factors to tf32, as PyTorch's settings say
            self.arithmetic = ON_CPU
        if device == "mps":  # it has no float64
            self.dtypes = tuple(name for name in self.dtypes if name != "f64")

    def devices(self) -> tuple[str, ...]:
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ("cpu", *(["cuda", *cuda] if cuda else []), *(["mps"] if torch.backends.mps.is_available() else []))
