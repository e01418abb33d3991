"""The units of a campaign: slices of an adapter's plan under one seed, each some seconds of work.

For example, unit 0 of `kterm campaign numpy torch --cases 1000000` is the first slice of numpy's plan under seed 0,
with the layout probes and the smoke profile in it. When the plans of all adapters under seed 0 are through, those under
seed 1 follow, and so on without an end. A unit's number and its cases depend on the adapters and the options alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...cases.case import Group
from ...cases.description import Description
from ...cases.plan import Options, estimate_cost, plan

SECOND = 10_000.0
"""The estimated cost of what takes NumPy or PyTorch about a second. JAX, which compiles, takes about three."""
UNIT_COST = 5 * SECOND
"""The estimated cost of a unit, by default."""
_STRIDE, _TURN = 2_654_435_769, 2**32
"""Multiples of the first modulo the second, which is 0.618 times as large, are spread evenly over its range."""
_SEEDS = 2**63


class Asked(Protocol):
    """What units are made of: a `Run`, as far as they need to know it."""

    @property
    def adapters(self) -> tuple[Description, ...]:
        """The adapters, in the order of the command line."""
        ...

    @property
    def options(self) -> Options:
        """The options; the seed is the first one."""
        ...


@dataclass(frozen=True)
class Unit:
    """Some groups of one adapter, by name, under one seed."""

    number: int
    adapter: str
    seed: int
    groups: tuple[Group, ...]

    @property
    def cases(self) -> int:
        """How many cases it has."""
        return sum(len(group.draws) for group in self.groups)


def make_units(run: Asked, cost: float = UNIT_COST) -> Iterator[Unit]:
    """The units of a campaign in order, without an end, unless the plan is the same under every seed.

    Each seed draws other structures, and other numbers for those that stay. What does not depend on the seed, the
    layout probes and the smoke profile, is run under the first seed only: more of the same would add no evidence, and
    count as if it did. Adapters take turns, and the slices of a plan come in an order that spreads over it, so that a
    campaign that ends early has a part of everything.
    """
    number = 0
    for seed in range(run.options.seed, _SEEDS):
        slices: list[tuple[float, str, tuple[Group, ...]]] = []
        for adapter in run.adapters:
            planned = plan(adapter, replace(run.options, seed=seed)).groups
            fresh = planned if seed == run.options.seed else [group for group in planned if group.seed == seed]
            cut = list(_cut(fresh, cost))
            order = sorted(range(len(cut)), key=lambda i: i * _STRIDE % _TURN)
            slices += [((n + 0.5) / len(cut), adapter.name, cut[i]) for n, i in enumerate(order)]
        if not slices:
            return
        # Of slices at the same place, those of the adapter that was named first come first: the sort is stable.
        for _, name, groups in sorted(slices, key=lambda one: one[0]):
            yield Unit(number, name, seed, groups)
            number += 1


def _cut(groups: Sequence[Group], cost: float) -> Iterator[tuple[Group, ...]]:
    """Slices of a plan, each up to where its cost reaches `cost`."""
    some: list[Group] = []
    total = 0.0
    for group in groups:
        some.append(group)
        total += estimate_cost(group)
        if total >= cost:
            yield tuple(some)
            some, total = [], 0.0
    if some:
        yield tuple(some)
