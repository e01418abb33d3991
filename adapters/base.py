"""The contract between the suite and a framework: what an adapter declares, and what its programs return."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from ..reference import ACTIVATIONS, BIASES, Array, Bias, Parameters, Structure, base_of, name_with
from ..reference.arithmetic import Arithmetic
from .layout import IN_OUT, WeightLayout
from .limits import Limits
from .scripts.script import Call, Script

Function = Callable[..., Any]


@dataclass(frozen=True)
class Observation:
    """What a framework computed for one batch, as NumPy arrays in the structure's dtype.

    For a batch of B rows, depth n and widths n_0..n_n: `outputs` is x_n, of shape (B, n_n). `error` is E, a scalar
    array. `weight_gradients` holds dE/dW_1..dE/dW_n, in the adapter's own weight layout. `bias_gradients` holds
    dE/db_1..dE/db_n, each of shape (n_i,), and is empty for a network without biases.

    The others are optional: `z` is (z_1..z_n), `x` is (x_1..x_n) and `k` is (k_1..k_n), each of shape (B, n_i).
    """

    outputs: Array
    error: Array
    weight_gradients: tuple[Array, ...]
    bias_gradients: tuple[Array, ...] = ()
    z: tuple[Array, ...] | None = None
    x: tuple[Array, ...] | None = None
    k: tuple[Array, ...] | None = None


Program = Callable[[Parameters, Array, Array], Observation]
"""What `Adapter.build` returns: takes the parameters, `x` of shape (B, n_0) and `y` of shape (B, n_n), in the dtype of
the structure, and returns what the framework gives for them.
"""


class Adapter(ABC):
    """Runs one framework. A subclass declares what the framework offers and implements `build`.

    `activations` maps canonical names to the framework's own functions of (z, **parameters). The parameters, such as
    `slope`, come from the table in `kterm.reference` and are passed by keyword.
    """

    name: str
    version: str
    """The framework's version."""
    framework: str = ""
    """The framework that computes, such as "jax" for a library built on JAX: known divergences are listed by framework.
    Empty if it is the adapter's own, of its name.
    """
    framework_version: str = ""
    """That framework's version, if `version` is another's."""
    weight_layout: WeightLayout = IN_OUT
    dtypes: tuple[str, ...] = ("f64", "f32")
    activations: Mapping[str, Callable[..., Any]]
    biases: tuple[Bias, ...] = BIASES
    max_structures: int | None = None
    """The most structures that a run plans for this adapter, at least 1. None means no limit."""
    limits: Limits | None = None
    """How large a network the framework can bear, and which forms it has. The plan is cut to it."""
    result_dtypes: Mapping[str, str] = MappingProxyType({})
    """The dtype of results that always come back in a wider one than is asked for, by quantity: {"E": "f64"}. The
    quantities are outputs, E, z, x, k, dE/dW and dE/db. They are rounded to the dtype asked for.
    """
    fixed_parameters: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    """The values of activations' parameters that the framework does not let one set, by activation and parameter:
    {"leaky_relu": {"slope": 0.2}}. Its networks then have these values.
    """
    slopes_at_kinks: Mapping[str, Mapping[float, float]] = MappingProxyType({})
    """The slope f' that the framework takes exactly at a kink, by activation and kink. The suite then accepts only that
    slope there. At any other kink it accepts every slope between the one-sided derivatives.
    """
    arithmetic: Mapping[str, Arithmetic] = MappingProxyType({})
    """The arithmetic of matrix products by dtype, where it is not the usual one. Every tolerance follows from it. It
    may be a property that depends on the device.
    """
    zero_width: bool = False
    """Whether layers may have no units. The suite then plans some such networks, too."""
    propagates: tuple[str, ...] = ()
    """What the framework promises not to lose on the way: some of "nan" and "inf". `kterm nonfinite` holds it to that.
    """
    planted_mutant: str | None = None
    """The name of the mutant that the suite has planted in this adapter. Adapters do not set it."""

    def __init__(self, device: str = "cpu") -> None:
        """Choose the device that programs run on. Raises ValueError for one that is not in `devices()`."""
        found = self.devices()
        if isinstance(found, str):
            raise ValueError(f"devices: {self.name} gives {found!r}; return ({found!r},)")
        if device not in found:
            raise ValueError(f"device: {self.name} has no {device!r} here; it has {', '.join(found)}")
        self.device = device

    @property
    def original(self) -> "Adapter":
        """This adapter; with a mutant planted in it, the one without the mutant."""
        return self

    def devices(self) -> tuple[str, ...]:
        """The names of the devices that the framework can use on this machine. `__init__` takes each of them."""
        return ("cpu",)

    def error_scale(self, structure: Structure) -> float:
        """E divided by the loss that programs of a structure return and differentiate: 1 if they return E.

        For a framework that has only a loss of its own, a mean over rows or over all entries say. The base class then
        multiplies the error, every gradient and every k_i by the factor, in the dtype in which they come.
        """
        return 1.0

    @abstractmethod
    def build(self, structure: Structure) -> Program:
        """Prepare one structure, and compile it if the framework compiles.

        The suite calls the program as `program(parameters, x, y)`, once for each draw. The arguments are NumPy arrays
        in the structure's dtype, with weights in the adapter's `weight_layout`; the program must not change them. It
        returns an `Observation` with weight gradients in that same layout. Raise NotImplementedError for a structure
        that the framework does not support.
        """

    def program(self, structure: Structure) -> Program:
        """Build a program that takes weights, and returns weight gradients, in the canonical layout (in, out)."""
        self.require(structure)
        native, layout, scale = self.build(structure), self.weight_layout, self.error_scale(structure)

        def canonical(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights = tuple(layout.to_native(weight) for weight in parameters.weights)
            observed = native(replace(parameters, weights=weights), x, y)
            if not isinstance(observed, Observation):
                raise TypeError(f"the program returned a {type(observed).__name__}; it should return an Observation")
            if scale != 1:
                observed = rescaled(observed, scale)
            # A gradient that is None stays None, for the check of the form.
            gradients = (None if g is None else layout.from_native(g) for g in observed.weight_gradients)
            return replace(observed, weight_gradients=tuple(gradients))

        return canonical

    def functions(self, structure: Structure) -> tuple[Callable[[Any], Any], ...]:
        """The framework's activation of each layer, as a function of z: its parameters are bound.

        Raises NotImplementedError, as `require` does, for a structure that is not declared.
        """
        self.require(structure)
        return tuple(
            partial(self.activations[base_of(name)], **ACTIVATIONS[name].parameters)
            for name in structure.network.activations
        )

    @property
    def activation_names(self) -> tuple[str, ...]:
        """The names of the activations that its networks have: `leaky_relu_0d2` for a leaky_relu with a fixed slope of
        0.2.
        """
        return tuple(name_with(name, self.fixed_parameters.get(name, {})) for name in self.activations)

    @property
    def has_script(self) -> bool:
        """Whether the class writes scripts: whether it has a method `script` of its own."""
        return type(self).script is not Adapter.script

    def script(self, structure: Structure) -> Script:
        """The calls that the program of `build` makes, as source. `kterm reproduce` writes scripts from it.

        Raises NotImplementedError, in one line, if the adapter has none.
        """
        raise NotImplementedError(
            f"{self.name} has no script; give its class a method script(structure) that returns a kterm.adapters.Script"
        )

    def spell(self, name: str, z: str) -> str:
        """The source of a call of an activation; `z` is the name of the variable that it takes.

        Raises NotImplementedError if the activation is not declared as a `Call`.
        """
        call = self.activations[base_of(name)]
        if not isinstance(call, Call):
            raise NotImplementedError(f"{self.name} has no script: its {name} is not a kterm.adapters.Call")
        return call.source(z, ACTIVATIONS[name].parameters)

    def require(self, structure: Structure) -> None:
        """Raise NotImplementedError for a structure that the adapter does not declare, or that is outside its limits,
        with what is missing.
        """
        free = {name for name in self.activations if name not in self.fixed_parameters}
        names = {base_of(name) if base_of(name) in free else name for name in structure.network.activations}
        asked = ({structure.dtype}, names, {structure.network.bias})
        offered = (set(self.dtypes), set(self.activation_names), set(self.biases))
        for kind, wanted, there in zip(("dtype", "activation", "bias placement"), asked, offered, strict=True):
            if wanted - there:
                raise NotImplementedError(f"{self.name} has no {kind} {', '.join(sorted(wanted - there))}")
        if not self.zero_width and 0 in structure.network.widths:
            raise NotImplementedError(f"{self.name} has no layers without units; it does not declare zero_width")
        if self.limits is not None and (problem := self.limits.problem_of(structure)):
            raise NotImplementedError(f"{self.name}: {problem}")


def rescaled(observed: Observation, factor: float) -> Observation:
    """The observation with the error and all that is differentiated from it multiplied by a factor."""

    def times(array: Any) -> Any:
        # Something that is no array stays as it is, for the check of the form.
        return np.multiply(array, factor, dtype=array.dtype) if isinstance(array, np.ndarray | np.generic) else array

    def each(some: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(map(times, some))

    return replace(
        observed,
        error=times(observed.error),
        weight_gradients=each(observed.weight_gradients),
        bias_gradients=each(observed.bias_gradients),
        k=None if observed.k is None else each(observed.k),
    )
