"""Planting a mutant: an adapter that answers as its framework does, with one mistake."""

import copy
from collections.abc import Callable
from functools import partial

import numpy as np

from ...adapters import Adapter, Observation, Program, Script
from ...adapters.quantities import arrays, with_arrays
from ...reference import Array, Parameters, Structure
from ...reference.rounding import Conventions
from ...reference.steps import Work, afresh, run, showing, start
from ...reference.value import Value
from ..cases.draw import stacked
from ..cases.regimes import Draw
from .mutant import Make, Mutant, Wrap

_DECLARED = (*(name for name in Adapter.__annotations__ if name != "planted_mutant"), "device")
"""What an adapter declares; its constructor has set the device."""


class PlantedAdapter(Adapter):
    """An adapter with a mutant planted in its programs; it declares what the original declares.

    A mistake in the rule is planted step by step. Each step starts from the previous values that the framework shows,
    or would show with the mistake. Where the mistake makes no difference, the framework's own bits stay; elsewhere the
    value is computed in float64 and rounded once. A mistake in the machinery is planted around the programs.
    """

    def __init__(self, adapter: Adapter, mutant: Mutant) -> None:
        # Its own __init__ has chosen the device.
        self._adapter, self.mutant, self.planted_mutant = adapter, mutant, mutant.name
        for declaration in _DECLARED:
            setattr(self, declaration, getattr(adapter, declaration))
        self._make = self._wrapped(adapter)

    @property
    def original(self) -> Adapter:
        """The adapter without the mutant."""
        return self._adapter.original

    def devices(self) -> tuple[str, ...]:
        return self._adapter.devices()

    def build(self, structure: Structure) -> Program:
        return self._adapter.build(structure)

    def program(self, structure: Structure) -> Program:
        """As in any adapter, with the mistake in it."""
        make = self._make
        if self.weight_layout is not self._adapter.weight_layout:  # replaced, to try another layout
            adapter = copy.copy(self._adapter)
            adapter.weight_layout = self.weight_layout
            make = self._wrapped(adapter)
        return make(structure)

    @property
    def has_script(self) -> bool:
        return self._adapter.has_script

    def script(self, structure: Structure) -> Script:
        return self._adapter.script(structure)

    def _wrapped(self, adapter: Adapter) -> Make:
        wraps = self.mutant.wraps or planting(self.mutant, partial(pass_of_rule, self.slopes_at_kinks))
        return wraps(adapter.program)


def plant_mutant(adapter: Adapter, mutant: Mutant) -> PlantedAdapter:
    """The adapter with the mutant planted in it."""
    return PlantedAdapter(adapter, mutant)


RightOf = Callable[[Structure, Parameters, Array, Array, Observation], Work]
"""Takes a call and the framework's answer to it, and returns the rule's own pass, each step from what was shown."""


def pass_of_rule(
    conventions: Conventions, structure: Structure, parameters: Parameters, x: Array, y: Array, observed: Observation
) -> Work:
    """The rule's own pass through a call, in float64, as a stack of one, each step from what the framework shows.

    `conventions` are the slopes that the framework declares at kinks.
    """
    one = stacked([Draw(parameters, x, y, np.zeros((), bool))]).astype(np.dtype(np.float64))
    shown = {name: array.astype(np.float64) for name, array in arrays(observed).items()}
    return run(start(structure, one.parameters, one.x, one.y, conventions=conventions), give=showing(shown))


def planting(mutant: Mutant, right_of: RightOf) -> Wrap:
    """The wrapper of programs that makes a mutant's changes of the rule."""

    def wrap(make: Make) -> Make:
        def made(structure: Structure) -> Program:
            program, last = make(structure), list[Work]()

            def mistaken(parameters: Parameters, x: Array, y: Array) -> Observation:
                observed = program(parameters, x, y)
                right = right_of(structure, parameters, x, y, observed)
                own, changed = arrays(observed), dict[str, Array]()

                def give(name: str, value: Value) -> Value:
                    if name not in own:
                        return value
                    changed[name] = _planted(own[name], right.given[name].value[0], value.value[0])
                    return value.shown_as(changed[name])

                before = last[0] if last else None
                run(afresh(right, before), [(mutant.changes, mutant.takes)], give)
                last[:] = [right]
                return with_arrays(observed, changed)

            return mistaken

        return made

    return wrap


def _planted(array: Array, right: Array, wrong: Array) -> Array:
    """The framework's array, with the mistaken value, rounded once, where the mistake makes a difference."""
    right, wrong = (a.reshape(array.shape) for a in (right, wrong))
    with np.errstate(all="ignore"):
        return np.where(right == wrong, array, wrong.astype(array.dtype))
