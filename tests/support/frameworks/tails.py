"""Ports whose rule is right and whose formulas are coarse for some z: the errors are tiny beside their tensors.

They are loaded by the path of this file, so it imports nothing from its folder.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

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


def _logistic(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def _erf(z: Array) -> Array:
    return special.erf(z.astype(np.float64)).astype(z.dtype)  # SciPy has none in longdouble


def _normal_pdf(z: Array) -> Array:
    return np.exp(-z * z / 2) / z.dtype.type((2 * np.pi) ** 0.5)


def _gelu_tanh_slope(z: Array, slope_of_tanh: Callable[[Array], Array]) -> Array:
    root, cube = z.dtype.type((2 / np.pi) ** 0.5), z.dtype.type(0.044715)
    v = root * (z + cube * z * z * z)
    slope = z / 2 * slope_of_tanh(v) * root * (1 + 3 * cube * z * z)
    return (1 + np.tanh(v)) / 2 + np.where(np.isnan(slope), 0, slope)


SLOPES: Mapping[str, tuple[str, Callable[[Array], Array]]] = {
    "1-t2": ("tanh", lambda z: 1 - np.tanh(z) ** 2),
    "(1-t)(1+t)": ("tanh", lambda z: (1 - np.tanh(z)) * (1 + np.tanh(z))),
    "sech": ("tanh", lambda z: 1 / np.cosh(z) ** 2),
    "4s(1-s)": ("tanh", lambda z: 4 * _logistic(2 * z) * (1 - _logistic(2 * z))),
    "two-exponentials": ("tanh", lambda z: (2 / (np.exp(z) + np.exp(-z))) ** 2),
    "s(1-s)": ("sigmoid", lambda z: _logistic(z) * (1 - _logistic(z))),
    "s-s2": ("sigmoid", lambda z: _logistic(z) - _logistic(z) ** 2),
    "s(z)s(-z)": ("sigmoid", lambda z: _logistic(z) * _logistic(-z)),
    "quotient": ("softsign", lambda z: 1 / (1 + np.abs(z)) - np.abs(z) / (1 + np.abs(z)) ** 2),
    "1+erf": ("gelu", lambda z: (1 + _erf(z * z.dtype.type(0.5**0.5))) / 2 + z * _normal_pdf(z)),
    "1+tanh": ("gelu_tanh", lambda z: _gelu_tanh_slope(z, lambda v: 1 - np.tanh(v) ** 2)),
    "1+tanh, sech": ("gelu_tanh", lambda z: _gelu_tanh_slope(z, lambda v: 1 / np.cosh(v) ** 2)),  # as in MLX
    "1-(1-t2)": ("tanhshrink", lambda z: 1 - (1 - np.tanh(z) ** 2)),
    "t2": ("tanhshrink", lambda z: np.tanh(z) ** 2),
    "1+z/r": ("squareplus", lambda z: (1 + z / np.sqrt(z * z + z.dtype.type(2))) / 2),
}
"""Sound formulas of a slope: the activation, and the formula in the dtype of z. Some cancel in a tail, some do not."""


def slope_as(formula: str, wide: bool = False) -> type[Coarse]:
    """A port that computes one slope by a row of `SLOPES`, with `wide` in the next wider format."""
    about, slope = SLOPES[formula]

    class Port(Coarse):
        name = "slope-as"
        activations = {name: Numpy.activations[name] for name in ("identity", about)}  # noqa: RUF012

        def slope(self, name: str, z: Array) -> Array:
            if name != about:
                return super().slope(name, z)
            wider = z.dtype if not wide else np.float64 if z.dtype == np.float32 else np.longdouble
            return slope(z.astype(wider)).astype(z.dtype)

    return Port


def steep(activation: str, where: Callable[[Array], Array], factor: float) -> type[Coarse]:
    """A port without cancellation whose slope is wrong by a factor for some z."""

    class Steep(Coarse):
        name = "steep"
        activations = {name: Numpy.activations[name] for name in ("identity", activation)}  # noqa: RUF012

        def slope(self, name: str, z: Array) -> Array:
            right = super().slope(name, z)
            return np.where(where(z), right * z.dtype.type(factor), right) if name == activation else right

    return Steep
