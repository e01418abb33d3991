"""Frameworks with a mistake below one rounding: no entry of any case is off by more than its tolerance, and over a run
their errors have a direction.

Each computes the rule in float64 and rounds every result to the format of the structure in its own way, so that a whole
profile takes seconds.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.checks.whole_run.moments import Key, Sums, collect
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure

Store = Callable[[Array, np.dtype], Array]


def nearest(values: Array, dtype: np.dtype) -> Array:
    """Rounded to nearest."""
    return values.astype(dtype)


def toward_zero(values: Array, dtype: np.dtype) -> Array:
    """Truncated."""
    near = values.astype(dtype)
    return np.where(np.abs(near.astype(np.float64)) > np.abs(values), _neighbour(near, 0.0), near)


def downward(values: Array, dtype: np.dtype) -> Array:
    """Floored."""
    near = values.astype(dtype)
    return np.where(near.astype(np.float64) > values, _neighbour(near, -np.inf), near)


def _neighbour(values: Array, toward: float) -> Array:
    return np.nextafter(values, np.full_like(values, toward))


def raised(values: Array, dtype: np.dtype) -> Array:
    """0.3 units in the last place too far from zero, before it is rounded to nearest."""
    unit = np.spacing(np.abs(values).astype(dtype)).astype(np.float64)
    return (values + 0.3 * np.copysign(unit, values)).astype(dtype)


def scaled(factor: float) -> Store:
    """Multiplied by a factor, before it is rounded to nearest."""
    return lambda values, dtype: (values * factor).astype(dtype)


def multiply(a: Array, b: Array) -> Array:
    """A product in float64."""
    return a.astype(np.float64) @ b.astype(np.float64)


def multiply_chopped(a: Array, b: Array) -> Array:
    """A product whose accumulator is truncated to the format of its factors after each addition."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for column, row in zip(a.T.astype(np.float64), b.astype(np.float64), strict=True):
        total = toward_zero(total.astype(np.float64) + np.outer(column, row), a.dtype)
    return total.astype(np.float64)


def multiply_narrowed(a: Array, b: Array) -> Array:
    """A product of factors that are rounded to 21 bits."""

    def narrowed(values: Array) -> Array:
        fraction, exponent = np.frexp(values.astype(np.float64))
        return np.ldexp(np.round(fraction * 2.0**21) / 2.0**21, exponent)

    return narrowed(a) @ narrowed(b)


def next_outward(values: Array, dtype: np.dtype) -> Array:
    """One unit in the last place too far from zero."""
    near = values.astype(dtype)
    return np.nextafter(near, np.copysign(np.full_like(near, np.inf), near))


class Biased(Numpy):
    """The rule with its own rounding of sums, weight gradients and bias gradients; other results are rounded to
    nearest, unless `everywhere` is set.
    """

    dtypes = ("f64", "f32", "bf16", "f16")
    store: Store = staticmethod(nearest)
    store_weights: Store | None = None
    store_biases: Store | None = None
    product: Callable[[Array, Array], Array] = staticmethod(multiply)
    everywhere = False

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        return lambda parameters, x, y: self.answer(structure, parameters, x, y)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        """What it computes."""
        network, dtype, multiplied = structure.network, structure.format.numpy, type(self).product
        sums = type(self).store
        other = sums if self.everywhere else nearest
        of_weights, of_biases = type(self).store_weights or sums, type(self).store_biases or sums
        zs, xs, depth = [], [x], network.depth

        def plus(values: Array, i: int) -> Array:
            return values + parameters.biases[i].astype(np.float64)

        with np.errstate(all="ignore"):
            for i, name in enumerate(network.activations):
                z = multiplied(xs[-1], parameters.weights[i])
                zs.append(sums(plus(z, i) if network.bias == "pre" else z, dtype))
                out = ACTIVATIONS[name].f(zs[-1].astype(np.float64))
                xs.append(other(plus(out, i) if network.bias == "post" else out, dtype))
            residual = xs[-1].astype(np.float64) - y.astype(np.float64)
            s, ks, sides = other(residual, dtype), [], []
            for i in reversed(range(depth)):
                sides.insert(0, s)
                slope = ACTIVATIONS[network.activations[i]].derivative(zs[i].astype(np.float64))
                ks.insert(0, other(s.astype(np.float64) * slope, dtype))
                s = sums(multiplied(ks[0], parameters.weights[i].T), dtype)
            gradients = tuple(of_weights(multiplied(xs[i].T, ks[i]), dtype) for i in range(depth))
            ones = np.ones((1, len(x)), dtype)
            terms = ks if network.bias == "pre" else sides
            biases = tuple(of_biases(multiplied(ones, k)[0], dtype) for k in terms) if network.bias != "none" else ()
            error = np.asarray(np.square(residual).sum() / 2).astype(dtype)
        return Observation(xs[-1], error, gradients, biases, tuple(zs), tuple(xs[1:]), tuple(ks))


