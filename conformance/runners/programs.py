"""The programs of an adapter in this process, and their calls. Whatever keeps one from answering becomes `NoAnswer`.

This module and all that it imports need NumPy alone, since hosts run in environments where nothing else is installed.
"""

import copy
from dataclasses import dataclass

import numpy as np

from ...adapters import IN_OUT, OUT_IN, Adapter, Observation, Program, Script, WeightLayout
from ...adapters.registry import describe_error, describe_raised
from ...reference import Array, Parameters, Structure
from ..cases.memory import arrange

LAYOUTS: dict[str, WeightLayout] = {layout.name: layout for layout in (IN_OUT, OUT_IN)}


class NoAnswer(Exception):
    """An adapter gave no answer. `kind` is raised, unsupported, died, hung or "broke the protocol"; the message is one
    line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    @property
    def lost(self) -> bool:
        """Whether the adapter's process is gone, and every program in it."""
        return self.kind not in ("raised", "unsupported")


@dataclass
class _Built:
    """A program that can be called, and what it returned first."""

    program: Program
    first: Observation | None = None


class Programs:
    """The programs of one adapter, by number."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._built: dict[int, _Built] = {}
        self._count = 0
        self._given: list[Array] = []

    def build(self, structure: Structure, layout: str | None = None) -> int:
        """Build the program of a structure, with the layout of this name in place of the declared one if it is given.
        Gives the program's number. Raises NoAnswer.
        """
        adapter = self._adapter
        if layout is not None:
            adapter = copy.copy(adapter)
            adapter.weight_layout = LAYOUTS[layout]
        with as_no_answer():
            program = adapter.program(structure)
        self._count += 1
        self._built[self._count] = _Built(program)
        return self._count

    def release(self, number: int) -> None:
        """Forget a program."""
        del self._built[number]

    def call(
        self, number: int, memory: str | None, parameters: Parameters, x: Array, y: Array
    ) -> tuple[Observation, bool]:
        """Run a program once: what it returned, unchecked, and whether it changed its inputs. Raises NoAnswer."""
        built = self._built[number]
        given = self._reuse_arrays(*arrange(memory, parameters, x, y))
        before = _contents(given)
        with as_no_answer():
            observed = built.program(*given)
        if built.first is None:
            built.first = observed
        return observed, _contents(given) != before

    def first(self, number: int) -> Observation | None:
        """The object that the first call of a program returned, as it is now."""
        return self._built[number].first

    def script(self, structure: Structure) -> Script:
        """The adapter's own calls for a structure, as source. Raises NoAnswer if the adapter has none."""
        with as_no_answer():
            return self._adapter.script(structure)

    def _reuse_arrays(self, parameters: Parameters, x: Array, y: Array) -> tuple[Parameters, Array, Array]:
        """The arrays of a call. Where they hold the same as in the previous call, the same array objects are passed
        again, as in training, where one x is passed again and again.
        """
        given = [*parameters.weights, *parameters.biases, x, y]
        if len(given) == len(self._given):
            given = [old if _same_array(old, new) else new for old, new in zip(self._given, given, strict=True)]
        self._given, depth = given, len(parameters.weights)
        return Parameters(tuple(given[:depth]), tuple(given[depth:-2])), given[-2], given[-1]


class as_no_answer:
    """Turns whatever a framework raises, including SystemExit, into NoAnswer. A keyboard interrupt is the user's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, NotImplementedError):
            raise NoAnswer("unsupported", describe_error(error)) from None
        raise NoAnswer("raised", describe_raised(error)) from None


def _same_array(a: Array, b: Array) -> bool:
    form = (a.shape, a.dtype, a.strides, a.flags.writeable) == (b.shape, b.dtype, b.strides, b.flags.writeable)
    return form and a.tobytes() == b.tobytes()


def _contents(given: tuple[Parameters, Array, Array]) -> list[bytes]:
    parameters, x, y = given
    return [np.ndarray.tobytes(a) for a in (*parameters.weights, *parameters.biases, x, y)]
