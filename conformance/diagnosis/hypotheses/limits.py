"""What a run says of the z at which a mistaken activation changes its formula."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ....reference import ACTIVATIONS, Array
from ..hypothesis import Hypothesis, Limit
from ..question import Question

_CLEAR = 256
"""How many units in the last place two formulas must differ by at a z, so that it bounds the limit. More makes the
interval that is stated wider.
"""

Function = Callable[[Array], Array]


def with_bracket(hypothesis: Hypothesis, questions: Sequence[Question]) -> str:
    """The words of a mistake with the interval in which its limit lies, from the z of these questions in layers of its
    activation; its own words if it has no limit. Any limit in the interval explains the same answers.
    """
    limit = hypothesis.limit
    if limit is None:
        return hypothesis.mistake
    least, most = bracket(limit, questions)
    side = "below" if limit.is_below else "above"
    # Rounded outward, so that what is said stays true.
    low = "" if math.isinf(least) else f"{math.floor(least * 100) / 100:g}"
    high = "" if math.isinf(most) else f"{math.ceil(most * 100) / 100:g}"
    where = (
        f" between {low} and {high}" if low and high else f" over {low}" if low else f" under {high}" if high else ""
    )
    return hypothesis.mistake.replace(limit.words, f"{side} a limit{where}")


def bracket(limit: Limit, questions: Sequence[Question]) -> tuple[float, float]:
    """The nearest z on either side of a limit at which the two formulas differ clearly; infinite if there is none."""
    least, most = -math.inf, math.inf
    for question in questions:
        u = question.structure.format.u
        for i, name in enumerate(question.structure.network.activations, 1):
            if name == limit.activation:
                z = question.right.z[i].value
                z = z[np.isfinite(z)]
                z = z[_differs(limit, z, u)]
                least = max(least, float(np.max(z, where=z < limit.z, initial=-math.inf)))
                most = min(most, float(np.min(z, where=z > limit.z, initial=math.inf)))
    return least, most


def _differs(limit: Limit, z: Array, u: float) -> Array:
    row = ACTIVATIONS[limit.activation]
    pairs: list[tuple[Function | None, Function]] = [(limit.f, row.f), (limit.slope, row.derivative)]
    differs = np.zeros(z.shape, bool)
    with np.errstate(all="ignore"):
        for other, right in pairs:
            if other is not None:
                a, b = other(z), right(z)
                differs |= np.abs(a - b) > _CLEAR * u * np.maximum(np.abs(a), np.abs(b))
    return differs
