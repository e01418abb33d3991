"""Wearing a mutant: an adapter that answers as its framework does, but for one mistake."""

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...adapters import Adapter, Observation, Program, Script
from ...reference import Array, Parameters, Structure
from ..draw import stacked
from ..regimes import Draw
from .mutant import Make, Mutant, Wrap
from .steps import Work, afresh, run, start

_DECLARED = ("name", "weight_layout", "dtypes", "activations", "biases", "max_structures", "device", "slopes_at_kinks")


class Worn(Adapter):
    """An adapter in all that it declares; its programs have the mistake of a mutant.

    A mistake in the rule is put on the framework's answer as the difference that it makes, in float64: where it makes
    none, the framework's own bits stand. A mistake in the machinery is put around its programs.
    """

    def __init__(self, adapter: Adapter, mutant: Mutant) -> None:
        # Its own __init__ has chosen the device.
        self._adapter, self.mutant = adapter, mutant
        for declaration in _DECLARED:
            setattr(self, declaration, getattr(adapter, declaration))
        self._make = self._wrapped(adapter)

    def devices(self) -> tuple[str, ...]:
        return self._adapter.devices()

    @property
    def version(self) -> str:
        return self._adapter.version

    def build(self, structure: Structure) -> Program:
        return self._adapter.build(structure)

    def program(self, structure: Structure) -> Program:
        """As of any adapter, with the mistake in it."""
        make = self._make
        if self.weight_layout is not self._adapter.weight_layout:  # overruled, to try another
            adapter = copy.copy(self._adapter)
            adapter.weight_layout = self.weight_layout
            make = self._wrapped(adapter)
        return make(structure)

    def script(self, structure: Structure) -> Script:
        return self._adapter.script(structure)

    def _wrapped(self, adapter: Adapter) -> Make:
        wraps = self.mutant.wraps or planting(self.mutant)
        return wraps(adapter.program)


def wear(adapter: Adapter, mutant: Mutant) -> Worn:
    """The adapter with the mutant on."""
    return Worn(adapter, mutant)


Passes = Callable[[Structure, Parameters, Array, Array], Work]
"""The rule's own pass through a call, in float64, as a stack of one."""


def rightly(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Work:
    """The rule's own pass through a call."""
    one = stacked([Draw(parameters, x, y, np.zeros((), bool))]).astype(np.dtype(np.float64))
    return run(start(structure, one.parameters, one.x, one.y))


def planting(mutant: Mutant, right_of: Passes = rightly) -> Wrap:
    """A mutant's changes of the rule, put around programs."""

    def wrap(make: Make) -> Make:
        def made(structure: Structure) -> Program:
            program, last = make(structure), list[Work]()

            def mistaken(parameters: Parameters, x: Array, y: Array) -> Observation:
                observed = program(parameters, x, y)
                right = right_of(structure, parameters, x, y)
                wrong = run(afresh(right, last[0] if last else None), [(mutant.changes, mutant.takes)])
                last[:] = [right]
                return planted(observed, difference(right, wrong))

            return mistaken

        return made

    return wrap


def difference(right: Work, wrong: Work) -> dict[str, tuple[Array, Array]]:
    """By the name of each quantity that a mistake changes in a stack of one: what is right, and what it makes of it."""
    pairs = {name: (value.value[0], wrong.given[name].value[0]) for name, value in right.given.items()}
    return {name: pair for name, pair in pairs.items() if not np.array_equal(*pair, equal_nan=True)}


def planted(observed: Observation, changed: Mapping[str, tuple[Array, Array]]) -> Observation:
    """An observation with differences put on it, each entry rounded once; entries that do not differ keep their bits.
    Where either is not finite, what is wrong stands.
    """

    def put(name: str, array: Array) -> Array:
        if name not in changed:
            return array
        right, wrong = (a.reshape(array.shape) for a in changed[name])
        with np.errstate(all="ignore"):
            # A rounding error is one of what was computed: of what a mistake makes smaller it is as much smaller.
            share = np.where(np.abs(wrong) < np.abs(right), np.abs(wrong / right), 1.0)
            moved = wrong + (array.astype(np.float64) - right) * share
            moved = np.where(np.isfinite(right) & np.isfinite(wrong), moved, wrong).astype(array.dtype)
        return np.where(right == wrong, array, moved)

    def each(symbol: str, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(put(f"{symbol}_{i}", np.asarray(array)) for i, array in enumerate(arrays, 1))

    shown = zip("zxk", (observed.z, observed.x, observed.k), strict=True)
    return Observation(
        put("outputs", np.asarray(observed.outputs)),
        put("E", np.asarray(observed.error)),
        each("dE/dW", observed.weight_gradients),
        each("dE/db", observed.bias_gradients),
        *(None if values is None else each(symbol, values) for symbol, values in shown),
    )
