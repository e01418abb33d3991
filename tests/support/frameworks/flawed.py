"""Frameworks with one thing wrong in their own calls.

An adapter's results and its scripts are wrong in the same way, so a reproducer must show the failure.
"""

import os
import signal
from dataclasses import replace

import numpy as np

from kterm.adapters import Observation, Program, Script
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import Array, Parameters, Structure


class _Flawed(Numpy):
    """The reference, its answers and its scripts both changed."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)
        return lambda parameters, x, y: self.spoilt(program(parameters, x, y), parameters, x, y)

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        """The answer that is given."""
        return observed

    def script(self, structure: Structure) -> Script:
        script = super().script(structure)
        return replace(script, framework="Flawed", **self.source(script))

    def source(self, script: Script) -> dict:
        """What is changed of the script."""
        return {}


class MeanOverBatch(_Flawed):
    """Weight gradients are averaged over the batch."""

    name = "mean-over-batch"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(observed, weight_gradients=tuple(g / g.dtype.type(len(x)) for g in observed.weight_gradients))

    def source(self, script: Script) -> dict:
        return {"shown": {n: f"{e} / len(x)" if n.startswith("dE/dW") else e for n, e in script.shown.items()}}


class Late(MeanOverBatch):
    """Does so once weights are not those of the first call."""

    name = "late"

    def build(self, structure: Structure) -> Program:
        right, wrong = Numpy.build(self, structure), super().build(structure)
        first: list[bytes] = []

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            first.append(x.tobytes() + parameters.weights[0].tobytes())
            moved = first[0] != first[-1] and first[0][: x.nbytes] == first[-1][: x.nbytes]
            return (wrong if moved else right)(parameters, x, y)

        return program


class NotANumber(_Flawed):
    """The error of a batch is NaN."""

    name = "not-a-number"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(observed, error=observed.error * observed.error.dtype.type(np.nan))

    def source(self, script: Script) -> dict:
        return {"calls": f"{script.calls}\nE = E * np.nan"}


class Misshapen(_Flawed):
    """Bias gradients are rows."""

    name = "misshapen"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(observed, bias_gradients=tuple(b[None] for b in observed.bias_gradients))

    def source(self, script: Script) -> dict:
        return {"shown": {n: f"({e})[None]" if n.startswith("dE/db") else e for n, e in script.shown.items()}}


class Raises(_Flawed):
    """A kernel cannot be launched."""

    name = "raises"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        raise RuntimeError("no kernel for this shape")

    def source(self, script: Script) -> dict:
        return {"calls": f'{script.calls}\nraise RuntimeError("no kernel for this shape")'}


class Dies(_Flawed):
    """A call kills its process."""

    name = "dies"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        os.kill(os.getpid(), signal.SIGKILL)
        return observed

    def source(self, script: Script) -> dict:
        return {"calls": f"{script.calls}\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"}


class Modifies(_Flawed):
    """Subtracts the targets' mean from them in place."""

    name = "modifies"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        y -= y.mean()
        return observed

    def source(self, script: Script) -> dict:
        return {"calls": f"{script.calls}\ny -= y.mean()"}


class Unsteady(_Flawed):
    """Every later call of a program is off in its last places."""

    name = "unsteady"

    def build(self, structure: Structure) -> Program:
        program, calls = Numpy.build(self, structure), list[int]()

        def later(parameters: Parameters, x: Array, y: Array) -> Observation:
            calls.append(1)
            observed = program(parameters, x, y)
            scale = observed.error.dtype.type(1 + (len(calls) > 1) * 2.0**-50)
            return replace(observed, error=observed.error * scale)

        return later

    def source(self, script: Script) -> dict:
        calls = f"{script.calls}\ncounted.append(1)\nE = E * (1 + (len(counted) > 1) * 2.0**-50)"
        return {"setup": f"counted = []\n{script.setup}".strip(), "calls": calls}


class Overwrites(_Flawed):
    """Gives views into one buffer, which every call writes to."""

    name = "overwrites"

    def build(self, structure: Structure) -> Program:
        program, buffers = Numpy.build(self, structure), list[Array]()

        def into(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed = program(parameters, x, y)
            if not buffers:
                buffers.append(np.empty_like(observed.outputs))
            buffers[0][...] = observed.outputs
            return replace(observed, outputs=buffers[0])

        return into

    def source(self, script: Script) -> dict:
        last = script.shown["outputs"]
        calls = f'{script.calls}\nout = buffers.setdefault("out", np.empty_like({last}))\nout[...] = {last}'
        return {
            "setup": f"buffers = {{}}\n{script.setup}".strip(),
            "calls": calls,
            "shown": {**script.shown, "outputs": "out"},
        }


class RowsMeet(_Flawed):
    """Where a row of the batch needs no correction, the weight gradient is twice what it should be."""

    name = "rows-meet"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        twice = observed.outputs.dtype.type(1 + (observed.outputs == y).all(1).any())
        return replace(observed, weight_gradients=tuple(g * twice for g in observed.weight_gradients))

    def source(self, script: Script) -> dict:
        twice = f"(1 + ({script.shown['outputs']} == y).all(1).any())"
        return {"shown": {n: f"{e} * {twice}" if n.startswith("dE/dW") else e for n, e in script.shown.items()}}


class OnlyTheAdapter(_Flawed):
    """What the framework does is right; the adapter hands its gradients on with the wrong sign."""

    name = "only-the-adapter"

    def spoilt(self, observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(observed, weight_gradients=tuple(-g for g in observed.weight_gradients))


class NoScript(OnlyTheAdapter):
    """It has no script either."""

    name = "no-script"

    def script(self, structure: Structure) -> Script:
        raise NotImplementedError("no-script has no script")
