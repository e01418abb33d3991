"""The smallest set of cases that finds every mistake, and what `kterm mutants --smallest` does: it writes the smoke
profile.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from ...cases import smoke
from ...cases.case import Group
from ...cases.plan import WIDE, make_options, plan, regular
from ...cases.smoke import Recipe
from ...mutants import MISTAKES
from ...records import run as runs
from ...records.run import RunRequest
from ...runners.threads import pin_here
from ..workers import opened, processes
from .kill import ENOUGH, Asked, Trial, differs, margin, measure

_PROFILE = "quick"
_DRAWS = 2
"""How many draws of each structure are considered: what the first do not show is better shown by another structure."""
_CALLS = 60
"""How often an adapter is called in each dtype at least: a mistake made once in fifty calls needs that many."""

Element = tuple[str, str, bool]
"""What is to be found: a mutant, in a dtype, with z, x and k or from gradients alone."""


@dataclass(frozen=True)
class Shows:
    """What one recipe shows: for each of its draws what is found in it by enough; and how often it calls a program
    besides its draws.
    """

    recipe: Recipe
    found: tuple[frozenset[Element], ...]
    calls: int

    @property
    def elements(self) -> frozenset[Element]:
        """What any of its draws shows."""
        return frozenset[Element]().union(*self.found)

    @property
    def size(self) -> int:
        """How many numbers its network and its layers hold."""
        widths = self.recipe.network.widths
        return sum(a * b for a, b in pairwise(widths)) + self.recipe.batch * sum(widths)


def run_smallest(spec: str, workers: str, path: Path) -> int:
    """Measure, choose, prove and write; 0 where what was chosen finds every mistake, 1 and nothing written otherwise.

    Raises AdapterError where the adapter does not load, and ChoiceError for a file that cannot be written.
    """
    started = time.monotonic()
    pin_here()
    run = runs.prepare(RunRequest((spec,), make_options(_PROFILE, 0, WIDE)))
    adapter = run.adapters[0]
    asked = Asked(adapter, run.options, run.concerning(adapter.name))
    probes = plan(adapter, run.options).groups[:2]
    console = Console(highlight=False, soft_wrap=True)
    with processes(workers) as executor:
        shown = _measured(asked, probes, executor)
        reach = frozenset[Element]().union(*(one.elements for one in shown))
        order = smallest(shown)
        missed = _missed(asked, probes, order, reach, executor)
        for _ in order:
            if missed:
                # What remembers calls from structure to structure may want another order.
                order = [*order[1:], order[0]]
                missed = _missed(asked, probes, order, reach, executor)
    cases = sum(recipe.draws for recipe in order)
    console.print(f"{cases} cases of {len(order)} structures, of {sum(len(s.found) for s in shown)} of {len(shown)}")
    if missed:
        told = [f"{name} in {dtype}{' from gradients alone' if alone else ''}" for name, dtype, alone in missed]
        console.print(f"do not find: {', '.join(told)}", markup=False)
        return 1
    with opened(path, "--smallest") as file:
        file.write(smoke.text(order))
    console.print(f"{time.monotonic() - started:.1f} s")
    return 0


def _missed(
    asked: Asked,
    probes: Sequence[Group],
    chosen: Sequence[Recipe],
    reach: Collection[Element],
    executor: Executor,
) -> list[Element]:
    """What the chosen cases do not find by enough, as a run of them alone has it, of what can be found."""
    due = list(product(WIDE, (False, True)))
    own = {dtype: _groups(asked, probes, chosen, dtype) for dtype in WIDE}
    names = [mutant.name for mutant in MISTAKES]
    futures = [
        executor.submit(measure, replace(asked, gradients_alone=alone), dtype, names, None, own[dtype])
        for dtype, alone in due
    ]
    return [
        (fate.mutant, dtype, alone)
        for (dtype, alone), future in zip(due, futures, strict=True)
        for fate in future.result()
        if fate.mutant and fate.margin < ENOUGH
        if (fate.mutant, dtype, alone) in reach or any(differs(asked, fate.mutant, group) for group in own[dtype])
    ]


def _groups(asked: Asked, probes: Sequence[Group], chosen: Sequence[Recipe], dtype: str) -> list[Group]:
    own = [replace(group, structure=replace(group.structure, dtype=dtype)) for group in probes]
    return own + list(smoke.groups(chosen, asked.adapter.activations, asked.adapter.biases, [dtype]))


def _measured(asked: Asked, probes: Sequence[Group], executor: Executor) -> list[Shows]:
    """What each structure of the profile shows of what the layout's probes do not."""
    names = [mutant.name for mutant in MISTAKES]
    probed = [shows(asked, group, names) for group in probes]
    left = [name for name in names if not any(name == one[0] for some in probed for one in some.elements)]
    regular_groups = regular(asked.adapter, replace(asked.options, dtypes=("f64",)))
    groups = [replace(group, draws=group.draws[:_DRAWS]) for group in regular_groups]
    return list(executor.map(shows, [asked] * len(groups), groups, [left] * len(groups)))


