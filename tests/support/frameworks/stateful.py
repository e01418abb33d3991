"""Frameworks that keep something from call to call, or from program to program, and should not.

What a framework keeps for all its programs is kept by the adapter, so that a new adapter is a new process. Their
scripts keep the same in the same way: for a program in `setup`, for the framework in `preamble`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kterm.adapters import Adapter, Observation, Program, Script
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Parameters, Structure


class NewAdapterRunner(LocalRunner):
    """A runner whose `start` makes a new adapter, as a new process would."""

    def __init__(self, make: Callable[[], Adapter]) -> None:
        super().__init__(make())
        self._make = make
        self.starts = 0

    def start(self) -> None:
        """Have everything that follows begin with a new adapter."""
        super().__init__(self._make())
        self.starts += 1


class _Stateful(Numpy):
    """The reference with something kept. `keep` changes the call and its results, given what the program kept."""

    def build(self, structure: Structure) -> Program:
        program, kept = super().build(structure), dict[str, Any]()
        return lambda parameters, x, y: self.keep(kept, program, parameters, x, y)

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        """What one call gives."""
        return program(parameters, x, y)

    def script(self, structure: Structure) -> Script:
        script = replace(super().script(structure), framework="Flawed")
        script = replace(script, **self.source(script, structure))
        uses_kept = any("kept" in text for text in (script.calls, *script.shown.values()))
        return replace(script, setup=f"kept = {{}}\n\n\n{script.setup}".strip()) if uses_kept else script

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        """What is changed of the script."""
        return {}


def _first_gradient(observed: Observation, gradient: Array) -> Observation:
    return replace(observed, weight_gradients=(gradient, *observed.weight_gradients[1:]))


class StaleInputs(_Stateful):
    """The first weight gradient is made with the inputs of the call before."""

    name = "stale-inputs"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        before, kept["x"] = kept.get("x", x), x
        observed = program(parameters, x, y)
        assert observed.k is not None
        return _first_gradient(observed, before.T @ observed.k[0])

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        return {
            "calls": f'before, kept["x"] = kept.get("x", x), x\n{script.calls}',
            "shown": {**script.shown, "dE/dW_1": "before.T @ k_1"},
        }


class StaleTargets(_Stateful):
    """The targets are those of the call before."""

    name = "stale-targets"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        before, kept["y"] = kept.get("y", y), y
        return program(parameters, x, before)

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        return {"calls": f'y, kept["y"] = kept.get("y", y), y\n{script.calls}'}


class FirstWeights(_Stateful):
    """The weights of the first call are compiled in."""

    name = "first-weights"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        return program(kept.setdefault("parameters", parameters), x, y)

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        first = 'weights = kept.setdefault("weights", weights)'
        if structure.network.bias != "none":
            first += '\nbiases = kept.setdefault("biases", biases)'
        return {"calls": f"{first}\n{script.calls}"}


class BiasesAccumulated(_Stateful):
    """The last bias gradient is added to that of the call before."""

    name = "biases-accumulated"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = program(parameters, x, y)
        if not observed.bias_gradients:
            return observed
        kept["db"] = kept.get("db", 0) + observed.bias_gradients[-1]
        return replace(observed, bias_gradients=(*observed.bias_gradients[:-1], kept["db"]))

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        if structure.network.bias == "none":
            return {}
        name = f"dE/db_{structure.network.depth}"
        return {
            "calls": f'{script.calls}\nkept["db"] = kept.get("db", 0) + {script.shown[name]}',
            "shown": {**script.shown, name: 'kept["db"]'},
        }


class ZeroedOnEvenCalls(_Stateful):
    """The buffer of the first weight gradient is set to zero before every other call only."""

    name = "zeroed-on-even-calls"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = program(parameters, x, y)
        kept["calls"] = kept.get("calls", 0) + 1
        kept["dW"] = observed.weight_gradients[0] + (kept["dW"] if kept["calls"] % 2 == 0 else 0)
        return _first_gradient(observed, kept["dW"])

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        lines = [
            'kept["calls"] = kept.get("calls", 0) + 1',
            f'kept["dW"] = {script.shown["dE/dW_1"]} + (kept["dW"] if kept["calls"] % 2 == 0 else 0)',
        ]
        return {"calls": "\n".join([script.calls, *lines]), "shown": {**script.shown, "dE/dW_1": 'kept["dW"]'}}


class Momentum(_Stateful):
    """Half of the weight gradient of the call before is left in the first weight gradient."""

    name = "momentum"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = program(parameters, x, y)
        own = observed.weight_gradients[0]
        kept["dW"] = own + own.dtype.type(0.5) * kept.get("dW", np.zeros_like(own))
        return _first_gradient(observed, kept["dW"])

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        own = script.shown["dE/dW_1"]
        lines = [f"own = {own}", 'kept["dW"] = own + own.dtype.type(0.5) * kept.get("dW", np.zeros_like(own))']
        return {"calls": "\n".join([script.calls, *lines]), "shown": {**script.shown, "dE/dW_1": 'kept["dW"]'}}


class OneIn300(_Stateful):
    """Every 300th call of a program has a first weight gradient that is off by 1/64."""

    name, period = "one-in-300", 300

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed, kept["calls"] = program(parameters, x, y), kept.get("calls", 0) + 1
        own = observed.weight_gradients[0]
        return _first_gradient(observed, own * own.dtype.type(65 / 64 if kept["calls"] % self.period == 0 else 1))

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        lines = [
            'kept["calls"] = kept.get("calls", 0) + 1',
            f'off = 65 / 64 if kept["calls"] % {self.period} == 0 else 1',
        ]
        shown = {**script.shown, "dE/dW_1": f"({script.shown['dE/dW_1']}) * off"}
        return {"calls": "\n".join([script.calls, *lines]), "shown": shown}


class _Kept(_Stateful):
    """Something is kept for all programs of the framework."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.kept: dict[Any, Any] = {}

    def script(self, structure: Structure) -> Script:
        script = super().script(structure)
        return replace(script, preamble=f"{script.preamble}\n\nframework = {{}}  # what the framework keeps")


