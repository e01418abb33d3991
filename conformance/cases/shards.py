"""The groups of a run dealt to several machines, so that all of them take about as long."""

import heapq
from collections.abc import Iterable
from itertools import pairwise

from .case import Group
from .plan import OptionError
from .regimes import REGIMES


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) from "i/n". Raises OptionError."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise OptionError(f"shard {text!r}: write the number of this part and of all, such as 1/4")
    return int(index), int(count)


def deal(groups: Iterable[tuple[int, Group]], index: int, count: int) -> list[int]:
    """The numbers of the groups of one shard of `count`, from 1. The dearest group left goes to the shard that has the
    least to do.
    """
    dear = sorted(((estimate_cost(group), number) for number, group in groups), key=lambda one: (-one[0], one[1]))
    loads, mine = [(0.0, i) for i in range(1, count + 1)], list[int]()
    for cost, number in dear:
        load, to = heapq.heappop(loads)
        heapq.heappush(loads, (load + cost, to))
        if to == index:
            mine.append(number)
    return mine


def estimate_cost(group: Group) -> float:
    """About how long a group takes, relative to others: its program, which many frameworks compile, and its calls."""
    network = group.structure.network
    products = sum(a * b for a, b in pairwise(network.widths)) * max(group.structure.batch, 1)
    calls = len(group.draws) + REGIMES[group.regime].soak
    return 200 * network.depth + calls * (10 * network.depth + products / 2000)
