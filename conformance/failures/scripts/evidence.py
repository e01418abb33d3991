"""Evidence: the observed values of one quantity that fails, the right values, and the tolerance of every entry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....adapters import Observation
from ....reference import Array, Network, Structure
from ....reference.arithmetic import Arithmetic
from ....reference.propagation import propagate
from ....reference.rounding import Conventions
from ...cases.draw import stacked
from ...cases.regimes import Draw
from ...checks.comparison.compare import departures, readings, stack_arrays, steps_of, tolerated


@dataclass(frozen=True)
class Evidence:
    """A quantity that departs from the rule, such as k_1: what the framework gives (`observed`), what is right
    (`expected`), and the `tolerance`, three float64 arrays of the quantity's shape. The entry at index `at` has the
    largest error in units of its tolerance.

    `values` are the rule's float64 values of the quantities that lead to it, by name in the order of the computation;
    the quantity itself is the last. `given` are the framework's own values that the computation starts from instead;
    empty if it starts from the inputs.
    """

    quantity: str
    at: tuple[int, ...]
    observed: Array
    expected: Array
    tolerance: Array
    values: Mapping[str, Array]
    given: Mapping[str, Array]


def find_evidence(
    structure: Structure,
    one: Draw,
    observed: Observation,
    quantity: str,
    regime: str = "normal",
    conventions: Conventions | None = None,
    arithmetic: Arithmetic | None = None,
) -> Evidence | None:
    """The evidence that a quantity of an observation is wrong, or None if it is within its tolerance.

    The right values are computed from the inputs, which anyone can check. If the rounding errors of the whole pass hide
    the mistake, they are computed from the framework's own values in the step before. `one` is a single draw;
    `conventions` and `arithmetic` are as for `compare`.
    """
    stack, views = stacked([one]), stack_arrays([observed])
    reading, _ = readings(structure, regime, arithmetic)
    wide, network = stack.astype(np.dtype(np.float64)), structure.network
    from_inputs = propagate(network, wide.parameters, wide.x, wide.y, reading, None, conventions)
    from_shown = steps_of(structure, stack, views, reading, conventions)
    name = _step_name(network, quantity)
    seen = views[quantity][0].astype(np.float64)
    for steps, shown in ((from_inputs, frozenset[str]()), (from_shown, views)):
        with np.errstate(over="ignore", invalid="ignore"):
            found = {step.name: step.estimate for step in steps}
        value, tolerance = found[name].value[0], tolerated(found[name], reading)[0]
        ratio = departures(structure.format.max, value, seen, tolerance)
        if (ratio > 1).any():
            at = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
            # Entries that may have any value: a right infinity, and those that the rule has no number for.
            free = ~(np.abs(seen - value) <= tolerance) & ~(ratio > 1)
            path, given = _list_steps(network, name, shown)
            return Evidence(
                quantity,
                at,
                seen,
                np.where(free, 0.0, value),
                np.where(free, np.inf, tolerance),
                {step: found[_step_name(network, step)].value[0] for step in (*path, name)},
                {step: views[step][0].astype(np.float64) for step in given},
            )
    return None


def _step_name(network: Network, quantity: str) -> str:
    """The name of the step that computes a quantity: the outputs are computed as the last x."""
    return f"x_{network.depth}" if quantity == "outputs" else quantity


def _sources(network: Network, name: str) -> tuple[str, ...]:
    """The names of the quantities that a step is computed from, without the inputs."""
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


def _list_steps(
    network: Network, name: str, shown: Mapping[str, Array] | frozenset[str]
) -> tuple[list[str], list[str]]:
    """The steps that lead to a quantity from the inputs or from the shown quantities, in the order of the computation,
    and the shown quantities that they start from.
    """
    path, given = set[str](), set[str]()
    ahead = list(_sources(network, name))
    while ahead:
        step = ahead.pop()
        if step in shown:
            given.add(step)
        elif (own := _step_name(network, step)) not in path:
            path.add(own)
            ahead += _sources(network, own)
    order = _order(network)
    return sorted(path, key=order.index), sorted(given, key=order.index)


def _order(network: Network) -> Sequence[str]:
    layers = range(1, network.depth + 1)
    forwards = [f"{symbol}_{i}" for i in layers for symbol in "zx"]
    return [*forwards, "outputs", "E", *(f"k_{i}" for i in reversed(layers))]
