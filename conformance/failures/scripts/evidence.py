"""Evidence: one quantity of a failing answer beside what is right, from the inputs alone where that suffices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....adapters import Observation
from ....reference import Array, Network, Structure
from ....reference.propagation import Quantity, propagate
from ....reference.rounding import Conventions
from ...cases.draw import stacked
from ...cases.regimes import Draw
from ...checks.compare import departures, readings, stack_arrays, steps_of, tolerated


@dataclass(frozen=True)
class Evidence:
    """A quantity that departs: all that the framework gives of it, what is right and how far from it is no finding, and
    the entry `at` that is furthest out.

    `values` are the rule's own values of what it is computed from, by name and in float64, in the order of the
    computation, with the quantity itself last. `given` are those in whose place the framework's own stand: none where
    it is judged from the inputs alone.
    """

    quantity: str
    at: tuple[int, ...]
    observed: Array
    expected: Array
    tolerance: Array
    values: Mapping[str, Array]
    given: Mapping[str, Array]


def evidence(
    structure: Structure,
    one: Draw,
    observed: Observation,
    quantity: str,
    regime: str = "normal",
    conventions: Conventions | None = None,
) -> Evidence | None:
    """What speaks against a quantity of an observation, or None where nothing does.

    It is judged from the inputs alone, as anyone can check; and where the tolerance of the whole pass hides what is
    wrong, from the framework's own values before it. `one` is a single draw; `conventions` as of `compare`.
    """
    stack, views, (reading, _) = stacked([one]), stack_arrays([observed]), readings(structure, regime)
    wide, network = stack.astype(np.dtype(np.float64)), structure.network
    alone = propagate(network, wide.parameters, wide.x, wide.y, reading, None, conventions)
    name = _step(network, quantity)
    seen = views[quantity][0].astype(np.float64)
    for steps, shown in ((alone, frozenset[str]()), (_local(structure, stack, views, conventions, regime), views)):
        with np.errstate(over="ignore", invalid="ignore"):
            found = {step.name: step.estimate for step in steps}
        value, tolerance = found[name].value[0], tolerated(found[name], reading, regime)[0]
        ratio = departures(structure, value, seen, tolerance)
        if (ratio > 1).any():
            at = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
            # What is not judged: an infinity that is right, and what the rule has no number for.
            free = ~(np.abs(seen - value) <= tolerance) & ~(ratio > 1)
            path, given = _path(network, name, shown)
            return Evidence(
                quantity,
                at,
                seen,
                np.where(free, 0.0, value),
                np.where(free, np.inf, tolerance),
                {step: found[_step(network, step)].value[0] for step in (*path, name)},
                {step: views[step][0].astype(np.float64) for step in given},
            )
    return None


def _local(
    structure: Structure, stack: Draw, views: dict[str, Array], conventions: Conventions | None, regime: str
) -> Iterator[Quantity]:
    return steps_of(structure, stack, views, readings(structure, regime)[0], conventions)


def _step(network: Network, quantity: str) -> str:
    """The name of the step that computes a quantity: the outputs are the last x."""
    return f"x_{network.depth}" if quantity == "outputs" else quantity


def before(network: Network, name: str) -> tuple[str, ...]:
    """The quantities that a step takes, by name; the inputs are none."""
    depth, (symbol, _, number) = network.depth, name.rpartition("_")
    if name == "E":
        return ("outputs",)
    layer = int(number)
    if symbol == "z":
        return (f"x_{layer - 1}",) if layer > 1 else ()
    if symbol == "x":
        return (f"z_{layer}",)
    side = "outputs" if layer == depth else f"k_{layer + 1}"
    if symbol == "k":
        return (side, f"z_{layer}")
    if symbol == "dE/dW":
        return (*((f"x_{layer - 1}",) if layer > 1 else ()), f"k_{layer}")
    return (f"k_{layer}",) if network.bias == "pre" else (side,)


def _path(network: Network, name: str, shown: Mapping[str, Array] | frozenset[str]) -> tuple[list[str], list[str]]:
    """What a step is computed from, in the order of the computation, down to the inputs or to what is shown; and what
    of the latter it starts from.
    """
    path, given = set[str](), set[str]()
    ahead = list(before(network, name))
    while ahead:
        step = ahead.pop()
        if step in shown:
            given.add(step)
        elif (own := _step(network, step)) not in path:
            path.add(own)
            ahead += before(network, own)
    order = _order(network)
    return sorted(path, key=order.index), sorted(given, key=order.index)


def _order(network: Network) -> Sequence[str]:
    layers = range(1, network.depth + 1)
    forwards = [f"{symbol}_{i}" for i in layers for symbol in "zx"]
    return [*forwards, "outputs", "E", *(f"k_{i}" for i in reversed(layers))]
