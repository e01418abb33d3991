"""Covering: the patterns that cover exactly what failed of one check, in few words.

What failed and what passed is told by activation and case. A pattern is taken only where it covers nothing that passed:
for all cases, or by bias placement, dtype and regime; for what is left, for all draws of one structure; for what is
still left, for single draws. Of those the one that covers most comes first, and of equals the narrowest.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

Point = tuple[str, str]
"""(activation, case id): where a check passed or failed; an empty activation where it is about none."""

_Key = tuple[str, str]
"""(activation, case): a pattern for points."""

Chosen = tuple[str, str, frozenset[Point]]
"""A pattern, and what failed of what it covers."""


def cover(failed: Iterable[Point], passed: Iterable[Point]) -> list[Chosen]:
    """Patterns that together cover all of `failed` and none of `passed`, none of which could be left out."""
    left, passed = set(failed), set(passed)
    chosen = _greedy(_exact(left, passed, _by_kind), left)
    for some in _apart(_exact(left, passed, _by_structure)):
        chosen += _greedy(some, left)
    for some in _apart(_in_tens(_exact(left, passed, _by_case))):
        chosen += _greedy(some, left)
    return _irredundant(chosen)


def _by_kind(case: str) -> Iterator[str]:
    """The patterns for a case by any of its bias placement, dtype and regime, for example *-f64-*; and for all."""
    for kept in product((True, False), repeat=3):
        words = [part if keep else "*" for part, keep in zip(case.split("-")[3:6], kept, strict=True)]
        yield re.sub(r"\*(-\*)+", "*", f"*-{'-'.join(words)}-*")


def _by_structure(case: str) -> Iterator[str]:
    # Under another seed than 0 the draw is written s7.17.
    yield f"{case[: max(case.rindex('s'), case.rfind('.')) + 1]}*"


def _by_case(case: str) -> Iterator[str]:
    yield case


def _exact(
    failed: Iterable[Point], passed: Iterable[Point], patterns: Callable[[str], Iterator[str]]
) -> dict[_Key, set[Point]]:
    """What each pattern covers of `failed`, by (activation, case), of those that cover nothing of `passed`."""
    covers: dict[_Key, set[Point]] = defaultdict(set)
    for activation, case in failed:
        for key in product({activation or "*", "*"}, patterns(case)):
            covers[key].add((activation, case))
    for activation, case in passed:
        for key in product({activation or "*", "*"}, patterns(case)):
            covers.pop(key, None)
    return covers


def _in_tens(draws: Mapping[_Key, set[Point]]) -> dict[_Key, set[Point]]:
    """Draws of one structure that differ in their last digit as one pattern, for example ...-s1[037]."""
    tens: dict[_Key, set[Point]] = defaultdict(set)
    for (activation, case), points in draws.items():
        tens[activation, case[:-1]] |= points
    digits = {key: "".join(sorted({case[-1] for _, case in points})) for key, points in tens.items()}
    return {
        (activation, f"{stem}[{last}]" if len(last) > 1 else f"{stem}{last}"): tens[activation, stem]
        for (activation, stem), last in digits.items()
    }


def _apart(covers: Mapping[_Key, set[Point]]) -> Iterator[dict[_Key, set[Point]]]:
    """The patterns by the draws that they are about: what is apart has no case in common."""
    apart: dict[str, dict[_Key, set[Point]]] = defaultdict(dict)
    for key, points in covers.items():
        _, case = min(points)
        apart[case[:-1] if "*" not in key[1] else key[1]][key] = points
    yield from (apart[stem] for stem in sorted(apart))


def _greedy(covers: Mapping[_Key, set[Point]], left: set[Point]) -> list[Chosen]:
    """What covers most of what is left, and of equals the narrowest, until none covers any more of it."""

    def order(key: _Key) -> tuple[int, int, bool, _Key]:
        activation, case = key
        return -len(covers[key] & left), -sum(part != "*" for part in case.split("-")), activation == "*", key

    chosen: list[Chosen] = []
    while covers and covers[best := min(covers, key=order)] & left:
        chosen.append((*best, frozenset(covers[best])))
        left -= covers[best]
    return chosen


def _irredundant(chosen: Sequence[Chosen]) -> list[Chosen]:
    """Without those whose points others cover: the smallest go first."""
    times = Counter(point for _, _, points in chosen for point in points)
    kept = list(chosen)
    for one in sorted(chosen, key=lambda c: (len(c[2]), c)):
        if all(times[point] > 1 for point in one[2]):
            kept.remove(one)
            times.subtract(one[2])
    return kept
