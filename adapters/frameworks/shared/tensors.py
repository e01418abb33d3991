"""What adapters need around a framework's own calls: arrays in and out, and the loop over the layers.

Adapters import the types that they name from here too.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from ....reference import Array, Parameters, Structure
from ...base import Adapter, Function, Observation, Program
from ...layout import IN_OUT, OUT_IN
from ...limits import Limits

__all__ = [
    "IN_OUT",
    "OUT_IN",
    "Array",
    "Function",
    "Limits",
    "Structure",
    "TensorAdapter",
    "differentiate",
    "functions_of",
    "regroup",
]


def _copy(tensor: Any) -> Array:
    return np.array(tensor)


class TensorAdapter(Adapter):
    """An adapter of a framework with tensors of its own. A subclass implements `make_backpropagate`."""

    to_tensor: Callable[[Array], Any] = staticmethod(np.asarray)
    """Gives a tensor with the numbers of an array, which is the program's own and contiguous."""
    x_order: Literal["C", "K"] = "C"
    """The order of x in memory. With "K", an x in Fortran order keeps it."""
    to_array: Callable[[Any], Array] = staticmethod(_copy)
    """Gives a new array with the numbers of a tensor."""

    @abstractmethod
    def make_backpropagate(self, structure: Structure) -> Function:
        """Make the function of (weights, biases, shifts, x, y), all tensors, that gives ((dE/dW, dE/db, k), (E, z, x)).

        Each is a tensor or a sequence with one for each layer; `biases` and dE/db are empty for a network without. The
        shifts are zeros of the shapes of z_1..z_n. Where the framework differentiates functions, they are added to
        z_i, and k_i is the gradient with respect to them. z, or k, is None where the framework does not show it.
        """

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        dtype, backpropagate = structure.format.numpy, self.make_backpropagate(structure)
        shapes = [(structure.batch, n) for n in structure.network.widths[1:]]

        def take(array: Array, order: Literal["C", "K"] = "C") -> Any:
            return self.to_tensor(np.array(array, order=order))

        def give(tensors: Iterable[Any] | None) -> Any:
            return None if tensors is None else tuple(map(self.to_array, tensors))

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights, biases = (list(map(take, some)) for some in (parameters.weights, parameters.biases))
            shifts = [self.to_tensor(np.zeros(shape, dtype)) for shape in shapes]
            answer = backpropagate(weights, biases, shifts, take(x, self.x_order), take(y))
            (by_weight, by_bias, k), (error, zs, xs) = answer
            outputs, E = give((xs[-1], error))
            return Observation(outputs, E, give(by_weight), give(by_bias), z=give(zs), x=give(xs), k=give(k))

        return program

    def make_forward(self, structure: Structure) -> Function:
        """Make the function of (layer, biases, x) that gives the lists (z_1..z_n, x_1..x_n).

        `layer(i, x)` gives z of the layer i, counted from 0, with its bias if the structure's is "pre". x_i is the
        activation of z_i, and with the bias "post" `biases[i]` is added to it.
        """
        functions, bias = self.functions(structure), structure.network.bias

        def forward(layer: Function, biases: Sequence[Any], x: Any) -> tuple[list[Any], list[Any]]:
            zs, xs, out = [], [], x
            for i, function in enumerate(functions):
                zs.append(layer(i, out))
                out = function(zs[-1]) + biases[i] if bias == "post" else function(zs[-1])
                xs.append(out)
            return zs, xs

        return forward


def functions_of(module: Any, names: str, **others: Function) -> dict[str, Function]:
    """Activations by canonical name: those of a module or class that have this name there too, in one text with blanks
    between, the others by keyword, and the identity.
    """
    return {"identity": lambda z: z, **{name: getattr(module, name) for name in names.split()}, **others}


def differentiate(gradients_of: Function, *groups: Sequence[Any]) -> list[list[Any]]:
    """The gradients with respect to groups of tensors, by a function that takes a flat list of them and gives one."""
    return regroup(gradients_of([one for group in groups for one in group]), *groups)


def regroup(flat: Sequence[Any], *groups: Sequence[Any]) -> list[list[Any]]:
    """Cut a flat sequence into lists that are as long as the groups, in their order."""
    rest = iter(flat)
    return [[next(rest) for _ in group] for group in groups]
