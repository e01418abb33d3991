"""The smallest set of cases that kills every mistake: the smoke profile is made of it.

This is a set cover. Its elements are the mistakes, once for each dtype, and once with and once without z, x and k. Each
case of the quick profile covers the elements that it kills by `SUFFICIENT_MARGIN`.
"""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from ...cases import smoke
from ...cases.case import Group
from ...cases.plan import WIDE, plan, regular
from ...cases.smoke import Recipe
from ...mutants import MISTAKES
from .outcome import SUFFICIENT_MARGIN, compute_margin
from .trial import Trial, TrialOptions, changes_answers, measure_outcomes

_DRAWS = 2
"""How many draws of each structure are considered: what the first two do not kill, another structure kills better."""
_CALLS = 60
"""How often an adapter is called in each dtype at least: a mistake made once in fifty calls needs that many."""

Element = tuple[str, str, bool]
"""A mistake, by name; a dtype; and whether z, x and k are hidden."""


@dataclass(frozen=True)
class Coverage:
    """What the draws of one recipe kill: for each draw the elements, and how many calls the recipe makes beside those
    of its draws.
    """

    recipe: Recipe
    found: tuple[frozenset[Element], ...]
    calls: int

    @property
    def elements(self) -> frozenset[Element]:
        """The elements that any draw covers."""
        return frozenset[Element]().union(*self.found)

    @property
    def size(self) -> int:
        """How many numbers its network and its layers hold."""
        widths = self.recipe.network.widths
        return sum(a * b for a, b in pairwise(widths)) + self.recipe.batch * sum(widths)


@dataclass(frozen=True)
class SmallestSet:
    """The chosen recipes, in order; all that they were chosen from; and the elements that the chosen cases do not kill
    by SUFFICIENT_MARGIN when they run alone, though some case does.
    """

    recipes: tuple[Recipe, ...]
    coverages: tuple[Coverage, ...]
    missed: tuple[Element, ...]

    @property
    def cases(self) -> int:
        """How many cases were chosen."""
        return sum(recipe.draws for recipe in self.recipes)

    @property
    def cases_considered(self) -> int:
        """How many cases they were chosen from."""
        return sum(len(coverage.found) for coverage in self.coverages)


def find_smallest_set(options: TrialOptions, executor: Executor) -> SmallestSet:
    """Measure what every structure of a profile kills, choose the fewest cases, and run these alone to see whether they
    kill everything.

    Raises AdapterError where the adapter does not load.
    """
    probes = plan(options.adapter, options.options).groups[:2]
    coverages = _measure_coverages(options, probes, executor)
    known = frozenset[Element]().union(*(one.elements for one in coverages))
    order = choose_recipes(coverages)
    missed = _find_missed(options, probes, order, known, executor)
    for _ in order:
        if missed:
            # A mutant that remembers calls from structure to structure may need another order.
            order = [*order[1:], order[0]]
            missed = _find_missed(options, probes, order, known, executor)
    return SmallestSet(tuple(order), tuple(coverages), tuple(missed))


def _find_missed(
    options: TrialOptions,
    probes: Sequence[Group],
    chosen: Sequence[Recipe],
    known: Collection[Element],
    executor: Executor,
) -> list[Element]:
    """The elements that can be killed, and that the chosen cases alone do not kill by enough."""
    due = list(product(WIDE, (False, True)))
    own = {dtype: _make_groups(options, probes, chosen, dtype) for dtype in WIDE}
    names = [mutant.name for mutant in MISTAKES]
    futures = [
        executor.submit(measure_outcomes, replace(options, gradients_alone=alone), dtype, names, None, own[dtype])
        for dtype, alone in due
    ]
    return [
        (outcome.mutant, dtype, alone)
        for (dtype, alone), future in zip(due, futures, strict=True)
        for outcome in future.result()
        if outcome.mutant and outcome.margin < SUFFICIENT_MARGIN
        if (outcome.mutant, dtype, alone) in known
        or any(changes_answers(options, outcome.mutant, group) for group in own[dtype])
    ]


def _make_groups(options: TrialOptions, probes: Sequence[Group], chosen: Sequence[Recipe], dtype: str) -> list[Group]:
    own = [replace(group, structure=replace(group.structure, dtype=dtype)) for group in probes]
    return own + list(smoke.groups(chosen, options.adapter.activations, options.adapter.biases, [dtype]))


