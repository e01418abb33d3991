"""The arrays of an observation by name: outputs, E, z_1, x_1, k_1, dE/dW_1, dE/db_1, ..."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..reference import Array, Structure
from . import Observation


def arrays(observed: Observation) -> dict[str, Array]:
    """The arrays of an observation by their names in reports: outputs, E, z_1, ..., dE/dW_1, ..."""
    return {name: a for name, a, _ in parts(observed, None)}


def with_arrays(observed: Observation, changed: Mapping[str, Array]) -> Observation:
    """Copy with the named arrays replaced."""

    def each(symbol: str, some: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(changed.get(f"{symbol}_{i}", array) for i, array in enumerate(some, 1))

    shown = zip("zxk", (observed.z, observed.x, observed.k), strict=True)
    return Observation(
        changed.get("outputs", observed.outputs),
        changed.get("E", observed.error),
        each("dE/dW", observed.weight_gradients),
        each("dE/db", observed.bias_gradients),
        *(None if values is None else each(symbol, values) for symbol, values in shown),
    )


def stack_arrays(observed: Sequence[Observation]) -> dict[str, Array]:
    """The arrays of D observations by name, each (D, ...). All observations hold the same quantities."""
    every = [arrays(one) for one in observed]
    return {name: np.stack([each[name] for each in every]) for name in every[0]}


def split_name(name: str) -> tuple[str, int | None]:
    """The symbol of a quantity and its layer, counted from 1: ("dE/dW", 2) for dE/dW_2. E and outputs have no layer."""
    symbol, _, layer = name.partition("_")
    return symbol, int(layer) if layer.isdigit() else None


def parts(observed: Observation, structure: Structure | None) -> list[tuple[str, Any, tuple[int, ...] | None]]:
    """(name, array, expected shape) for each array of an observation. Without a structure the shapes are None."""
    widths = structure.network.widths if structure else ()
    batch = structure.batch if structure else 0

    def rows(i: int) -> tuple[int, ...] | None:
        return (batch, widths[i]) if structure and i < len(widths) else None

    found: list[tuple[str, Any, tuple[int, ...] | None]] = [
        ("outputs", observed.outputs, rows(len(widths) - 1)),
        ("E", observed.error, () if structure else None),
    ]
    for symbol, values in (("z", observed.z), ("x", observed.x), ("k", observed.k)):
        found += [(f"{symbol}_{i}", value, rows(i)) for i, value in enumerate(values or (), 1)]
    for i, value in enumerate(observed.weight_gradients, 1):
        found.append((f"dE/dW_{i}", value, tuple(widths[i - 1 : i + 1]) if structure else None))
    for i, value in enumerate(observed.bias_gradients, 1):
        found.append((f"dE/db_{i}", value, tuple(widths[i : i + 1]) if structure else None))
    return found
