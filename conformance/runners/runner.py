"""Running an adapter on draws in this process (`LocalRunner`)."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ...adapters import Adapter, Observation, Script
from ...adapters.quantities import arrays, parts
from ...reference import Array, Parameters, Structure
from ..cases.description import Description, describe
from ..cases.draw import memory_of
from .form import Answer, detached, examine_form
from .programs import LAYOUTS, NoAnswer, Programs
from .specs import spec_of

__all__ = [
    "LAYOUTS",
    "Answer",
    "LocalRunner",
    "NoAnswer",
    "Runner",
    "Turn",
    "call_in_turn",
    "detached",
    "differing",
    "same_bits",
]


Turn = Sequence[tuple[Parameters, Array, Array, Observation]]
"""The numbers of several calls, each with the observation that is due."""


class Runner(Protocol):
    """What the checks need of an adapter, in this process or in another."""

    def describe(self) -> Description: ...
    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None: ...
    def recall(self, number: int) -> None: ...
    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer: ...
    def changed_since(self) -> bool: ...
    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None: ...


class LocalRunner:
    """Runs an adapter in this process."""

    def __init__(self, adapter: Adapter, spec: str | None = None) -> None:
        self._adapter = adapter
        self._spec = spec or spec_of(adapter)
        self._programs = Programs(adapter)
        self._built: list[tuple[int, Structure]] = []
        self._current: tuple[int, Structure] | None = None
        self._first: dict[int, bytes] = {}

    def describe(self) -> Description:
        """What the adapter declares."""
        return describe(self._adapter, self._spec)

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """Make the program of a structure the current one. `layout` names a layout to use instead of the declared one.

        Earlier programs are discarded unless `beside` is true.
        """
        self._current = None
        if not beside:
            for number, _ in self._built:
                self._programs.release(number)
            self._built, self._first = [], {}
        self._current = self._programs.build(structure, layout), structure
        self._built.append(self._current)

    def recall(self, number: int) -> None:
        """Make an earlier program the current one, by its number in the order of building."""
        self._current = self._built[number]

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """Run the current program once. Raises NoAnswer."""
        assert self._current is not None
        number, structure = self._current
        observed, is_modified = self._programs.call(number, memory_of(regime), parameters, x, y)
        if number not in self._first:
            self._first[number] = _bytes(observed)
        return examine_form(observed, structure, is_modified, self._adapter.result_dtypes)

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """`call_in_turn` of this runner, in one request."""
        return call_in_turn(self.call, regime, turn, count)

    def close(self) -> None:
        """Nothing to end: programs go with the runner."""

    def script(self, structure: Structure) -> Script:
        """The adapter's own calls for a structure, as source. Raises NoAnswer if the adapter has none."""
        return self._programs.script(structure)

    def changed_since(self) -> bool:
        """Whether a later call, of this or another program, has overwritten the current program's first observation."""
        number = None if self._current is None else self._current[0]
        if number not in self._first:
            return False
        first = self._programs.first(number)
        return first is not None and _bytes(first) != self._first[number]


def _bytes(observed: Observation) -> bytes:
    return b"".join(np.asarray(a).tobytes() for _, a, _ in parts(observed, None))


def call_in_turn(call: Callable[..., Answer], regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
    """Make `count` calls with the numbers of `turn`, one after another, again and again. The first answer that is not
    the observation that is due, bit for bit, ends it: its number, counted from 0, and the answer. None if all are as
    due. Raises NoAnswer.
    """
    for number in range(count):
        parameters, x, y, due = turn[number % len(turn)]
        answer = call(regime, parameters, x, y)
        if answer.observation is None or not same_bits(answer.observation, due):
            return number, answer
    return None


def same_bits(a: Observation, b: Observation) -> bool:
    """Whether two observations agree bit for bit, where 0.0 and -0.0 are one number."""
    mine, others = (
        [(name, _unsigned_zeros(np.asarray(array)).tobytes()) for name, array, _ in parts(o, None)] for o in (a, b)
    )
    return mine == others


def differing(before: Observation, after: Observation) -> list[str]:
    """The names of the arrays of `before` that `after` does not have with the same bits, as in `same_bits`."""
    shown = arrays(after)
    return [
        name
        for name, a in arrays(before).items()
        if name not in shown or _unsigned_zeros(a).tobytes() != _unsigned_zeros(shown[name]).tobytes()
    ]


def _unsigned_zeros(array: Array) -> Array:
    """The same numbers with every -0.0 as 0.0: the sign of a zero is no part of what the rule says. A NaN keeps its
    bits.
    """
    return np.where(array == 0, np.zeros((), array.dtype), array)
