"""Networks, their parameters and the structures a framework compiles: plain data, validated."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .dtypes import DTYPES, DType

Array = NDArray[Any]
Bias = Literal["none", "pre", "post"]
BIASES: tuple[Bias, ...] = get_args(Bias)


@dataclass(frozen=True)
class Network:
    """The static structure of a multilayer perceptron.

    `widths` is (n_0, ..., n_n), `activations` names one activation a layer (see `ACTIVATIONS`), and `bias` says where
    the bias is added: "none", "pre" (inside the activation, as every framework's dense layer does) or "post" (outside).

    Raises ValueError, naming the argument, for anything else.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    bias: Bias = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "activations", tuple(self.activations))
        if len(self.widths) < 2:
            raise ValueError(f"widths: {self.widths} has no layer; give at least an input and an output width")
        for width in self.widths:
            if not isinstance(width, int | np.integer) or isinstance(width, bool) or width < 1:
                raise ValueError(f"widths: {self.widths} holds {width!r}; every width must be an integer of at least 1")
        if len(self.activations) != self.depth:
            raise ValueError(
                f"activations: {len(self.activations)} given for {self.depth} layers; give one name a layer"
            )
        for name in self.activations:
            if name not in ACTIVATIONS:
                raise ValueError(f"activations: unknown {name!r}; known are {', '.join(ACTIVATIONS)}")
        if self.bias not in BIASES:
            raise ValueError(f"bias: {self.bias!r} should be one of {', '.join(BIASES)}")

    @property
    def depth(self) -> int:
        """The number of layers, n."""
        return len(self.widths) - 1


@dataclass(frozen=True)
class Parameters:
    """Weights `W_1..W_n`, each (n_{i-1}, n_i), and biases `b_1..b_n`, each (n_i,); none for placement "none".

    Every array may carry the same leading axes: a stack of parameter sets for one network.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "biases", tuple(self.biases))


@dataclass(frozen=True)
class Structure:
    """A network, a batch size and a dtype name: what a compiling framework compiles once."""

    network: Network
    batch: int
    dtype: str

    def __post_init__(self) -> None:
        if not isinstance(self.batch, int | np.integer) or isinstance(self.batch, bool) or self.batch < 0:
            raise ValueError(f"batch: {self.batch!r} should be an integer of at least 0")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: {self.dtype!r} should be one of {', '.join(DTYPES)}")

    @property
    def format(self) -> DType:
        """The floating-point format that `dtype` names."""
        return DTYPES[self.dtype]


def validate(network: Network, parameters: Parameters, x: Array, y: Array | None = None) -> None:
    """Raise ValueError, saying which argument has what and what it should have, unless all fit.

    `x` is (..., B, n_0) and `y` is (..., B, n_n). All are of one floating-point dtype, and leading axes broadcast.
    """
    depth, widths = network.depth, network.widths
    if _plainly_fits(network, parameters, x, y):
        return
    if len(parameters.weights) != depth:
        raise ValueError(f"weights: {len(parameters.weights)} given for {depth} layers; give one matrix a layer")
    biases_due = 0 if network.bias == "none" else depth
    if len(parameters.biases) != biases_due:
        raise ValueError(
            f"biases: {len(parameters.biases)} given where bias placement {network.bias!r} needs {biases_due}"
        )
    if x.ndim < 2 or x.shape[-1] != widths[0]:
        raise ValueError(f"x: has shape {x.shape}; it should be (batch, {widths[0]})")
    if x.dtype not in _FLOATING:
        raise ValueError(f"x: has dtype {x.dtype}; it should be a floating-point dtype")
    stack: tuple[int, ...] = ()
    for i, weight in enumerate(parameters.weights):
        stack = _expect(f"weights[{i}]", weight, widths[i : i + 2], x.dtype, stack)
    for i, bias in enumerate(parameters.biases):
        stack = _expect(f"biases[{i}]", bias, widths[i + 1 : i + 2], x.dtype, stack)
    stack = _expect("x", x, (x.shape[-2], widths[0]), x.dtype, stack)
    if y is not None:
        _expect("y", y, (x.shape[-2], widths[-1]), x.dtype, stack)


def _plainly_fits(network: Network, parameters: Parameters, x: Array, y: Array | None) -> bool:
    """Whether all shapes and dtypes are just what is due, without leading axes: the usual case, told at once."""
    widths, dtype = network.widths, x.dtype
    arrays = (*parameters.weights, *parameters.biases)
    due: list[tuple[int, ...]] = list(pairwise(widths))
    if network.bias != "none":
        due += [(n,) for n in widths[1:]]
    return (
        [a.shape for a in arrays] == due
        and x.ndim == 2
        and x.shape[1] == widths[0]
        and dtype in _FLOATING
        and all(a.dtype == dtype for a in arrays)
        and (y is None or (y.shape == (x.shape[0], widths[-1]) and y.dtype == dtype))
    )


_FLOATING = frozenset({*(dtype.numpy for dtype in DTYPES.values()), np.dtype(np.longdouble)})


def _expect(
    name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any], stack: tuple[int, ...]
) -> tuple[int, ...]:
    """The leading axes of this array and those before it, broadcast; or ValueError."""
    if array.shape[-len(shape) :] != shape:
        raise ValueError(f"{name}: has shape {array.shape}; it should be {shape}")
    if array.dtype != dtype:
        raise ValueError(f"{name}: has dtype {array.dtype}; it should be that of x, {dtype}")
    leading = array.shape[: -len(shape)]
    if leading in ((), stack):
        return stack
    try:
        return np.broadcast_shapes(leading, stack)
    except ValueError:
        raise ValueError(f"{name}: has leading axes {leading}; they should broadcast with {stack}") from None