class Rounded(Biased):
    """A sound framework with wide accumulators: nothing may be found."""

    name = "rounded"


class Truncated(Biased):
    """Sums truncated toward zero."""

    name = "truncated"
    store = staticmethod(toward_zero)


class Floored(Biased):
    """Sums rounded down."""

    name = "floored"
    store = staticmethod(downward)


class Chopped(Biased):
    """The accumulator of a sum is truncated after each addition."""

    name = "chopped"
    product = staticmethod(multiply_chopped)


class Raised(Biased):
    """Gradients 0.3 units in the last place too far from zero."""

    name = "raised"
    store_weights = staticmethod(raised)
    store_biases = staticmethod(raised)


class ScaledWeights(Biased):
    """Weight gradients times 1 + 1e-7."""

    name = "scaled-weights"
    store_weights = staticmethod(scaled(1 + 1e-7))


class ScaledBiases(Biased):
    """Bias gradients times 1 + 1e-7."""

    name = "scaled-biases"
    store_biases = staticmethod(scaled(1 + 1e-7))


class BarelyScaledWeights(Biased):
    """Weight gradients times 1 + 1e-8."""

    name = "barely-scaled-weights"
    store_weights = staticmethod(scaled(1 + 1e-8))


class BarelyScaledBiases(Biased):
    """Bias gradients times 1 + 1e-8."""

    name = "barely-scaled-biases"
    store_biases = staticmethod(scaled(1 + 1e-8))


class Outer(Biased):
    """Weight gradients one unit in the last place too far from zero, in float64 too."""

    name = "outer"
    store_weights = staticmethod(next_outward)


class Narrowed(Biased):
    """Products of factors that are rounded to 21 bits, to nearest."""

    name = "narrowed"
    product = staticmethod(multiply_narrowed)


class TruncatedEverywhere(Biased):
    """Every result truncated toward zero, those of activations and slopes too."""

    name = "truncated-everywhere"
    store = staticmethod(toward_zero)
    everywhere = True


class SilentTruncated(Truncated):
    """The same, showing gradients alone: nothing can be judged over a run."""

    name = "silent-truncated"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(super().answer(structure, parameters, x, y), z=None, x=None, k=None)


def made_moments(outward: float, quantity: str = "dE/dW", dtype: str = "f32", activation: str = "") -> dict[Key, Sums]:
    """The sums of 100 tensors of 50 entries each, whose errors are `outward` σ outward on average, and spread by 0.3 σ.
    Values are as large as σ / u.
    """
    noise = 0.3 * np.random.Generator(np.random.Philox(key=1)).normal(size=(100, 2, 50))
    plain, away = noise[:, 0], noise[:, 1] + outward
    columns = (np.full(100, 50.0), plain.sum(1), away.sum(1), np.square(away).sum(1), np.full(100, 50.0), away.sum(1))
    return collect([((dtype, quantity, activation, "short"), np.stack((*columns, np.full(100, 50.0)), 1))])


PLANTED = (Truncated, Floored, Chopped, Raised, ScaledWeights, ScaledBiases)
"""Caught in float32 by a quick run."""
BARELY = (BarelyScaledWeights, BarelyScaledBiases)
"""Caught in float32 by a standard run."""
