"""Activation modules of PyTorch and of transformers by the names of the activation table."""

from collections.abc import Callable, Mapping

from torch import nn

from ....reference.activations import name_with

_Name = Callable[[nn.Module], str | None]


def _always(name: str) -> _Name:
    return lambda _: name


def _if(name: str, **needed: object) -> _Name:
    """The name, if the module has these attributes."""
    return lambda module: name if all(getattr(module, key, None) == value for key, value in needed.items()) else None


def _with(name: str, parameter: str, attribute: str) -> _Name:
    """The name with the value of a parameter, which the module has under another name."""

    def find(module: nn.Module) -> str | None:
        value = getattr(module, attribute, None)
        try:
            return name_with(name, {parameter: float(value)}) if isinstance(value, (int, float)) else None
        except ValueError:  # a value that the table has no row for
            return None

    return find


def _gelu(module: nn.Module) -> str | None:
    return {"none": "gelu", "tanh": "gelu_tanh"}.get(str(getattr(module, "approximate", "")))


_MODULES: Mapping[tuple[str, str], _Name] = {
    ("torch", "ReLU"): _always("relu"),
    ("torch", "ReLU6"): _always("relu6"),
    ("torch", "Hardtanh"): _if("hardtanh", min_val=-1.0, max_val=1.0),
    ("torch", "Hardsigmoid"): _always("hard_sigmoid"),
    ("torch", "Hardswish"): _always("hard_swish"),
    ("torch", "LeakyReLU"): _with("leaky_relu", "slope", "negative_slope"),
    ("torch", "ELU"): _with("elu", "alpha", "alpha"),
    ("torch", "SELU"): _always("selu"),
    ("torch", "CELU"): _with("celu", "alpha", "alpha"),
    ("torch", "Softplus"): _if("softplus", beta=1, threshold=20),
    ("torch", "Softsign"): _always("softsign"),
    ("torch", "SiLU"): _always("silu"),
    ("torch", "GELU"): _gelu,
    ("torch", "Mish"): _always("mish"),
    ("torch", "Tanh"): _always("tanh"),
    ("torch", "Sigmoid"): _always("sigmoid"),
    ("torch", "LogSigmoid"): _always("log_sigmoid"),
    ("torch", "Tanhshrink"): _always("tanhshrink"),
    ("torch", "Softshrink"): _with("softshrink", "threshold", "lambd"),
    ("torch", "Hardshrink"): _with("hardshrink", "threshold", "lambd"),
    ("transformers", "GELUActivation"): _always("gelu"),
    ("transformers", "NewGELUActivation"): _always("gelu_tanh"),
    ("transformers", "PytorchGELUTanh"): _always("gelu_tanh"),
    ("transformers", "GELUTanh"): _always("gelu_tanh"),
    ("transformers", "AccurateGELUActivation"): _always("gelu_tanh"),
    ("transformers", "SiLUActivation"): _always("silu"),
    ("transformers", "MishActivation"): _always("mish"),
}
"""How the name of an activation is found, by the root package and the name of the module's own class. Subclasses may
change what is computed, so they are not recognised. Nor is FastGELUActivation: its constant has ten digits.
"""


_SEVERAL = {
    ("torch", "Softsign"),
    ("torch", "Tanhshrink"),
    ("transformers", "AccurateGELUActivation"),
    ("transformers", "GELUTanh"),
    ("transformers", "NewGELUActivation"),
}
"""Those that are made of several operations on z."""


def may_read_several_times(module: nn.Module) -> bool:
    """Whether a module reads its input more than once: autograd then adds several gradients for it."""
    kind = type(module)
    return (kind.__module__.partition(".")[0], kind.__name__) in _SEVERAL


def name_activation(module: nn.Module) -> str | None:
    """The name of the activation that a module computes, or None if it is not one of the table."""
    kind = type(module)
    find = _MODULES.get((kind.__module__.partition(".")[0], kind.__name__))
    return None if find is None else find(module)
