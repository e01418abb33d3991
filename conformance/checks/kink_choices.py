"""The slopes that a framework takes where f' jumps or a formula changes, read from cases of the kinks regime."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...reference import ACTIVATIONS, Activation, Array, Structure, backpropagate
from ..cases.regimes import Draw, aimed_layer
from .verdict import Verdict

KinkSlopes = tuple[tuple[float, float], ...]
"""(point, the value of f' there) for each pre-activation that lies exactly at a point."""


def points(row: Activation) -> dict[float, tuple[float, float]]:
    """The points where a convention shows, each with its derivatives from the left and from the right."""
    found = {kink.point: (kink.left, kink.right) for kink in row.kinks}
    for seam in row.seams:
        slope = float(row.derivative(np.array([seam]))[0])
        found[seam] = (slope, slope)
    return dict(sorted(found.items()))


def quantity(structure: Structure, shown: Mapping[str, Array]) -> str | None:
    """The quantity from which the slopes are read: k of the chosen layer or, if no k is shown, the gradient of the
    first layer's weights, whose rows are those of k_1. None if neither can be used.
    """
    layer = aimed_layer(structure)
    if f"k_{layer}" in shown:
        return f"k_{layer}"
    return "dE/dW_1" if layer == 1 else None


def chosen(structure: Structure, one: Draw, shown: Mapping[str, Array]) -> KinkSlopes:
    """The slopes taken in one draw of the kinks regime, at every exact point: k divided by what is multiplied by f'.

    The divisor uses the framework's own k of the next layer if it is shown, and the rule's otherwise. A quotient
    carries a few units of rounding. Nothing is read where the divisor vanishes.
    """
    read = quantity(structure, shown)
    if read is None:
        return ()
    network, layer = structure.network, aimed_layer(structure)
    row = ACTIVATIONS[network.activations[layer - 1]]
    wide = one.astype(np.dtype(np.float64))
    with np.errstate(all="ignore"):
        rule = backpropagate(network, wide.parameters, wide.x, wide.y)
        if layer == network.depth:
            sides = shown["outputs"].astype(np.float64) - wide.y
        else:
            after = shown.get(f"k_{layer + 1}", rule.k[layer]).astype(np.float64)
            sides = after @ wide.parameters.weights[layer].T
        k = shown[read].astype(np.float64)
        if read == "dE/dW_1":
            # Row j of the gradient is the k of the one row of the batch that selects j. If two rows do, neither can be
            # read.
            k = np.where(wide.x.sum(0)[:, None] == 1, k, np.nan)[wide.x.argmax(1)]
        found = []
        for point in points(row):
            at = (rule.z[layer - 1] == point) & (np.abs(sides) > np.abs(sides).max(initial=0) / 256) & np.isfinite(k)
            found += [(point, float(value)) for value in (k[at] / sides[at])]
    return tuple(found)


def with_kink_slopes(
    structure: Structure, one: Draw, shown: Mapping[str, Array], verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """The verdicts of a case, with the slopes on the verdict for the quantity that they are read from."""
    read, found = quantity(structure, shown), chosen(structure, one, shown)
    return [replace(v, chosen=found) if v.quantity == read else v for v in verdicts]


def convention(values: Sequence[float], left: float, right: float, u: float) -> str:
    """The values taken at one point as text: the one-sided derivative or the middle that they equal within the rounding
    of a quotient (64 u), or the numbers. Several if they differ, "-" if there are none.
    """
    known = (left, right, (left + right) / 2)
    found: set[float] = set()
    for value in values:
        scale = max(abs(left), abs(right), abs(value))
        found.add(next((k for k in known if abs(value - k) <= 64 * u * scale), float(f"{value:.3g}")))
    return " or ".join(f"{value:.5g}" for value in sorted(found)) or "-"
