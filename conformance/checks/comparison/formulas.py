"""Comparison with what a framework is known to compute instead of the rule.

For example, PyTorch's softplus is z above 20. An expectation states that as a formula: a changed step of the rule, with
its own rounding. An answer that departs from the rule is compared with each formula, by the same code. A formula
explains a departure if every entry of the tensor lies within the formula's own tolerance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ....reference import Array
from ....reference.steps import Made
from ..verdict import Formulas
from .compare import Comparison

CompareWith = Callable[[Sequence[Made]], Iterable[Comparison]]
"""Compares the same observations with the rule with these changes."""


def with_formulas(
    compared: Sequence[Comparison], formulas: Formulas, compare_with: CompareWith
) -> tuple[Comparison, ...]:
    """The comparisons, those that depart with the ids of the formulas that explain them.

    If no formula explains a departure by itself, all of them are tried together, as in a network in which two
    activations are computed by formulas of the framework's own. The ids are then those of the formulas that are needed.
    Nothing is computed if nothing departs.
    """
    departing = {one.quantity: ~(one.worst <= 1) for one in compared}
    if not formulas or not any(departs.any() for departs in departing.values()):
        return tuple(compared)
    explains = {name: _explained(compare_with([made])) for name, made in formulas.items()}
    left = {q: departs & ~np.any([by[q] for by in explains.values()], axis=0) for q, departs in departing.items()}
    if len(formulas) > 1 and any(departs.any() for departs in left.values()):
        together = _explained(compare_with(list(formulas.values())))
        needed = {name: _without(name, formulas, together, compare_with) for name in formulas}
        for name, by in explains.items():
            for q, alone in by.items():
                any_needed = np.any([needs[q] for needs in needed.values()], axis=0)
                by[q] = alone | (left[q] & together[q] & (needed[name][q] | ~any_needed))
    return tuple(
        replace(
            one,
            formulas=tuple(
                tuple(name for name, by in explains.items() if departs and by[one.quantity][i])
                for i, departs in enumerate(departing[one.quantity])
            ),
        )
        for one in compared
    )


def _without(
    name: str, formulas: Formulas, together: Mapping[str, Array], compare_with: CompareWith
) -> dict[str, Array]:
    """For each quantity, whether the formulas explain each observation together, and do not without this one."""
    others = _explained(compare_with([made for other, made in formulas.items() if other != name]))
    return {q: together[q] & ~explained for q, explained in others.items()}


def _explained(compared: Iterable[Comparison]) -> dict[str, Array]:
    """For each quantity, whether each observation lies within a tolerance that is finite everywhere: arrays (D,)."""
    return {one.quantity: (one.worst <= 1) & ~one.unbounded for one in compared}
