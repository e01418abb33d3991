"""Ports whose rule is right and whose formulas are coarse for some z: the errors are tiny beside their tensors.

They are loaded by the path of this file, so it imports nothing from its folder.
"""

import numpy as np

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure


class Coarse(Numpy):
    """The rule by hand, with formulas of its own for one activation."""

    factor = 1.0
    """On every f', to plant a mistake in the rule."""
    is_silent = False
    """Whether it shows outputs, error and gradients alone."""

    def build(self, structure: Structure) -> Program:
        """A program that computes the rule."""
        self.require(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                return self.answer(structure, parameters, x, y)

        return program

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        """What the port answers."""
        network, zs, xs = structure.network, [], [x]
        for i, name in enumerate(network.activations):
            z = xs[-1] @ parameters.weights[i]
            zs.append(z + parameters.biases[i] if network.bias == "pre" else z)
            out = self.f(name, zs[-1])
            xs.append(out + parameters.biases[i] if network.bias == "post" else out)
        sides, ks = [xs[-1] - y], []
        for i in reversed(range(network.depth)):
            ks.insert(0, sides[0] * self.slope(network.activations[i], zs[i]) * x.dtype.type(self.factor))
            if i:
                sides.insert(0, ks[0] @ parameters.weights[i].T)
        gradients = tuple(xs[i].T @ k for i, k in enumerate(ks))
        biases = () if network.bias == "none" else tuple(a.sum(0) for a in (ks if network.bias == "pre" else sides))
        error = np.asarray(np.square(xs[-1] - y).sum() / 2)
        shown = {} if self.is_silent else {"z": tuple(zs), "x": tuple(xs[1:]), "k": tuple(ks)}
        return Observation(xs[-1], error, gradients, biases, **shown)

    def f(self, name: str, z: Array) -> Array:
        """f(z)."""
        return ACTIVATIONS[name].f(z)

    def slope(self, name: str, z: Array) -> Array:
        """f'(z)."""
        return ACTIVATIONS[name].derivative(z)


class ClippedSilu(Coarse):
    """silu by a sigmoid whose argument is clipped at -20, so that it is 2e-9 at least."""

    name = "clipped-silu"
    activations = {name: Numpy.activations[name] for name in ("identity", "silu", "tanh")}  # noqa: RUF012
    max_structures = 24

    def f(self, name: str, z: Array) -> Array:
        """f(z)."""
        return z * self._sigmoid(z) if name == "silu" else super().f(name, z)

    def slope(self, name: str, z: Array) -> Array:
        """f'(z)."""
        s = self._sigmoid(z)
        return s + z * s * (1 - s) if name == "silu" else super().slope(name, z)

    @staticmethod
    def _sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-np.maximum(z, -20)))


class FlatSoftplus(Coarse):
    """softplus is 0 below -17."""

    name = "flat-softplus"
    activations = {name: Numpy.activations[name] for name in ("identity", "softplus", "tanh")}  # noqa: RUF012
    max_structures = 24

    def f(self, name: str, z: Array) -> Array:
        """f(z)."""
        values = super().f(name, z)
        return np.where(z < -17, 0, values) if name == "softplus" else values


class SubtractingElu(Coarse):
    """elu by exp(z) - 1, which cancels near 0."""

    name = "subtracting-elu"
    activations = {name: Numpy.activations[name] for name in ("identity", "elu", "tanh")}  # noqa: RUF012
    max_structures = 24

    def f(self, name: str, z: Array) -> Array:
        """f(z)."""
        return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1) if name == "elu" else super().f(name, z)
