"""Frameworks that give no answer: they raise, refuse, exit, die, hang or do not load."""

import os
import signal
import time

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import Array, Parameters, Structure


def _is_chosen(structure: Structure) -> bool:
    return structure.network.activations[0] == "relu"


class _Crashing(Numpy):
    """The reference, with something that happens before each call."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def call(parameters: Parameters, x: Array, y: Array) -> Observation:
            self.crash(structure, x)
            return program(parameters, x, y)

        return call

    def crash(self, structure: Structure, x: Array) -> None:
        """What happens before a call."""


class NotAnObservation(Numpy):
    """Answers with a tuple."""

    name = "not-an-observation"

    def build(self, structure: Structure) -> Program:
        return lambda parameters, x, y: (x, y)  # type: ignore[return-value]  (that is the mistake)


class Raises(_Crashing):
    """Raises in some structures, with a message of several lines."""

    name = "raises"

    def crash(self, structure: Structure, x: Array) -> None:
        if _is_chosen(structure):
            raise RuntimeError("kernel launch failed\nat line 3")


class Refuses(Numpy):
    """Does not support some structures, and says so."""

    name = "refuses"

    def build(self, structure: Structure) -> Program:
        if _is_chosen(structure):
            raise NotImplementedError("relu is not there yet")
        return super().build(structure)


class Exits(_Crashing):
    """Calls sys.exit in some structures."""

    name = "exits"

    def crash(self, structure: Structure, x: Array) -> None:
        if _is_chosen(structure):
            raise SystemExit(0)


class Dies(_Crashing):
    """Ends its process on some inputs, and writes rubbish to standard output before."""

    name = "dies"

    def crash(self, structure: Structure, x: Array) -> None:
        print("about to die", flush=True)
        if _is_chosen(structure) and x.size and x.flat[0] > 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Hangs(_Crashing):
    """Never answers in some structures."""

    name = "hangs"

    def crash(self, structure: Structure, x: Array) -> None:
        while _is_chosen(structure):
            time.sleep(1)


class DoesNotLoad(Numpy):
    """Fails when it is made."""

    name = "does-not-load"

    def __init__(self, device: str = "cpu") -> None:
        raise OSError("libfast.so: cannot open shared object file")