def _measure_coverages(options: TrialOptions, probes: Sequence[Group], executor: Executor) -> list[Coverage]:
    """The coverage of each structure of the profile, of the mistakes that the layout's probes do not kill."""
    names = [mutant.name for mutant in MISTAKES]
    probed = [measure_coverage(options, group, names) for group in probes]
    left = [name for name in names if not any(name == one[0] for some in probed for one in some.elements)]
    regular_groups = regular(options.adapter, replace(options.options, dtypes=("f64",)))
    groups = [replace(group, draws=group.draws[:_DRAWS]) for group in regular_groups]
    return list(executor.map(measure_coverage, [options] * len(groups), groups, [left] * len(groups)))


def measure_coverage(options: TrialOptions, group: Group, names: Sequence[str]) -> Coverage:
    """What the draws of a group kill in f64 and f32, with mutants that remember nothing of other groups."""
    found: list[set[Element]] = [set() for _ in group.draws]
    calls = 0
    for dtype in WIDE:
        own = replace(group, structure=replace(group.structure, dtype=dtype))
        for result in Trial(options, names).run(own, names):
            if not result.name:
                calls = result.calls - len(group.draws)
                continue
            for alone, one in ((False, result), (True, result.hide_intermediates())):
                for case, findings in enumerate(one.found):
                    # A later call can change an earlier answer only if there is a later call.
                    early = [f for f in findings if f.quantity != "earlier observation"]
                    if compute_margin(early) >= SUFFICIENT_MARGIN:
                        found[case].add((result.name, dtype, alone))
                    elif compute_margin(findings) >= SUFFICIENT_MARGIN and case + 1 < len(found):
                        found[case + 1].add((result.name, dtype, alone))
    return Coverage(smoke.recipe_of(group), tuple(map(frozenset, found)), calls)


def choose_recipes(coverages: Sequence[Coverage]) -> list[Recipe]:
    """The fewest cases that cover every element that any case covers; of equally many the fewest structures, and of
    these the smallest. The recipe that adds most to those before it comes first.

    This is solved exactly, as an integer program. The draws of a structure are taken from its first on, so that each is
    called after the same calls as when it was measured.
    """
    columns = [(s, n) for s, one in enumerate(coverages) for n in range(len(one.found))]
    number = {column: j for j, column in enumerate(columns)}
    covers: dict[Element, list[int]] = {}
    for s, n in columns:
        for element in coverages[s].found[n]:
            covers.setdefault(element, []).append(number[s, n])
    rows = sorted({frozenset(some) for some in covers.values()}, key=sorted)
    constraints = [LinearConstraint(_make_matrix(rows, len(columns)), lb=1)] if rows else []
    later = [(number[s, n], number[s, n - 1]) for s, n in columns if n]
    if later:
        order = lil_array((len(later), len(columns)))
        for i, (one, before) in enumerate(later):
            order[i, before], order[i, one] = 1, -1
        constraints.append(LinearConstraint(order.tocsr(), lb=0))
    calls = np.array([1 + (coverages[s].calls if n == 0 else 0) for s, n in columns])
    constraints.append(LinearConstraint(calls[None], lb=min(_CALLS, calls.sum())))
    most = max(one.size for one in coverages)
    cost = [1 + (0.01 + 0.001 * coverages[s].size / most if n == 0 else 0) for s, n in columns]
    solved = milp(
        cost, integrality=np.ones(len(columns)), bounds=Bounds(0, 1), constraints=constraints,
        options={"mip_rel_gap": 0},
    )  # fmt: skip
    if solved.x is None:
        raise AssertionError(solved.message)
    taken = [0] * len(coverages)
    for (s, _), value in zip(columns, solved.x, strict=True):
        taken[s] += round(value)
    return _sort_by_gain([(one, count) for one, count in zip(coverages, taken, strict=True) if count])


def _make_matrix(rows: Sequence[Iterable[int]], width: int) -> object:
    matrix = lil_array((len(rows), width))
    for i, columns in enumerate(rows):
        matrix[i, list(columns)] = 1
    return matrix.tocsr()


def _sort_by_gain(chosen: list[tuple[Coverage, int]]) -> list[Recipe]:
    """One after the other the recipe that covers most of what those before it do not cover."""
    left, known, ordered = list(chosen), frozenset[Element](), list[Recipe]()
    while left:
        best = max(left, key=lambda one: len(_find_covered(one) - known))
        left.remove(best)
        known |= _find_covered(best)
        ordered.append(replace(best[0].recipe, draws=best[1]))
    return ordered


def _find_covered(one: tuple[Coverage, int]) -> frozenset[Element]:
    return frozenset[Element]().union(*one[0].found[: one[1]])
