"""Deliberately bad frameworks: the reference in the guise of one, each with one thing wrong, to prove that the suite
can fail.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kterm.adapters import OUT_IN, Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, Array, Network, Parameters, Pass, Structure, backpropagate, forward, k_terms

Answer = Callable[[Structure, Parameters, Array, Array], Observation]


def observation(answer: Pass) -> Observation:
    """A pass of the reference as an observation that shows everything."""
    return Observation(
        answer.outputs,
        np.asarray(answer.error),
        answer.weight_gradients,
        answer.bias_gradients,
        z=answer.z,
        x=answer.x[1:],
        k=answer.k,
    )


def right(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    """What a sound framework answers."""
    return observation(backpropagate(structure.network, parameters, x, y))


def silent(observed: Observation) -> Observation:
    """The same, showing outputs, error and gradients alone."""
    return replace(observed, z=None, x=None, k=None)


class Miniature(Numpy):
    """A sound framework that shows all it does."""

    name = "sound"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return right(structure, parameters, x, y)

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        return lambda parameters, x, y: self.answer(structure, parameters, x, y)


class Silent(Miniature):
    """A sound framework that shows gradients alone: nothing may be found."""

    name = "silent"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return silent(right(structure, parameters, x, y))


class Cancelling(Miniature):
    """A sound framework whose formulas cancel where usual ones do: 1 - tanh**2, s(1 - s). Nothing may be found."""

    name = "cancelling"
    activations = {name: Numpy.activations[name] for name in ("sigmoid", "tanh", "silu")}  # noqa: RUF012

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def derivative(name: str, z: Array) -> Array:
            with np.errstate(over="ignore"):  # as frameworks do
                s, t = 1 / (1 + np.exp(-z)), np.tanh(z)
            return {"sigmoid": s * (1 - s), "tanh": 1 - t * t, "silu": s + z * s * (1 - s)}[name]

        return by_hand(structure.network, parameters, x, y, derivative)


class Composed(Cancelling):
    """The same, showing gradients alone."""

    name = "composed"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return silent(super().answer(structure, parameters, x, y))


class Wide(Miniature):
    """A sound framework that computes in longdouble and rounds what it shows. Nothing may be found."""

    name = "wide"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def wide(a: Array) -> Array:
            return a.astype(np.longdouble)

        given = Parameters(tuple(map(wide, parameters.weights)), tuple(map(wide, parameters.biases)))
        found = right(structure, given, wide(x), wide(y))

        def rounded(values: tuple[Array, ...] | None) -> tuple[Array, ...]:
            return tuple(a.astype(x.dtype) for a in values or ())

        return Observation(
            found.outputs.astype(x.dtype),
            found.error.astype(x.dtype),
            rounded(found.weight_gradients),
            rounded(found.bias_gradients),
            *map(rounded, (found.z, found.x, found.k)),
        )


class MeanLoss(Miniature):
    """A sound framework whose loss is a mean over batch and outputs, scaled up again to E. Nothing may be found."""

    name = "mean-loss"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        zs, xs = forward(structure.network, parameters, x)
        one = x.dtype.type
        count = one(max(y.size, 1))
        residual = (xs[-1] - y) * (one(2) / count) * (count / one(2))
        terms = list(k_terms(structure.network, parameters, zs, residual))[::-1]
        ks, sides = tuple(k for k, _ in terms), [s for _, s in terms]
        biases = () if structure.network.bias == "none" else (ks if structure.network.bias == "pre" else sides)
        error = (np.square(xs[-1] - y).sum() / count) * (count / one(2))
        gradients = tuple(a.T @ k for a, k in zip(xs, ks, strict=False))
        return Observation(xs[-1], np.asarray(error), gradients, tuple(b.sum(0) for b in biases), zs, xs[1:], ks)


SOUND = (Miniature, Silent, Cancelling, Wide, MeanLoss)


def by_hand(
    network: Network, parameters: Parameters, x: Array, y: Array, derivative: Callable[[str, Array], Array]
) -> Observation:
    """The rule with another f'."""
    zs, xs = forward(network, parameters, x)
    s, ks, sides = xs[-1] - y, [], []
    for i in reversed(range(network.depth)):
        k = s * derivative(network.activations[i], zs[i])
        ks.insert(0, k)
        sides.insert(0, s)
        s = k @ parameters.weights[i].T
    gradients = tuple(xs[i].T @ ks[i] for i in range(network.depth))
    biases = () if network.bias == "none" else tuple(a.sum(0) for a in (ks if network.bias == "pre" else sides))
    error = np.asarray(np.square(xs[-1] - y).sum() / 2)
    return Observation(xs[-1], error, gradients, biases, z=zs, x=xs[1:], k=tuple(ks))


class NoSlopeAtOutput(Miniature):
    """k_n without f'."""

    name = "no-slope-at-output"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        last, seen = structure.network.depth, 0

        def derivative(name: str, z: Array) -> Array:
            nonlocal seen
            seen += 1
            return np.ones_like(z) if seen == 1 and last else ACTIVATIONS[name].derivative(z)

        return by_hand(structure.network, parameters, x, y, derivative)


class SteepInSome(Miniature):
    """f' too large by 1e-6 in float64, of tanh and softsign alone: a divergence such as frameworks have."""

    name = "steep-in-some"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def derivative(name: str, z: Array) -> Array:
            steep = name in ("tanh", "softsign") and z.dtype == np.float64
            return ACTIVATIONS[name].derivative(z) * z.dtype.type(1 + 1e-6 * steep)

        return by_hand(structure.network, parameters, x, y, derivative)