def shows(asked: Asked, group: Group, names: Sequence[str]) -> Shows:
    """What the draws of a group show in each wide dtype, with mutants that remember nothing of other groups."""
    found: list[set[Element]] = [set() for _ in group.draws]
    calls = 0
    for dtype in WIDE:
        own = replace(group, structure=replace(group.structure, dtype=dtype))
        for tried in Trial(asked, names).of(own, names):
            if not tried.name:
                calls = tried.calls - len(group.draws)
                continue
            for alone, one in ((False, tried), (True, tried.silent())):
                for case, findings in enumerate(one.found):
                    # That a later call has changed an earlier answer needs a later one.
                    early = [f for f in findings if f.quantity != "earlier observation"]
                    if margin(early) >= ENOUGH:
                        found[case].add((tried.name, dtype, alone))
                    elif margin(findings) >= ENOUGH and case + 1 < len(found):
                        found[case + 1].add((tried.name, dtype, alone))
    return Shows(smoke.recipe_of(group), tuple(map(frozenset, found)), calls)


def smallest(shown: Sequence[Shows]) -> list[Recipe]:
    """The fewest cases that show everything that any shows, what shows most first; of equally many the fewest
    structures, and of these the smallest.

    It is found by integer programming, with HiGHS: exactly, and by what is a dependency already. A structure's draws
    are taken from its first on, so that each is called after the very calls after which it was measured.
    """
    columns = [(s, n) for s, one in enumerate(shown) for n in range(len(one.found))]
    number = {column: j for j, column in enumerate(columns)}
    covers: dict[Element, list[int]] = {}
    for s, n in columns:
        for element in shown[s].found[n]:
            covers.setdefault(element, []).append(number[s, n])
    rows = sorted({frozenset(some) for some in covers.values()}, key=sorted)
    constraints = [LinearConstraint(_matrix(rows, len(columns)), lb=1)] if rows else []
    later = [(number[s, n], number[s, n - 1]) for s, n in columns if n]
    if later:
        order = lil_array((len(later), len(columns)))
        for i, (one, before) in enumerate(later):
            order[i, before], order[i, one] = 1, -1
        constraints.append(LinearConstraint(order.tocsr(), lb=0))
    calls = np.array([1 + (shown[s].calls if n == 0 else 0) for s, n in columns])
    constraints.append(LinearConstraint(calls[None], lb=min(_CALLS, calls.sum())))
    most = max(one.size for one in shown)
    cost = [1 + (0.01 + 0.001 * shown[s].size / most if n == 0 else 0) for s, n in columns]
    solved = milp(
        cost, integrality=np.ones(len(columns)), bounds=Bounds(0, 1), constraints=constraints,
        options={"mip_rel_gap": 0},
    )  # fmt: skip
    if solved.x is None:
        raise AssertionError(solved.message)
    taken = [0] * len(shown)
    for (s, _), value in zip(columns, solved.x, strict=True):
        taken[s] += round(value)
    return _ordered([(one, count) for one, count in zip(shown, taken, strict=True) if count])


def _matrix(rows: Sequence[Iterable[int]], width: int) -> object:
    matrix = lil_array((len(rows), width))
    for i, columns in enumerate(rows):
        matrix[i, list(columns)] = 1
    return matrix.tocsr()


def _ordered(chosen: list[tuple[Shows, int]]) -> list[Recipe]:
    """What shows most of what those before it do not show, one after the other."""
    left, known, ordered = list(chosen), frozenset[Element](), list[Recipe]()
    while left:
        best = max(left, key=lambda one: len(_shown(one) - known))
        left.remove(best)
        known |= _shown(best)
        ordered.append(replace(best[0].recipe, draws=best[1]))
    return ordered


def _shown(one: tuple[Shows, int]) -> frozenset[Element]:
    return frozenset[Element]().union(*one[0].found[: one[1]])
