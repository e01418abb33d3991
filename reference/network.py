"""Networks, parameters and structures as validated plain data."""

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

    `widths` is (n_0, ..., n_n). `activations` has one name for each layer; the names are the keys of `ACTIVATIONS`.
    `bias` is the bias placement: "none", "pre" (added before the activation, as every framework's dense layer does) or
    "post" (added after it).

    Raises ValueError, naming the argument, if a width is not an integer of at least 0, there is no layer, a name is
    unknown, or there is not one activation for each layer.
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
            if not isinstance(width, int | np.integer) or isinstance(width, bool) or width < 0:
                raise ValueError(f"widths: {self.widths} holds {width!r}; every width must be an integer of at least 0")
        if len(self.activations) != self.depth:
            raise ValueError(
                f"activations: {len(self.activations)} given for {self.depth} layers; give one name per layer"
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
    """Weights W_1..W_n, each (n_{i-1}, n_i), and biases b_1..b_n, each (n_i,). Bias placement "none" has no biases.

    All arrays have one floating-point dtype. They may have leading axes that broadcast: a stack of parameter sets for
    one network. `validate` checks them against a network.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "biases", tuple(self.biases))


@dataclass(frozen=True)
class Structure:
    """A network, a batch size and a dtype name: what a framework that compiles has to compile once.

    Raises ValueError, naming the argument, if `batch` is not an integer of at least 0 or `dtype` is not a key of
    `DTYPES`.
    """

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
    """Check that the arrays fit the network.

    `x` must be (..., B, n_0) and `y` (..., B, n_n). All arrays must have one floating-point dtype, and their leading
    axes must broadcast. Raises ValueError with the name of the first argument that does not fit, what it is and what it
    should be.
    """
    depth, widths = network.depth, network.widths
    if _fits_without_stack(network, parameters, x, y):
        return
    if len(parameters.weights) != depth:
        raise ValueError(f"weights: {len(parameters.weights)} given for {depth} layers; give one matrix per layer")
    biases_needed = 0 if network.bias == "none" else depth
    if len(parameters.biases) != biases_needed:
        raise ValueError(
            f"biases: {len(parameters.biases)} given where bias placement {network.bias!r} needs {biases_needed}"
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


def _fits_without_stack(network: Network, parameters: Parameters, x: Array, y: Array | None) -> bool:
    """Whether all shapes and dtypes fit and no array has leading axes: a fast check of the usual case."""
    widths, dtype = network.widths, x.dtype
    arrays = (*parameters.weights, *parameters.biases)
    expected: list[tuple[int, ...]] = list(pairwise(widths))
    if network.bias != "none":
        expected += [(n,) for n in widths[1:]]
    return (
        [a.shape for a in arrays] == expected
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
    """Check one array and return `stack`, the leading axes so far, broadcast with its own.

    Raises ValueError, naming the array, if its shape, dtype or leading axes do not fit.
    """
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
