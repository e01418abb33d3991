"""The type of one row of the set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from kterm.adapters import Adapter

from .engine import Engine, Function, Port, TableEngine

Make = Callable[[bool], Adapter]
"""Makes the adapter with the mistake; the argument says whether it shows z, x and k."""


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    `wrong` says what is wrong, as a bug report would. `make` makes the adapter that has it. `accepted` are regular
    expressions: if the first cause of a report names a mistake, it is right if one of them is found in its name or in
    what completes "the rule with ...". They were written before any report was seen. Empty means that no name is true.
    `dtypes` are those in which the run is made, and `shows` says where the mistake can show. `source` is where it was
    seen; empty if it was made up.
    """

    name: str
    wrong: str
    make: Make
    accepted: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("f32",)
    shows: str = "any case"
    source: str = ""


def mistake(
    engine: type[Engine],
    wrong: str,
    *accepted: str,
    dtypes: tuple[str, ...] = ("f32",),
    shows: str = "any case",
    source: str = "",
) -> Mistake:
    """A mistake of the small framework, named after its class: `MeanOfRow` is `mean-of-row`."""
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in engine.__name__).lstrip("-")
    return Mistake(name, wrong, lambda shown: Port(engine, shown, dtypes), accepted, dtypes, shows, source)


def of_activation(
    name: str,
    wrong: str,
    *accepted: str,
    f: Mapping[str, Function] | None = None,
    slope: Mapping[str, Function] | None = None,
    dtypes: tuple[str, ...] = ("f32",),
    shows: str = "layers with the activation",
    source: str = "",
) -> Mistake:
    """A mistake in activations: other functions of z in the forward pass (`f`), in the backward pass (`slope`)."""
    engine = partial(TableEngine, f=f or {}, slope=slope or {})
    return Mistake(name, wrong, lambda shown: Port(engine, shown, dtypes), accepted, dtypes, shows, source)
