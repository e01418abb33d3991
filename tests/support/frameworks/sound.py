"""Sound frameworks: the rule with sums in every order that a framework may use, and with the roundings that it may add
or leave out. Nothing may be found in any of them.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from kterm.adapters import Observation, Program
from kterm.reference import ACTIVATIONS, DTYPES, Array, Parameters, Structure

from .miniatures import Miniature, silent

Sum = Callable[[Array, Array, Array | None], Array]
"""a @ b, from a start (1, k) if there is one. `a` (m, n) and `b` (n, k) are in the accumulator's dtype."""


def _accumulator(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _wider(dtype: np.dtype) -> np.dtype:
    return np.dtype({2: np.float32, 4: np.float64}.get(dtype.itemsize, np.longdouble))


def _begun(a: Array, b: Array, start: Array | None) -> Array:
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    return total if start is None else total + start


def _one_by_one(a: Array, b: Array, start: Array | None) -> Array:
    """Terms added one by one: for a gradient, one row of the batch after another."""
    total = _begun(a, b, start)
    for j in range(a.shape[1]):
        total += a[:, j : j + 1] * b[j : j + 1]
    return total


def _reversed(a: Array, b: Array, start: Array | None) -> Array:
    return _one_by_one(a[:, ::-1], b[::-1], start)


def _fused(a: Array, b: Array, start: Array | None) -> Array:
    """Fused multiply-adds: each product is added before it is rounded."""
    total, wide = _begun(a, b, start), _wider(a.dtype)
    for j in range(a.shape[1]):
        product = a[:, j : j + 1].astype(wide) * b[j : j + 1].astype(wide)
        total = (total.astype(wide) + product).astype(a.dtype)
    return total


def _kahan(a: Array, b: Array, start: Array | None) -> Array:
    total = _begun(a, b, start)
    lost = np.zeros_like(total)
    for j in range(a.shape[1]):
        term = a[:, j : j + 1] * b[j : j + 1] - lost
        after = total + term
        lost, total = (after - total) - term, after
    return total


def _terms(a: Array, b: Array, start: Array | None) -> Array:
    """Every product, (n, m, k), and the start as one more."""
    terms = a.T[:, :, None] * b[:, None, :]
    return terms if start is None else np.concatenate((np.broadcast_to(start, terms.shape[1:])[None], terms))


def _pairwise(a: Array, b: Array, start: Array | None) -> Array:
    terms = _terms(a, b, start)
    while len(terms) > 1:
        if len(terms) % 2:
            terms = np.concatenate((terms, np.zeros_like(terms[:1])))
        terms = terms[::2] + terms[1::2]
    return terms[0] if len(terms) else _begun(a, b, None)


def _blocked(a: Array, b: Array, start: Array | None) -> Array:
    """Sums of 16 terms, which are then added one by one."""
    total = _begun(a, b, start)
    for j in range(0, a.shape[1], 16):
        total += _one_by_one(a[:, j : j + 16], b[j : j + 16], None)
    return total


def _in_lanes(a: Array, b: Array, start: Array | None) -> Array:
    """Eight running sums, as a vector unit keeps them."""
    total = _begun(a, b, start)
    for lane in range(8):
        total += _one_by_one(a[:, lane::8], b[lane::8], None)
    return total


def _shuffled(a: Array, b: Array, start: Array | None) -> Array:
    order = np.random.default_rng(a.shape[1]).permutation(a.shape[1])
    return _one_by_one(a[:, order], b[order], start)


class Ordered(Miniature):
    """Sums of products as `sums` makes them, in the accumulator of the format, each rounded once when stored.

    With `bias_first` a sum starts at the bias; otherwise the bias is added to the stored sum. With `wide` the
    accumulator is of the next wider format. With `keeps` activations and k-terms stay in that format between layers,
    and only what is shown is rounded.
    """

    name = "ordered"
    dtypes = tuple(DTYPES)
    bias_first = wide = keeps = shows_little = False

    @staticmethod
    def sums(a: Array, b: Array, start: Array | None) -> Array:
        return _one_by_one(a, b, start)

    def scaled(self, residual: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The residual as the backward pass gets it, and what turns a gradient into that of E."""
        return residual, lambda gradient: gradient

    def used_output(self, structure: Structure, parameters: Parameters, xs: list[Array]) -> Array:
        """The output that the residual is made from, given x_0 and the x of each layer."""
        return xs[-1]

    def product(self, a: Array, b: Array, dtype: np.dtype, start: Array | None = None) -> Array:
        inside = _wider(dtype) if self.wide or self.keeps else _accumulator(dtype)
        first = start.astype(inside)[None] if start is not None and self.bias_first else None
        total = self.sums(a.astype(inside), b.astype(inside), first).astype(dtype)
        return total if start is None or self.bias_first else total + start

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        with np.errstate(all="ignore"):
            found = self._computed(structure, parameters, x, y)
        return silent(found) if self.shows_little else found

    def _computed(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        network, dtype = structure.network, x.dtype
        kept = _wider(dtype) if self.keeps else dtype
        rows = [ACTIVATIONS[name] for name in network.activations]
        zs, xs = list[Array](), [x]
        for i, row in enumerate(rows):
            bias = parameters.biases[i] if network.bias != "none" else None
            zs.append(self.product(xs[-1], parameters.weights[i], dtype, bias if network.bias == "pre" else None))
            after = row.f(zs[-1].astype(kept))
            xs.append(after + bias.astype(kept) if bias is not None and network.bias == "post" else after)
        residual = (self.used_output(structure, parameters, xs) - y.astype(kept)).astype(kept)
        error = np.square(residual.astype(_accumulator(kept))).sum() / 2
        s, to_gradient = self.scaled(residual)
        ks, sides = list[Array](), list[Array]()
        for i in reversed(range(network.depth)):
            sides.insert(0, s)
            ks.insert(0, s * rows[i].derivative(zs[i].astype(kept)))
            s = self.product(ks[0], parameters.weights[i].T, dtype)
        ones = np.ones((1, len(x)), dtype)
        summed = {"none": [], "pre": ks, "post": sides}[network.bias]

        def shown(arrays: list[Array]) -> tuple[Array, ...]:
            return tuple(a.astype(dtype) for a in arrays)

        return Observation(
            xs[-1].astype(dtype),
            np.asarray(error).astype(dtype),
            tuple(to_gradient(self.product(before.T, k, dtype)) for before, k in zip(xs, ks, strict=False)),
            tuple(to_gradient(self.product(ones, a, dtype)[0]) for a in summed),
            shown(zs),
            shown(xs[1:]),
            shown([to_gradient(k) for k in ks]),
        )


class BiasFirst(Ordered):
    """Each sum starts at the bias."""

    name, bias_first = "bias-first", True


class RowByRow(Ordered):
    """Terms added one by one, the bias last. Gradients are accumulated over the rows of the batch."""

    name = "row-by-row"


class Reversed(Ordered):
    """Sums from the last term to the first."""

    name, sums = "reversed", staticmethod(_reversed)


class Shuffled(Ordered):
    """Sums in a random order, from the bias."""

    name, sums, bias_first = "shuffled", staticmethod(_shuffled), True


class Pairwise(Ordered):
    """Sums of pairs, of pairs of pairs, and so on; the bias is one of the terms."""

    name, sums, bias_first = "pairwise", staticmethod(_pairwise), True


class Blocked(Ordered):
    """Sums of 16 terms, added one by one."""

    name, sums = "blocked", staticmethod(_blocked)


class InLanes(Ordered):
    """Eight running sums."""

    name, sums, bias_first = "in-lanes", staticmethod(_in_lanes), True


class Fused(Ordered):
    """Fused multiply-adds from the bias."""

    name, sums, bias_first = "fused", staticmethod(_fused), True


class Kahan(Ordered):
    """Compensated sums."""

    name, sums, bias_first = "kahan", staticmethod(_kahan), True


class WideSums(Ordered):
    """An accumulator of the next wider format, which holds the bias too."""

    name, bias_first, wide = "wide-sums", True, True

    @staticmethod
    def sums(a: Array, b: Array, start: Array | None) -> Array:
        return a @ b if start is None else a @ b + start


class KeepsWide(WideSums):
    """Activations and k-terms kept in the next wider format from layer to layer."""

    name, keeps = "keeps-wide", True


class Recomputed(Ordered):
    """The residual is made from an output that is computed once more from the last sum of products, elementwise steps
    in the next wider format: as a compiler does that puts them into two programs and contracts them in one.
    """

    name = "recomputed"

    def used_output(self, structure: Structure, parameters: Parameters, xs: list[Array]) -> Array:
        network, before, weight = structure.network, xs[-2], parameters.weights[-1]
        wide = _wider(before.dtype)
        if weight.shape[0] == 1:  # a sum of one product is elementwise too
            total = before.astype(wide) * weight.astype(wide)
        else:
            total = self.product(before, weight, before.dtype).astype(wide)
        bias = parameters.biases[-1].astype(wide) if network.bias != "none" else 0
        z = total + bias if network.bias == "pre" else total
        after = ACTIVATIONS[network.activations[-1]].f(z)
        return after + bias if network.bias == "post" else after


class OfMean(Ordered):
    """The loss is a mean over batch and outputs. Its k-terms and gradients are scaled back to those of E at the end."""

    name = "of-mean"

    def scaled(self, residual: Array) -> tuple[Array, Callable[[Array], Array]]:
        one, count = residual.dtype.type, max(residual.size, 1)
        return residual * one(2 / count), lambda gradient: gradient * gradient.dtype.type(count / 2)


class OfBatchMean(Ordered):
    """The same with a mean over the batch alone."""

    name = "of-batch-mean"

    def scaled(self, residual: Array) -> tuple[Array, Callable[[Array], Array]]:
        one, count = residual.dtype.type, max(len(residual), 1)
        return residual / one(count), lambda gradient: gradient * gradient.dtype.type(count)


class FlippingZeros(Ordered):
    """Every second call gives each zero as a negative one."""

    name = "flipping-zeros"

    def build(self, structure: Structure) -> Program:
        program, calls = super().build(structure), 0

        def flipped(value: Any) -> Any:
            if value is None or isinstance(value, tuple):
                return value and tuple(map(flipped, value))
            return np.where(value == 0, -np.zeros((), value.dtype), value)

        def changing(parameters: Parameters, x: Array, y: Array) -> Observation:
            nonlocal calls
            calls += 1
            found = program(parameters, x, y)
            if calls % 2:
                return found
            return replace(found, **{f.name: flipped(getattr(found, f.name)) for f in fields(found)})

        return changing


ORDERS: tuple[type[Ordered], ...] = (
    BiasFirst,
    RowByRow,
    Reversed,
    Shuffled,
    Pairwise,
    Blocked,
    InLanes,
    Fused,
    Kahan,
    WideSums,
    KeepsWide,
    OfMean,
    OfBatchMean,
    FlippingZeros,
    Recomputed,
)


def showing_gradients_alone(sound: type[Ordered]) -> Ordered:
    """The framework, showing outputs, error and gradients alone."""
    made = sound()
    made.shows_little = True
    made.name = f"{sound.name}-silent"
    return made
