"""The tails of f and f', where a usual formula cancels: there a framework that keeps its digits must keep them.

For example, 1 - tanh(z)**2 has an absolute error of u. In float32 it is 0 from z = 9 on, where the slope is 6e-8. Most
frameworks compute it so, and the tolerance of k allows for it. A framework that computes the slope by another formula
has right digits there, and then a slope that is off by a thousandth is a mistake, however small it is.

So the tolerance of an x or a k is that of a formula without cancellation (`Tail`) if the framework shows, in the same
draw and on the same side of 0, that it uses one: entries that are right where the cancelling formula has no digits
left. Such an entry is smaller than a 64th of the cancelling formula's roundoff: that formula gives 0 there, or a number
many times too large, and the right one by chance alone.

A framework may also compute the cancelling formula in the next wider format and round the result. So an error of that
formula in the wider format is no finding either, unless entries are right where that one has no digits left.
"""

import numpy as np
from scipy import special

from ....reference import ACTIVATIONS, DTYPES, Array
from ....reference.activations import Activation
from ....reference.propagation import Quantity
from ....reference.rounding import Reading

_LEAST = 1 / 64
"""An entry below this part of the cancelling formula's roundoff tells the formulas apart."""
_BY_CHANCE = 1 / 16
"""How often such an entry is right by chance at most, if the formula cancels.

With fused multiply-adds the error is any number of about the roundoff. The values that count as right are 2 / 4 of the
entry, 1 / 128 of the roundoff. An error that spreads over an eighth of it falls there in one of 16 cases.
"""
_LEAST_PROBABILITY = 1e-10
"""The formula is taken for one that cancels unless so many entries are right that chance gives this less often."""
_U_WIDER = {"f64": 2.0**-64, "f32": DTYPES["f64"].u, "f16": DTYPES["f32"].u, "bf16": DTYPES["f32"].u}
"""The unit roundoff of the next wider format: of x87's and C's long double for f64."""


def sharpen(step: Quantity, activation: str, z: Array, seen: Array, tolerance: Array, reading: Reading) -> Array:
    """The tolerance of an x or a k, (D, B, n_i): what a formula without cancellation allows, in the entries where the
    framework shows that it uses one.

    `z` (D, B, n_i) are the shown pre-activations. `seen` are the framework's values of the quantity that `step` is, and
    `tolerance` is what the cancelling formula allows.
    """
    if step.sharp is None or not reading.u:
        return tolerance
    row = ACTIVATIONS[activation]
    tail = row.tail
    assert tail is not None  # `sharp` is None without
    terms = _roundoff_terms(row, step, z)
    value = step.estimate.value
    size, resolves = np.abs(value), tail.resolves(z)
    tells = (size < _LEAST * reading.format.u * terms) & (size > 0) & (8 * reading.u <= resolves)
    if not tells.any():
        return tolerance
    sharp = step.sharp()
    if not np.array_equal(sharp.value, value):
        return tolerance  # another formula of f or f' is compared with, and it has its own rounding
    fine = sharp.tolerance(reading)
    right = np.maximum(fine, np.abs(seen - value)) <= resolves * size
    ulps, u_wider = row.slope_ulps if step.symbol == "k" else row.f_ulps, _U_WIDER[reading.format.name]
    allowed = np.where(
        on_shown_sides(tells & (size < _LEAST * u_wider * terms), right, z),
        fine,
        np.maximum(fine, reading.kappa * ulps * u_wider * terms),
    )
    return np.where(on_shown_sides(tells, right, z), np.minimum(tolerance, allowed), tolerance)


def on_shown_sides(tells: Array, right: Array, z: Array) -> Array:
    """Elementwise: whether of the entries of the same draw, on the same side of 0, that tell, more are right than by
    chance. Entries of one z have one error, so each z counts once.
    """
    held = np.zeros(z.shape, bool)
    for draw in np.flatnonzero(tells.any((-2, -1))):
        for side in (z[draw] < 0, z[draw] > 0):
            count, wrong = (len(np.unique(z[draw][some[draw] & side])) for some in (tells, tells & ~right))
            if wrong < count and special.bdtrc(count - wrong - 1, count, _BY_CHANCE) < _LEAST_PROBABILITY:
                held[draw] |= side
    return held


def _roundoff_terms(row: Activation, step: Quantity, z: Array) -> Array:
    """The size of the terms that cancel in the usual formula: one u of them is its roundoff."""
    if step.symbol == "x":
        return row.f_terms(z)
    assert step.side is not None  # a k has one
    return row.slope_terms(z) * np.abs(step.side)