class SlopeOfTheActivation(Miniature):
    """f' taken at the activation in place of the pre-activation; gradients alone are shown."""

    name = "slope-of-the-activation"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def derivative(name: str, z: Array) -> Array:
            return ACTIVATIONS[name].derivative(ACTIVATIONS[name].f(z))

        return silent(by_hand(structure.network, parameters, x, y, derivative))


class _Changed(Miniature):
    """The sound answer with its gradients changed."""

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        raise NotImplementedError

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return self.change(right(structure, parameters, x, y), parameters, x)


def _gradients(observed: Observation, change: Callable[[int, Array], Array]) -> Observation:
    return replace(observed, weight_gradients=tuple(change(i, g) for i, g in enumerate(observed.weight_gradients)))


class MeanOverBatch(_Changed):
    """Weight gradients averaged over the batch."""

    name = "mean-over-batch"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return _gradients(observed, lambda _, g: g / g.dtype.type(max(len(x), 1)))


class Reshaped(_Changed):
    """Weight gradients reshaped where they should be transposed: right shape, wrong order."""

    name = "reshaped"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return _gradients(observed, lambda _, g: np.ascontiguousarray(g.T).reshape(g.shape))


class WeightDecay(_Changed):
    """Weight decay of 1e-4 left in the gradient."""

    name = "weight-decay"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return _gradients(observed, lambda i, g: g + g.dtype.type(1e-4) * parameters.weights[i])


class NoBiasGradient(_Changed):
    """Bias gradients are zero."""

    name = "no-bias-gradient"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return replace(observed, bias_gradients=tuple(map(np.zeros_like, observed.bias_gradients)))


class NotANumber(_Changed):
    """NaN from the branch not taken, where an input row is far out."""

    name = "not-a-number"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return _gradients(observed, lambda i, g: np.where((i == 0) & (np.abs(x).max(initial=0) > 2), np.nan, g))


class WrongType(_Changed):
    """Answers in float64 whatever it was asked in."""

    name = "wrong-type"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return _gradients(observed, lambda _, g: g.astype(np.float64))


class WrongShape(_Changed):
    """Bias gradients as one row each."""

    name = "wrong-shape"

    def change(self, observed: Observation, parameters: Parameters, x: Array) -> Observation:
        return replace(observed, bias_gradients=tuple(b[None, :] for b in observed.bias_gradients))


class HalfThePrecision(Miniature):
    """float64 computed in float32, and nothing shown."""

    name = "half-the-precision"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        narrow = Parameters(
            tuple(w.astype(np.float32) for w in parameters.weights),
            tuple(b.astype(np.float32) for b in parameters.biases),
        )
        found = right(structure, narrow, x.astype(np.float32), y.astype(np.float32))
        return Observation(
            found.outputs.astype(x.dtype),
            found.error.astype(x.dtype),
            tuple(g.astype(x.dtype) for g in found.weight_gradients),
            tuple(g.astype(x.dtype) for g in found.bias_gradients),
        )


class Accumulates(Miniature):
    """Adds the gradients of the call before."""

    name = "accumulates"

    def build(self, structure: Structure) -> Program:
        before: list[tuple[Array, ...]] = []

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = right(structure, parameters, x, y)
            total = found.weight_gradients
            if before:
                total = tuple(a + b for a, b in zip(total, before.pop(), strict=True))
            before.append(found.weight_gradients)
            return replace(silent(found), weight_gradients=total)

        return program


class Overwrites(Miniature):
    """Gives views into one buffer, which every call writes to."""

    name = "overwrites"

    def build(self, structure: Structure) -> Program:
        buffers: list[Array] = []

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = right(structure, parameters, x, y)
            if not buffers:
                buffers.extend(np.empty_like(g) for g in found.weight_gradients)
            for buffer, gradient in zip(buffers, found.weight_gradients, strict=True):
                buffer[...] = gradient
            return replace(found, weight_gradients=tuple(buffers))

        return program


class Unsteady(Miniature):
    """Every call after the first is off by one unit in the last place of one entry."""

    name = "unsteady"

    def build(self, structure: Structure) -> Program:
        calls = 0

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            nonlocal calls
            calls += 1
            found = right(structure, parameters, x, y)
            first = found.weight_gradients[0].copy()
            if calls > 1:
                first[0, 0] = np.nextafter(first[0, 0], first.dtype.type(np.inf))
            return replace(found, weight_gradients=(first, *found.weight_gradients[1:]))

        return program


class Mutates(Miniature):
    """Centres its input in place."""

    name = "mutates"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = right(structure, parameters, x, y)
        if x.flags.writeable and x.size:
            x -= x.mean()
        return found


class StaleProgram(Miniature):
    """Keeps programs by shape alone: another structure of the same shape gets the old one's activations."""

    name = "stale-program"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._programs: dict[Any, Structure] = {}

    def build(self, structure: Structure) -> Program:
        key = (len(structure.network.widths), structure.network.bias, structure.dtype)
        kept = self._programs.setdefault(key, structure)
        stale = replace(structure, network=replace(structure.network, activations=kept.network.activations))
        return lambda parameters, x, y: silent(right(stale, parameters, x, y))


class LiesAboutLayout(Miniature):
    """Stores weights (in, out) and declares (out, in)."""

    name = "lies-about-layout"
    weight_layout = OUT_IN

    def build(self, structure: Structure) -> Program:
        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            return right(structure, parameters, x, y)

        return program


class TransposedWhenSquare(Miniature):
    """Skips the transposition of square matrices."""

    name = "transposed-when-square"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def turn(a: Array) -> Array:
            return a.T.copy() if a.shape[0] == a.shape[1] else a

        turned = replace(parameters, weights=tuple(map(turn, parameters.weights)))
        return _gradients(right(structure, turned, x, y), lambda _, g: turn(g))
