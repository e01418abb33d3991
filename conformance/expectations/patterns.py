"""Patterns that match exactly the cases that failed one check, in as few words as possible.

For example, if elu fails in all f64 cases and in no other case, the pattern is activation "elu" and case "*-f64-*". A
pattern must match no case that passed. Three kinds are tried, one after another, for the failures that are left:
patterns for all cases, or by bias placement, dtype and regime; then all draws of one structure; then single draws. Of
one kind, the pattern that matches most is taken first, and of equals the narrowest.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

Point = tuple[str, str]
"""(activation, case id) where a check passed or failed. The activation is empty if the check is about none."""

_Key = tuple[str, str]
"""(activation pattern, case pattern)."""

Pattern = tuple[str, str, frozenset[Point]]
"""An activation pattern, a case pattern, and the points of `failed` that they match."""


def find_patterns(failed: Iterable[Point], passed: Iterable[Point]) -> list[Pattern]:
    """Patterns that together match every point of `failed` and no point of `passed`. None of them is redundant."""
    left, passed = set(failed), set(passed)
    chosen = _choose_greedily(_match(left, passed, _field_patterns), left)
    for matches in _split_by_structure(_match(left, passed, _structure_patterns)):
        chosen += _choose_greedily(matches, left)
    for matches in _split_by_structure(_merge_last_digits(_match(left, passed, _case_patterns))):
        chosen += _choose_greedily(matches, left)
    return _drop_redundant(chosen)


def _field_patterns(case: str) -> Iterator[str]:
    """The patterns that fix any of a case's bias placement, dtype and regime, for example *-f64-*; the last is *."""
    for fixed in product((True, False), repeat=3):
        fields = [field if is_fixed else "*" for field, is_fixed in zip(case.split("-")[3:6], fixed, strict=True)]
        yield re.sub(r"\*(-\*)+", "*", f"*-{'-'.join(fields)}-*")


def _structure_patterns(case: str) -> Iterator[str]:
    # With a seed other than 0, a draw is written s7.17.
    yield f"{case[: max(case.rindex('s'), case.rfind('.')) + 1]}*"


def _case_patterns(case: str) -> Iterator[str]:
    yield case


def _match(
    failed: Iterable[Point], passed: Iterable[Point], patterns: Callable[[str], Iterator[str]]
) -> dict[_Key, set[Point]]:
    """The points of `failed` that each pattern matches, without the patterns that match a point of `passed`."""
    matches: dict[_Key, set[Point]] = defaultdict(set)
    for activation, case in failed:
        for key in product({activation or "*", "*"}, patterns(case)):
            matches[key].add((activation, case))
    for activation, case in passed:
        for key in product({activation or "*", "*"}, patterns(case)):
            matches.pop(key, None)
    return matches


def _merge_last_digits(draws: Mapping[_Key, set[Point]]) -> dict[_Key, set[Point]]:
    """Draws of one structure that differ in their last digit only as one pattern, for example ...-s1[037]."""
    tens: dict[_Key, set[Point]] = defaultdict(set)
    for (activation, case), points in draws.items():
        tens[activation, case[:-1]] |= points
    digits = {key: "".join(sorted({case[-1] for _, case in points})) for key, points in tens.items()}
    return {
        (activation, f"{stem}[{last}]" if len(last) > 1 else f"{stem}{last}"): tens[activation, stem]
        for (activation, stem), last in digits.items()
    }


def _split_by_structure(matches: Mapping[_Key, set[Point]]) -> Iterator[dict[_Key, set[Point]]]:
    """The patterns in groups that have no case in common, so that each can be chosen from alone."""
    groups: dict[str, dict[_Key, set[Point]]] = defaultdict(dict)
    for key, points in matches.items():
        _, case = min(points)
        groups[case[:-1] if "*" not in key[1] else key[1]][key] = points
    yield from (groups[stem] for stem in sorted(groups))


def _choose_greedily(matches: Mapping[_Key, set[Point]], left: set[Point]) -> list[Pattern]:
    """The pattern that matches most of `left`, of equals the narrowest, and so on until none matches any of it. Points
    that are matched are removed from `left`.
    """

    def order(key: _Key) -> tuple[int, int, bool, _Key]:
        activation, case = key
        return -len(matches[key] & left), -sum(part != "*" for part in case.split("-")), activation == "*", key

    chosen: list[Pattern] = []
    while matches and matches[best := min(matches, key=order)] & left:
        chosen.append((*best, frozenset(matches[best])))
        left -= matches[best]
    return chosen


def _drop_redundant(chosen: Sequence[Pattern]) -> list[Pattern]:
    """Without the patterns whose points are all matched by others; the smallest are dropped first."""
    counts = Counter(point for _, _, points in chosen for point in points)
    kept = list(chosen)
    for one in sorted(chosen, key=lambda c: (len(c[2]), c)):
        if all(counts[point] > 1 for point in one[2]):
            kept.remove(one)
            counts.subtract(one[2])
    return kept
