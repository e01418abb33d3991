"""The contract between the suite and a framework: what an adapter declares, and what its programs answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..reference import ACTIVATIONS, BIASES, Array, Bias, Parameters, Structure
from .layout import IN_OUT, WeightLayout
from .scripts.script import Call, Script

Function = Callable[..., Any]


@dataclass(frozen=True)
class Observation:
    """What a framework answered for one batch, as NumPy arrays in the structure's dtype.

    With B rows, depth n and widths n_0..n_n: `outputs` x_n (B, n_n); `error` E, a scalar array; `weight_gradients` in
    the adapter's own weight layout; `bias_gradients` (n_i,), empty when there are no biases. Where the framework can
    show them: `z` (z_1..z_n), `x` (x_1..x_n) and `k` (k_1..k_n), each (B, n_i).
    """

    outputs: Array
    error: Array
    weight_gradients: tuple[Array, ...]
    bias_gradients: tuple[Array, ...] = ()
    z: tuple[Array, ...] | None = None
    x: tuple[Array, ...] | None = None
    k: tuple[Array, ...] | None = None


Program = Callable[[Parameters, Array, Array], Observation]


class Adapter(ABC):
    """Wraps one framework. A subclass declares what the framework offers and writes `build`.

    `activations` maps each canonical name to the framework's own function of (z, **parameters): the parameters, such as
    `slope`, are passed by keyword from the table in `kterm.reference`, never left to the framework's default.
    """

    name: str
    version: str
    """The framework's version, as the framework prints it."""
    weight_layout: WeightLayout = IN_OUT
    dtypes: tuple[str, ...] = ("f64", "f32")
    activations: Mapping[str, Callable[..., Any]]
    biases: tuple[Bias, ...] = BIASES
    max_structures: int | None = None
    """The most structures a profile plans for this adapter: a small sample where each is dear. None is no limit."""
    slopes_at_kinks: Mapping[str, Mapping[float, float]] = MappingProxyType({})
    """By canonical name and kink, the f' that the framework takes exactly there, and is then held to. Where nothing is
    declared, any slope between the one-sided derivatives is right at the kink.
    """
    planted_mutant: str | None = None
    """The name of the mutant that the suite has planted in this adapter; an adapter does not set it."""

    def __init__(self, device: str = "cpu") -> None:
        """Choose where programs run. Raises ValueError, naming what there is, for a device not in `devices()`."""
        found = self.devices()
        if isinstance(found, str):
            raise ValueError(f"devices: {self.name} gives {found!r}; return ({found!r},)")
        if device not in found:
            raise ValueError(f"device: {self.name} has no {device!r} here; it has {', '.join(found)}")
        self.device = device

    def devices(self) -> tuple[str, ...]:
        """The devices that this machine has and the framework can use, each by every name that `__init__` takes."""
        return ("cpu",)

    @abstractmethod
    def build(self, structure: Structure) -> Program:
        """Prepare, and compile if need be, one structure.

        The program is called as `program(parameters, x, y)`, as often as there are draws. It gets NumPy arrays in the
        structure's dtype, with weights in the adapter's `weight_layout`; it must not change them; and it gives an
        `Observation` with weight gradients in that same layout. Raise NotImplementedError for what is not supported.
        """

    def program(self, structure: Structure) -> Program:
        """`build`, with weights and weight gradients in the canonical (in, out) layout on both sides."""
        self.require(structure)
        native, layout = self.build(structure), self.weight_layout

        def canonical(parameters: Parameters, x: Array, y: Array) -> Observation:
            weights = tuple(layout.to_native(weight) for weight in parameters.weights)
            observed = native(replace(parameters, weights=weights), x, y)
            if not isinstance(observed, Observation):
                raise TypeError(f"the program gave a {type(observed).__name__}; it should give an Observation")
            return replace(
                observed, weight_gradients=tuple(layout.from_native(gradient) for gradient in observed.weight_gradients)
            )

        return canonical

    def functions(self, structure: Structure) -> tuple[Callable[[Any], Any], ...]:
        """The framework's activation of each layer, its parameters bound, as a function of z alone.

        Raises NotImplementedError, as `require` does, for a structure that is not declared.
        """
        self.require(structure)
        return tuple(
            partial(self.activations[name], **ACTIVATIONS[name].parameters) for name in structure.network.activations
        )

    @property
    def has_script(self) -> bool:
        """Whether the class writes scripts: whether it has a method `script` of its own."""
        return type(self).script is not Adapter.script

    def script(self, structure: Structure) -> Script:
        """The calls that `build`'s program makes, as the source of a script: what reproducers are made of. Raises
        NotImplementedError, in one line, where the adapter has none.
        """
        raise NotImplementedError(
            f"{self.name} has no script; give its class a method script(structure) that returns a kterm.adapters.Script"
        )

    def spell(self, name: str, z: str) -> str:
        """The call of an activation in a script, of the variable that `z` names. Raises NotImplementedError for one
        that is not declared as a `Call`.
        """
        call = self.activations[name]
        if not isinstance(call, Call):
            raise NotImplementedError(f"{self.name} has no script: its {name} is not a kterm.adapters.Call")
        return call.source(z, ACTIVATIONS[name].parameters)

    def require(self, structure: Structure) -> None:
        """Raise NotImplementedError, naming what is missing, for a structure outside what the adapter declares."""
        asked = ({structure.dtype}, set(structure.network.activations), {structure.network.bias})
        offered = (set(self.dtypes), set(self.activations), set(self.biases))
        for kind, wanted, there in zip(("dtype", "activation", "bias placement"), asked, offered, strict=True):
            if wanted - there:
                raise NotImplementedError(f"{self.name} has no {kind} {', '.join(sorted(wanted - there))}")
