"""Frameworks whose rule is right and whose activations are computed by poor formulas, for `kterm ulp` to find."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, Activation, Array, Bias, Parameters, Structure

Function = Callable[[Array], Array]


class Formulas(Numpy):
    """The reference's formulas, in all four dtypes, with those in `f` and `slope` instead of its own."""

    name = "formulas"
    dtypes: tuple[str, ...] = ("f64", "f32", "bf16", "f16")
    biases: tuple[Bias, ...] = ("none",)
    f: ClassVar[dict[str, Function]] = {}
    slope: ClassVar[dict[str, Function]] = {}
    shows = True

    def row(self, name: str) -> Activation:
        row = ACTIVATIONS[name]
        return replace(row, function=self.f.get(name, row.function), slope=self.slope.get(name, row.slope))

    def product(self, a: Array, b: Array) -> Array:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        rows = [self.row(name) for name in structure.network.activations]

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                xs, zs = [x], []
                for row, weight in zip(rows, parameters.weights, strict=True):
                    zs.append(self.product(xs[-1], weight))
                    xs.append(row.f(zs[-1]))
                s, ks = xs[-1] - y, []
                for row, z, weight in reversed(list(zip(rows, zs, parameters.weights, strict=True))):
                    ks.insert(0, s * row.derivative(z))
                    s = self.product(ks[0], weight.T)
                gradients = tuple(self.product(a.T, k) for a, k in zip(xs, ks, strict=False))
                error = np.asarray(np.square(xs[-1] - y).sum() / 2, x.dtype)
            shown = (tuple(zs), tuple(xs[1:]), tuple(ks)) if self.shows else (None, None, None)
            return Observation(xs[-1], error, gradients, (), *shown)

        return program


class Silent(Formulas):
    """Sound, and shows gradients alone."""

    shows = False


def _without(*names: str) -> dict[str, Callable[..., Array]]:
    return {name: function for name, function in Numpy.activations.items() if name not in names}


class NoIdentity(Formulas):
    """Sound, without an identity for the second layer."""

    activations = _without("identity")


class SilentNoIdentity(NoIdentity):
    """Sound; neither shows k nor has an identity."""

    shows = False


class HalfTanh(Formulas):
    """tanh' as 1 - tanh**2, with tanh in half precision."""

    slope: ClassVar[dict[str, Function]] = {
        "tanh": lambda z: 1 - np.square(np.tanh(z.astype(np.float16)).astype(z.dtype)),
    }


class SilentHalfTanh(HalfTanh):
    """The same, with gradients alone."""

    shows = False


class Overflowing(Formulas):
    """NaN where an exponential overflows, infinity where a square does."""

    f: ClassVar[dict[str, Function]] = {
        "sigmoid": lambda z: np.exp(z) / (1 + np.exp(z)),
        "squareplus": lambda z: (z + np.sqrt(z * z + z.dtype.type(2))) / 2,
    }
    slope: ClassVar[dict[str, Function]] = {"tanh": lambda z: np.exp(2 * z) / np.square(np.exp(2 * z) + 1) * 4}


class SilentOverflowing(Overflowing):
    """The same, with gradients alone, whose sums one NaN spoils."""

    shows = False


class WrongFarOut(Formulas):
    """softplus is z, and softplus' 1, from 20 on; as in PyTorch."""

    f: ClassVar[dict[str, Function]] = {"softplus": lambda z: np.where(z > 20, z, ACTIVATIONS["softplus"].f(z))}
    slope: ClassVar[dict[str, Function]] = {
        "softplus": lambda z: np.where(z > 20, 1, ACTIVATIONS["softplus"].derivative(z))
    }


class OddAtKinks(Formulas):
    """Values between the one-sided derivatives at the kinks of relu and leaky_relu, and outside of them at relu6's."""

    slope: ClassVar[dict[str, Function]] = {
        "relu": lambda z: np.where(z == 0, 0.3, z > 0).astype(z.dtype),
        "leaky_relu": lambda z: np.where(z == 0, 0.7, np.where(z > 0, 1, 0.125)).astype(z.dtype),
        "relu6": lambda z: np.where(z == 6, 1.25, (z > 0) & (z < 6)).astype(z.dtype),
    }


class Flushing(Formulas):
    """Numbers below the normal range are zero: arguments, and results."""

    @staticmethod
    def flushed(a: Array) -> Array:
        return np.where(np.abs(a) < np.finfo(a.dtype).smallest_normal, 0, a).astype(a.dtype)

    def row(self, name: str) -> Activation:
        row = ACTIVATIONS[name]
        return replace(
            row,
            function=lambda z: self.flushed(row.function(self.flushed(z))),
            slope=lambda z: self.flushed(row.slope(self.flushed(z))),
        )


class RoundedProducts(Formulas):
    """Products whose factors are rounded to fewer digits, as TF32 does."""

    def product(self, a: Array, b: Array) -> Array:
        return super().product(a.astype(np.float16), b.astype(np.float16)).astype(a.dtype)


class Troubled(Formulas):
    """Lacks one activation, raises in another, and gives a third in another dtype."""

    f: ClassVar[dict[str, Function]] = {"elu": lambda z: 1 / 0 * z}

    def build(self, structure: Structure) -> Program:
        if "celu" in structure.network.activations:
            raise NotImplementedError("celu is not there yet")
        program = super().build(structure)
        if "selu" not in structure.network.activations:
            return program

        def wide(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed = program(parameters, x, y)
            return replace(observed, outputs=observed.outputs.astype(np.float64))

        return wide
