"""Running an adapter on draws in this process (`LocalRunner`). Whatever keeps it from answering becomes `NoAnswer`."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...adapters import IN_OUT, OUT_IN, Adapter, Observation, Program, Script, WeightLayout
from ...adapters.quantities import arrays, parts
from ...adapters.registry import describe_error
from ...reference import Array, Parameters, Structure
from ..cases.description import Description, describe
from ..cases.draw import present_arrays
from .form import Answer, detached, examine_form
from .specs import spec_of

LAYOUTS: dict[str, WeightLayout] = {layout.name: layout for layout in (IN_OUT, OUT_IN)}


class NoAnswer(Exception):
    """An adapter gave no answer. `kind` is raised, died, hung, unsupported or load; the message is one line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    @property
    def lost(self) -> bool:
        """Whether the adapter's process is gone, and every program in it."""
        return self.kind in ("died", "hung")


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


@dataclass
class _Built:
    """A program that can be called, its structure, and its first observation with the bytes that it had."""

    program: Program
    structure: Structure
    first: tuple[Observation, bytes] | None = None


class LocalRunner:
    """Runs an adapter in this process."""

    def __init__(self, adapter: Adapter, spec: str | None = None) -> None:
        self._adapter = adapter
        self._spec = spec or spec_of(adapter)
        self._programs: list[_Built] = []
        self._current: _Built | None = None
        self._given: list[Array] = []

    def describe(self) -> Description:
        """What the adapter declares."""
        return describe(self._adapter, self._spec)

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """Make the program of a structure the current one. `layout` names a layout to use instead of the declared one.

        Earlier programs are discarded unless `beside` is true.
        """
        adapter = self._adapter
        if layout is not None:
            adapter = copy.copy(adapter)
            adapter.weight_layout = LAYOUTS[layout]
        self._current = None
        if not beside:
            self._programs = []
        with _as_no_answer():
            program = adapter.program(structure)
        self._current = _Built(program, structure)
        self._programs.append(self._current)

    def recall(self, number: int) -> None:
        """Make an earlier program the current one, by its number in the order of building."""
        self._current = self._programs[number]

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """Run the current program once. Raises NoAnswer."""
        current = self._current
        assert current is not None
        given = self._reuse_arrays(*present_arrays(regime, parameters, x, y))
        before = _contents(given)
        with _as_no_answer():
            observed = current.program(*given)
        problems = [] if _contents(given) == before else ["inputs were modified in place"]
        if current.first is None:
            current.first = observed, _bytes(observed)
        return examine_form(observed, current.structure, problems, self._adapter.result_dtypes)

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """`call_in_turn` of this runner, in one request."""
        return call_in_turn(self.call, regime, turn, count)

    def _reuse_arrays(self, parameters: Parameters, x: Array, y: Array) -> tuple[Parameters, Array, Array]:
        """The arrays of a call. Where they hold the same as in the previous call, the same array objects are passed
        again, as in training, where one x is passed again and again.
        """
        given = [*parameters.weights, *parameters.biases, x, y]
        if len(given) == len(self._given):
            given = [old if _same_array(old, new) else new for old, new in zip(self._given, given, strict=True)]
        self._given, depth = given, len(parameters.weights)
        return Parameters(tuple(given[:depth]), tuple(given[depth:-2])), given[-2], given[-1]

    def script(self, structure: Structure) -> Script:
        """The adapter's own calls for a structure, as source. Raises NoAnswer if the adapter has none."""
        with _as_no_answer():
            return self._adapter.script(structure)

    def changed_since(self) -> bool:
        """Whether a later call, of this or another program, has overwritten the current program's first observation."""
        first = None if self._current is None else self._current.first
        return first is not None and _bytes(first[0]) != first[1]


class _as_no_answer:
    """Turns whatever a framework raises, including SystemExit, into NoAnswer. A keyboard interrupt is the user's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        raised = "unsupported" if isinstance(error, NotImplementedError) else "raised"
        raise NoAnswer(raised, describe_error(error)) from None


def _same_array(a: Array, b: Array) -> bool:
    form = (a.shape, a.dtype, a.strides, a.flags.writeable) == (b.shape, b.dtype, b.strides, b.flags.writeable)
    return form and a.tobytes() == b.tobytes()


def _contents(given: tuple[Parameters, Array, Array]) -> list[bytes]:
    parameters, x, y = given
    return [a.tobytes() for a in (*parameters.weights, *parameters.biases, x, y)]


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
