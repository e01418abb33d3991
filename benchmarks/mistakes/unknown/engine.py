"""A small framework, written as frameworks are: a class with a method for each step, forward and backward.

A mistake is a subclass that overrides one of the methods. The engine itself conforms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kterm.adapters import Adapter, Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class Engine:
    """Runs one structure. Layers are counted from 0; arrays are (batch, width), in the structure's dtype."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.names: Sequence[str] = structure.network.activations
        self.widths: Sequence[int] = structure.network.widths
        self.depth = structure.network.depth
        self.bias = structure.network.bias
        self.dtype = structure.format.numpy
        self.weights: list[Array] = []
        self.biases: list[Array] = []
        self.z: list[Array] = []
        self.x: list[Array] = []

    # Forward.

    def prepare(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The inputs and targets that are used."""
        return x, y

    def matmul(self, a: Array, b: Array) -> Array:
        """Every matrix product, of the forward and of the backward pass."""
        return a @ b

    def linear(self, i: int, x: Array, w: Array, b: Array | None) -> Array:
        """z of a layer; b is None unless the bias is added before the activation."""
        z = self.matmul(x, w)
        return z if b is None else z + b

    def f(self, name: str, z: Array) -> Array:
        """An activation."""
        return ACTIVATIONS[name].f(z)

    def activate(self, i: int, z: Array) -> Array:
        """The activation of a layer."""
        return self.f(self.names[i], z)

    def outer_bias(self, i: int, a: Array, b: Array) -> Array:
        """The bias that is added after the activation."""
        return a + b

    # The loss.

    def loss(self, out: Array, y: Array) -> Array:
        """E."""
        return np.asarray(np.square(out - y).sum() / 2).astype(self.dtype)

    def loss_gradient(self, out: Array, y: Array) -> Array:
        """dE/dx_n."""
        return out - y

    # Backward.

    def slope(self, name: str, z: Array) -> Array:
        """The derivative of an activation."""
        return ACTIVATIONS[name].derivative(z)

    def activate_backward(self, i: int, s: Array) -> Array:
        """k of a layer, from dE/dx."""
        return s * self.slope(self.names[i], self.z[i])

    def input_gradient(self, i: int, k: Array) -> Array:
        """dE/dx of the layer before."""
        return self.matmul(k, self.weights[i].T)

    def weight_gradient(self, i: int, k: Array) -> Array:
        """dE/dW of a layer."""
        return self.matmul(self.x[i].T, k)

    def bias_gradient(self, i: int, k: Array) -> Array:
        """dE/db of a layer, from k or, for a bias outside the activation, from dE/dx."""
        return k.sum(0)

    # What is made of the gradients.

    def finish(self, weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
        """The gradients that are given."""
        return weights, biases

    def forward(self, x: Array) -> Array:
        """The outputs; keeps z and x of each layer."""
        self.z, self.x = [], [x]
        for i in range(self.depth):
            z = self.linear(i, self.x[-1], self.weights[i], self.biases[i] if self.bias == "pre" else None)
            a = self.activate(i, z)
            if self.bias == "post":
                a = self.outer_bias(i, a, self.biases[i])
            self.z.append(z)
            self.x.append(a)
        return self.x[-1]

    def backward(self, s: Array) -> tuple[list[Array], list[Array], list[Array]]:
        """k and the gradients of weights and biases, a list each, from dE/dx_n."""
        ks, weights, biases = list[Array](), list[Array](), list[Array]()
        for i in reversed(range(self.depth)):
            k = self.activate_backward(i, s)
            ks.insert(0, k)
            weights.insert(0, self.weight_gradient(i, k))
            if self.bias != "none":
                biases.insert(0, self.bias_gradient(i, k if self.bias == "pre" else s))
            if i:
                s = self.input_gradient(i, k)
        return ks, weights, biases

    def load(self, parameters: Parameters) -> None:
        """Take the weights and biases of a call."""
        self.weights, self.biases = list(parameters.weights), list(parameters.biases)

    def run(self, parameters: Parameters, x: Array, y: Array) -> Observation:
        """One forward and backward pass."""
        self.load(parameters)
        x, y = self.prepare(x, y)
        out = self.forward(x)
        error = self.loss(out, y)
        ks, weights, biases = self.backward(self.loss_gradient(out, y))
        weights, biases = self.finish(weights, biases)
        return Observation(out, error, tuple(weights), tuple(biases), tuple(self.z), tuple(self.x[1:]), tuple(ks))


class Port(Adapter):
    """An engine as an adapter. Only gradients, outputs and E are given unless `shown`."""

    name = "port"
    version = "1"
    activations = Numpy.activations
    slopes_at_kinks = Numpy.slopes_at_kinks

    def __init__(
        self, engine: Callable[[Structure], Engine], shown: bool = True, dtypes: tuple[str, ...] = ("f64", "f32")
    ) -> None:
        super().__init__()
        self.engine, self.shown, self.dtypes = engine, shown, dtypes

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        engine = self.engine(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            # A framework copies what it is given into memory of its own, and rounds to its own format.
            own = Parameters(tuple(map(_own, parameters.weights)), tuple(map(_own, parameters.biases)))
            with np.errstate(all="ignore"):
                observed = engine.run(own, _own(x), _own(y))
            observed = cast(observed, structure.format.numpy)
            return observed if self.shown else gradients_alone(observed)

        return program


def _own(array: Array) -> Array:
    return np.array(array, order="C")


def cast(observed: Observation, dtype: np.dtype) -> Observation:
    """The same numbers in the dtype of the structure."""

    def each(arrays: Sequence[Array] | None) -> tuple[Array, ...] | None:
        return None if arrays is None else tuple(np.array(a, dtype) for a in arrays)

    with np.errstate(all="ignore"):
        return Observation(
            np.array(observed.outputs, dtype),
            np.array(observed.error, dtype),
            each(observed.weight_gradients) or (),
            each(observed.bias_gradients) or (),
            each(observed.z),
            each(observed.x),
            each(observed.k),
        )


def gradients_alone(observed: Observation) -> Observation:
    """The observation without z, x and k."""
    return replace(observed, z=None, x=None, k=None)


Function = Callable[[Array], Array]


class TableEngine(Engine):
    """The engine with some activations, or some of their derivatives, replaced by other functions of z."""

    def __init__(self, structure: Structure, f: Mapping[str, Function], slope: Mapping[str, Function]) -> None:
        super().__init__(structure)
        self.fs, self.slopes = f, slope

    def f(self, name: str, z: Array) -> Array:
        return self.fs[name](z) if name in self.fs else super().f(name, z)

    def slope(self, name: str, z: Array) -> Array:
        return self.slopes[name](z) if name in self.slopes else super().slope(name, z)
