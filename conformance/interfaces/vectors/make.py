"""What a file of vectors holds: the numbers of some draws, and for each quantity the interval of right answers.

The intervals hold for any sound order of operations, given the exact inputs: no step is judged from what a framework
shows. `docs/vectors.md` says what this costs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ....reference import Array, Structure
from ....reference.dtypes import DType
from ....reference.propagation import propagate
from ...cases.case import Group
from ...cases.draw import make_draws
from ...checks.comparison.compare import CONCLUSIVE_POWER, compute_power, readings, tolerated

MOST_BYTES = 1 << 16
"""A file takes as many draws of its structure as fit into this many bytes, and at least one."""
MOST_INTERMEDIATES = 4096
"""The most entries of z, x and k of one draw that a file holds. A larger structure has outputs, E and gradients."""

LOWER, UPPER, SHOWS = ".lower", ".upper", ".shows"
"""What follows the name of a quantity: the ends of the intervals of its entries, and whether a draw can show a mistake
in it.
"""


@dataclass(frozen=True)
class Vectors:
    """The arrays of one file by name, in the order of the computation, and the indices of its draws.

    Each array has one row for each draw. `quantities` are the names of what is judged.
    """

    group: Group
    draws: tuple[int, ...]
    quantities: tuple[str, ...]
    arrays: dict[str, Array]


def chosen_draws(group: Group) -> tuple[int, ...]:
    """The draws of a group that a file takes: the first, as many as fit."""
    return group.draws[: max(1, MOST_BYTES // count_bytes(group.structure))]


def count_bytes(structure: Structure) -> int:
    """The bytes that one draw takes in a file, without the header: each input once, each quantity three times."""
    widths, batch = structure.network.widths, structure.batch
    parameters = sum(n * m for n, m in pairwise(widths))
    parameters += sum(widths[1:]) if structure.network.bias != "none" else 0
    judged = parameters + batch * widths[-1] + 1 + (_intermediates(structure) if holds_intermediates(structure) else 0)
    return structure.format.numpy.itemsize * (parameters + batch * (widths[0] + widths[-1]) + 3 * judged)


def holds_intermediates(structure: Structure) -> bool:
    """Whether a file of this structure holds z, x and k."""
    return _intermediates(structure) <= MOST_INTERMEDIATES


def _intermediates(structure: Structure) -> int:
    widths = structure.network.widths
    return structure.batch * (3 * sum(widths[1:]) - widths[-1])


def make_vectors(group: Group) -> Vectors | None:
    """The vectors of a group; None if each of its draws is dead, since a dead draw can show nothing."""
    indices = chosen_draws(group)
    stack = make_draws(Group(group.structure, group.regime, group.seed, indices).cases)
    alive = np.flatnonzero(~stack.dead)
    if not len(alive):
        return None
    stack = stack[alive]
    inputs = {f"W_{i}": a for i, a in enumerate(stack.parameters.weights, 1)}
    inputs |= {f"b_{i}": a for i, a in enumerate(stack.parameters.biases, 1)}
    inputs |= {"x_0": stack.x, "y": stack.y}
    judged, names = dict[str, Array](), list[str]()
    wide = stack.astype(np.dtype(np.float64))
    reading, _ = readings(group.structure, group.regime)
    last, network = f"x_{group.structure.network.depth}", group.structure.network
    with np.errstate(all="ignore"):
        for step in propagate(network, wide.parameters, wide.x, wide.y, reading):
            name = "outputs" if step.name == last else step.name
            if name[0] in "zxk" and not holds_intermediates(group.structure):
                continue
            value, tolerance = step.estimate.value, tolerated(step.estimate, reading)
            power = np.full(len(alive), np.inf)
            if value.size:
                power = compute_power(value, tolerance, step.estimate.jump)
            lower, upper = find_interval(value, tolerance, group.structure.format, is_exact=reading.u == 0)
            judged[name] = value.astype(group.structure.format.numpy)
            judged |= {name + LOWER: lower, name + UPPER: upper, name + SHOWS: power >= CONCLUSIVE_POWER}
            names.append(name)
    return Vectors(group, tuple(indices[i] for i in alive), tuple(names), inputs | judged)


def find_interval(value: Array, tolerance: Array, format: DType, is_exact: bool = False) -> tuple[Array, Array]:
    """The least and the greatest number of a format that lie within `tolerance` of `value`, elementwise.

    Both ends are NaN where any answer is right. An end is infinite where an overflow is right. With `is_exact`, the
    tolerance is less than the distance of two numbers of the format, and the ends are not moved outward by a rounding
    of float64.
    """
    with np.errstate(all="ignore"):
        low, high = value - tolerance, value + tolerance
        if not is_exact:
            # The difference and the sum are rounded themselves; an interval is never tighter than what is derived.
            low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
        # As in a comparison: if the value comes as near to the limit of the format as its tolerance, an infinity of its
        # sign is right.
        least = np.where(value < 0, -np.inf, -format.max)
        most = np.where(value > 0, np.inf, format.max)
        low = np.where(low <= -format.max, least, _round_up(low, format))
        high = np.where(high >= format.max, most, -_round_up(-high, format))
        free = ~np.isfinite(value) | np.isnan(tolerance)
        low, high = (np.where(free, np.nan, end).astype(format.numpy) for end in (low, high))
    return low, high


def _round_up(a: Array, format: DType) -> Array:
    """The least number of the format that is at least `a`, as float64."""
    near = a.astype(format.numpy)
    above = np.nextafter(near, np.array(np.inf, format.numpy))
    return np.where(near.astype(np.float64) < a, above, near).astype(np.float64)