class Every37th(_Kept):
    """Every 37th call of any program gives an E that is off by 1/64."""

    name = "every-37th"

    def keep(self, kept: dict[str, Any], program: Program, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = program(parameters, x, y)
        self.kept["calls"] = self.kept.get("calls", 0) + 1
        off = observed.error.dtype.type(65 / 64 if self.kept["calls"] % 37 == 0 else 1)
        return replace(observed, error=np.asarray(observed.error * off))

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        lines = [
            'framework["calls"] = framework.get("calls", 0) + 1',
            'E = E * (65 / 64 if framework["calls"] % 37 == 0 else 1)',
        ]
        return {"calls": "\n".join([script.calls, *lines])}


def _shape(structure: Structure) -> tuple:
    return structure.network.widths, structure.batch, structure.network.bias


class DtypeForgotten(_Kept):
    """Programs are cached without their dtype: a second one computes in the dtype of the first."""

    name = "dtype-forgotten"

    def build(self, structure: Structure) -> Program:
        key = (*_shape(structure), structure.network.activations)
        own = self.kept.setdefault(key, structure)
        program = Numpy.build(self, own)

        def cast(array: Array) -> Array:
            return array.astype(own.format.numpy)

        def called(parameters: Parameters, x: Array, y: Array) -> Observation:
            given = Parameters(tuple(map(cast, parameters.weights)), tuple(map(cast, parameters.biases)))
            return _cast_all(program(given, cast(x), cast(y)), structure.format.numpy)

        return called

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        key, long = repr((*_shape(structure), structure.network.activations)), structure.format.numpy.name
        lines = [
            f"dtype = framework.setdefault({key}, np.dtype(np.{long}))",
            "weights, x, y = [w.astype(dtype) for w in weights], x.astype(dtype), y.astype(dtype)",
        ]
        if structure.network.bias != "none":
            lines.append("biases = [b.astype(dtype) for b in biases]")
        shown = {name: f"np.asarray({text}).astype(np.{long})" for name, text in script.shown.items()}
        return {"calls": "\n".join([*lines, script.calls]), "shown": shown}


def _cast_all(observed: Observation, dtype: np.dtype) -> Observation:
    def cast(value: Any) -> Any:
        return tuple(a.astype(dtype) for a in value) if isinstance(value, tuple) else np.asarray(value).astype(dtype)

    names = ("outputs", "error", "weight_gradients", "bias_gradients", "z", "x", "k")
    return Observation(**{name: cast(getattr(observed, name)) for name in names})


class ActivationsForgotten(_Kept):
    """Programs are cached without their activations: a second one runs the first."""

    name, last_wins = "activations-forgotten", False

    def build(self, structure: Structure) -> Program:
        key = (*_shape(structure), structure.dtype)
        if self.last_wins or key not in self.kept:
            self.kept[key] = Numpy.build(self, structure)
        return lambda parameters, x, y: self.kept[key](parameters, x, y)

    def source(self, script: Script, structure: Structure) -> dict[str, Any]:
        key, given = (*_shape(structure), structure.dtype), "weights, x, y"
        if structure.network.bias != "none":
            given = "weights, biases, x, y"
        body = [*script.calls.splitlines(), "return {"]
        body += [f'    "{name}": {text},' for name, text in script.shown.items()]
        function = "\n".join([f"def compute({given}):", *(f"    {line}" for line in body), "    }"])
        keep = f"framework[{key}] = compute" if self.last_wins else f"framework.setdefault({key}, compute)"
        return {
            "setup": f"{script.setup}\n\n\n{function}\n\n\n{keep}".strip(),
            "calls": f"found = framework[{key}]({given})",
            "shown": {name: f'found["{name}"]' for name in script.shown},
        }


class LastBuilt(ActivationsForgotten):
    """All programs of a shape run the one that was built last."""

    name, last_wins = "last-built", True
