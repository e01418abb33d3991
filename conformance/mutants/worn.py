"""Wearing a mutant: an adapter that answers as its framework does, but for one mistake."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...adapters import Adapter, Observation, Program, Script
from ...reference import DTYPES, Array, Parameters, Structure
from ...reference.rounding import deviation
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


@dataclass(frozen=True)
class Right:
    """The rule's own pass through a call, in float64, as a stack of one, and by how much each entry of what it gives
    may be off by rounding.
    """

    work: Work
    noise: Mapping[str, Array]


def rightly(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Right:
    """The rule's own pass through a call."""
    one = stacked([Draw(parameters, x, y, np.zeros((), bool))]).astype(np.dtype(np.float64))
    given = structure, one.parameters, one.x, one.y
    # With errors a slope at a kink is another value, and its error takes in the jump: it is for the noise alone.
    rounding = run(start(*given, deviation(DTYPES["f64"])))
    noise = {name: value.without_jumps().tolerance[0] for name, value in rounding.given.items()}
    return Right(run(start(*given)), noise)


def planting(mutant: Mutant, right_of: Callable[[Structure, Parameters, Array, Array], Right] = rightly) -> Wrap:
    """A mutant's changes of the rule, put around programs."""

    def wrap(make: Make) -> Make:
        def made(structure: Structure) -> Program:
            program, last = make(structure), list[Work]()

            def mistaken(parameters: Parameters, x: Array, y: Array) -> Observation:
                observed = program(parameters, x, y)
                right = right_of(structure, parameters, x, y)
                wrong = run(afresh(right.work, last[0] if last else None), [(mutant.changes, mutant.takes)])
                last[:] = [right.work]
                return planted(observed, difference(right, wrong))

            return mistaken

        return made

    return wrap


@dataclass(frozen=True)
class Changed:
    """What is right in float64, what a mistake makes of it, and by how much the first may be off by rounding."""

    right: Array
    wrong: Array
    noise: Array


def difference(right: Right, wrong: Work) -> dict[str, Changed]:
    """By its name, each quantity that a mistake changes in a stack of one."""
    made = {
        name: Changed(value.value[0], wrong.given[name].value[0], right.noise[name])
        for name, value in right.work.given.items()
    }
    return {name: one for name, one in made.items() if not np.array_equal(one.right, one.wrong, equal_nan=True)}


def planted(observed: Observation, changed: Mapping[str, Changed]) -> Observation:
    """An observation with differences put on it, each entry rounded once; entries that do not differ by more than
    rounding errors keep their bits. Where either is not finite, what is wrong stands.
    """

    def put(name: str, array: Array) -> Array:
        if name not in changed:
            return array
        one = changed[name]
        right, wrong, noise = (a.reshape(array.shape) for a in (one.right, one.wrong, one.noise))
        with np.errstate(all="ignore"):
            # A rounding error is one of what was computed: of what a mistake makes smaller it is as much smaller.
            share = np.where(np.abs(wrong) < np.abs(right), np.abs(wrong / right), 1.0)
            moved = wrong + (array.astype(np.float64) - right) * share
            moved = np.where(np.isfinite(right) & np.isfinite(wrong), moved, wrong).astype(array.dtype)
            # What float64 rounds is no mistake's doing, least of all where the framework has rounded to a clean 0.
            stands = (right == wrong) | (np.abs(wrong - right) <= noise)
        return np.where(stands, array, moved)

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
