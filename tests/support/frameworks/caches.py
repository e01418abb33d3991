"""Deliberately bad frameworks that take one structure, or one call, for another: caches keyed on too little and buffers
kept by shape.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kterm.adapters import Observation, Program
from kterm.reference import Array, Parameters, Structure, backpropagate

from .miniatures import Miniature, observation, right, silent

Key = tuple[Any, ...]


def shape(structure: Structure) -> Key:
    """What every cache here looks at."""
    return structure.network.widths, structure.batch


def fitted(own: Structure, asked: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
    """What the program of one structure answers to the numbers of another of the same shape."""
    dtype = own.format.numpy
    biases = parameters.biases or tuple(np.zeros(n, dtype) for n in own.network.widths[1:])
    given = Parameters(
        tuple(w.astype(dtype) for w in parameters.weights),
        () if own.network.bias == "none" else tuple(b.astype(dtype) for b in biases),
    )
    found = observation(backpropagate(own.network, given, x.astype(dtype), y.astype(dtype)))
    due = 0 if asked.network.bias == "none" else len(biases)
    gradients = found.bias_gradients or tuple(np.zeros_like(b) for b in biases)

    def back(a: Array) -> Array:
        return np.asarray(a.astype(asked.format.numpy))

    return Observation(
        back(found.outputs),
        back(found.error),
        tuple(map(back, found.weight_gradients)),
        tuple(map(back, gradients[:due])),
        *(tuple(map(back, some or ())) for some in (found.z, found.x, found.k)),
    )


class Cached(Miniature):
    """Keeps programs by shape: another structure of that gets the first one's or, where the last wins, all get its."""

    name = "cached"
    last_wins = False
    shows = True

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._kept: dict[Key, Structure] = {}

    def key(self, structure: Structure) -> Key:
        return shape(structure)

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        key = self.key(structure)
        if self.last_wins:
            self._kept[key] = structure
        self._kept.setdefault(key, structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = fitted(self._kept[key], structure, parameters, x, y)
            return found if self.shows else silent(found)

        return program


class ByDtype(Cached):
    """By shape and dtype."""

    name = "by-dtype"

    def key(self, structure: Structure) -> Key:
        return *shape(structure), structure.dtype


class BiasForgotten(Cached):
    """By everything but the bias placement."""

    name = "bias-forgotten"

    def key(self, structure: Structure) -> Key:
        return *shape(structure), structure.dtype, structure.network.activations


class ActivationsForgotten(Cached):
    """By everything but the activations."""

    name = "activations-forgotten"

    def key(self, structure: Structure) -> Key:
        return *shape(structure), structure.dtype, structure.network.bias


class OrderForgotten(Cached):
    """By everything, but activations without their order."""

    name = "order-forgotten"

    def key(self, structure: Structure) -> Key:
        network = structure.network
        return *shape(structure), structure.dtype, network.bias, tuple(sorted(network.activations))


class DtypeForgotten(Cached):
    """By everything but the dtype."""

    name = "dtype-forgotten"

    def key(self, structure: Structure) -> Key:
        return *shape(structure), structure.network


class SharedBuffers(Miniature):
    """An answer is written into the arrays of the last answer, where another program of the same shape gave that."""

    name = "shared-buffers"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._last: dict[Key, tuple[Structure, tuple[Array, ...]]] = {}

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        key = (*shape(structure), structure.dtype)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            found = right(structure, parameters, x, y)
            owner, buffers = self._last.get(key, (structure, found.weight_gradients))
            if owner != structure:
                for buffer, gradient in zip(buffers, found.weight_gradients, strict=True):
                    buffer[...] = gradient
                found = replace(found, weight_gradients=buffers)
            self._last[key] = structure, found.weight_gradients
            return found

        return program


class StaleRows(Miniature):
    """Batches are padded to a multiple of four, in a buffer in which the rows of a larger batch still stand."""

    name = "stale-rows"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self._padded: dict[Key, tuple[Array, Array]] = {}

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        widths, count = structure.network.widths, structure.batch + -structure.batch % 4
        blank = tuple(np.zeros((count, n), structure.format.numpy) for n in (widths[0], widths[-1]))
        key = (structure.network, count, structure.dtype)
        kept = self._padded.setdefault(key, blank)  # pyright: ignore[reportArgumentType]  (two of them)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            for buffer, rows in zip(kept, (x, y), strict=True):
                buffer[: len(rows)] = rows
            own, padded = (right(structure, parameters, *some) for some in ((x, y), kept))
            return silent(replace(own, weight_gradients=padded.weight_gradients))

        return program


class LastWins(ActivationsForgotten):
    """The last of the programs of one shape replaces the others."""

    name = "last-wins"
    last_wins = True


class Picky(Miniature):
    """Raises for some twins, in `build` or in the call, or ends its process."""

    name = "picky"

    def __init__(self, how: str, bad: Callable[[Structure], bool]) -> None:
        super().__init__()
        self._how, self._bad = how, bad

    def build(self, structure: Structure) -> Program:
        if self._how == "build" and self._bad(structure):
            raise NotImplementedError("not there yet")
        return super().build(structure)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        if self._how == "call" and self._bad(structure):
            raise RuntimeError("kernel launch failed")
        return right(structure, parameters, x, y)


class DiesInTwins(Miniature):
    """Takes its process down with a twin."""

    name = "dies-in-twins"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        if structure.network.activations[0] == "silu":
            os._exit(3)
        return right(structure, parameters, x, y)


class DiesLater(Miniature):
    """Takes its process down when a twin is called again."""

    name = "dies-later"

    def build(self, structure: Structure) -> Program:
        calls = 0

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            nonlocal calls
            calls += 1
            if calls == 2 and structure.network.activations[0] == "silu":
                os._exit(3)
            return right(structure, parameters, x, y)

        return program


class Remembers(Miniature):
    """Gives the last answer again where the inputs are the same in part."""

    name = "remembers"
    part: Callable[[Parameters, Array, Array], Any]

    def build(self, structure: Structure) -> Program:
        last: list[tuple[Any, Observation]] = []

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            now = self.part(parameters, x, y)
            if not last or last[0][0] != now:
                last[:] = [(now, right(structure, parameters, x, y))]
            found = last[0][1]
            return silent(replace(found, weight_gradients=tuple(map(np.array, found.weight_gradients))))

        return program


class ForwardKept(Miniature):
    """Keeps the forward pass by what x is, whatever the weights."""

    name = "forward-kept"
    part: Callable[[Array], Any]

    def build(self, structure: Structure) -> Program:
        kept: dict[Any, Parameters] = {}

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            before = kept.setdefault(self.part(x), parameters)
            stale, own = right(structure, before, x, y), right(structure, parameters, x, y)
            return replace(own, outputs=stale.outputs, z=stale.z, x=stale.x)

        return program


def _of_weights(parameters: Parameters) -> bytes:
    return b"".join(a.tobytes() for a in (*parameters.weights, *parameters.biases))


class ByX(Remembers):
    """By x and y: weights are forgotten."""

    name = "by-x"

    @staticmethod
    def part(parameters: Parameters, x: Array, y: Array) -> Any:
        return x.tobytes(), y.tobytes()


class ByParameters(Remembers):
    """By parameters and x: y is forgotten."""

    name = "by-parameters"

    @staticmethod
    def part(parameters: Parameters, x: Array, y: Array) -> Any:
        return _of_weights(parameters), x.tobytes()


class ForwardByContents(ForwardKept):
    """By the contents of x."""

    name = "forward-by-contents"

    @staticmethod
    def part(x: Array) -> Any:
        return x.tobytes()


class ForwardByIdentity(ForwardKept):
    """By the identity of x."""

    name = "forward-by-identity"

    @staticmethod
    def part(x: Array) -> Any:
        return id(x)
