"""Whether z, x and k are shown at the right place: the numbers of a case whose gradients are right, and whose shown
values are not.
"""

from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, Structure
from ....reference.value import Value
from ...cases.case import Case, Group
from ...cases.description import Description
from ...cases.regimes import Draw
from ...checks.comparison.compare import compare
from ...diagnosis.question import Question


@dataclass(frozen=True)
class Misshown:
    """An array that is shown for a quantity and is none: the worst entry of it, and which quantity of the rule it
    equals, if it is one.
    """

    case: str
    name: str
    at: tuple[int, ...]
    observed: float
    expected: float
    is_really: str


def find_misshown(group: Group, case: Case, one: Draw, observed: Observation, adapter: Description) -> list[Misshown]:
    """The shown z, x and k that depart from the rule although the outputs, E and all gradients of the same call agree
    with it. Empty if something else departs too: then it may be the numbers that are wrong, and not the showing.
    """
    if all(values is None for values in (observed.z, observed.x, observed.k)):
        return []
    structure, stack = group.structure, one[None]
    alone = replace(observed, z=None, x=None, k=None)
    if _departing(structure, stack, alone, group.regime, adapter):
        return []
    arithmetic = adapter.arithmetic_in(structure.dtype)
    rule = Question(structure, group.regime, stack.astype(np.dtype(np.float64)), {}, "", arithmetic=arithmetic).rule
    quantities = (("z", rule.z), ("x", rule.x), ("k", rule.k), ("dE/dx", rule.s))
    known = {f"{symbol}_{i}": value for symbol, some in quantities for i, value in some.items()}
    found = []
    for name, array in arrays(observed).items():
        if name not in known or _is_one(array, known[name]):
            continue
        shown, due = array.astype(np.float64), known[name].value[0]
        at = np.unravel_index(int(np.argmax(np.abs(shown - due))), shown.shape)
        same = [other for other, value in known.items() if _is_one(array, value)]
        place, really = tuple(map(int, at)), same[0] if len(same) == 1 else ""
        found.append(Misshown(case.id, name, place, float(shown[at]), float(due[at]), really))
    return found


def _departing(structure: Structure, stack: Draw, observed: Observation, regime: str, adapter: Description) -> bool:
    arithmetic = adapter.arithmetic_in(structure.dtype)
    compared = compare(structure, stack, [observed], regime, adapter.conventions, arithmetic)
    return any(not one.worst[0] <= 1 for one in compared)


def _is_one(array: Array, value: Value) -> bool:
    """Whether an array is a quantity of the rule, within its rounding error."""
    due, tolerance = value.value[0], value.tolerance[0]
    return array.shape == due.shape and bool((np.abs(array.astype(np.float64) - due) <= tolerance).all())
