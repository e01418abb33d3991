"""Whether the margins of passing cases moved, by check, dtype and regime, by more than chance moves them.

A margin is the largest error of a case in units of its tolerance. Two right frameworks that add in different orders
have different margins of one distribution: the mean of a group of cases then differs by chance, as often to one side as
to the other. In runs of the same cases the test is Student's for paired groups, else Welch's for two samples. Groups
and not cases are counted, since cases of one structure resemble each other. All tests of a comparison together report a
move where there is none in one of a thousand comparisons.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ...checks.verdict import Check
from ..form.verdicts import CaseResult, split_case

_FALSE_ALARMS = 1e-3
"""How often a comparison of two right runs reports any move, for all its tests together."""
_LEAST_GROUPS = 3
Place = tuple[Check, str, str]
"""A check, a dtype and a regime."""
_Groups = dict[str, dict[str, float]]
"""Margins by structure and case."""


@dataclass(frozen=True)
class Moved:
    """The margins of a check in the passing cases of one dtype and regime: their means in both runs, how many cases and
    structures there are, and whether the means differ by more than chance gives.
    """

    pair: str
    check: Check
    dtype: str
    regime: str
    cases: int
    structures: int
    old: float
    new: float
    is_beyond_noise: bool


def compare_margins(pair: str, old: Mapping[str, CaseResult], new: Mapping[str, CaseResult]) -> list[Moved]:
    """What became of the margins, in each place where both runs have passing cases and any margin differs. Runs that
    have most of their cases in common are compared case by case.
    """
    common = old.keys() & new.keys()
    is_paired = 2 * len(common) > max(len(old), len(new))
    before, after = (_margins(side, common if is_paired else side.keys()) for side in (old, new))
    places = [place for place in before if place in after]
    found = [one for place in places if (one := _compare_place(pair, place, before[place], after[place], is_paired))]
    limit = _FALSE_ALARMS / max(len(places), 1)
    return [replace(moved, is_beyond_noise=p < limit) for moved, p in found]


def _compare_place(pair: str, place: Place, old: _Groups, new: _Groups, is_paired: bool) -> tuple[Moved, float] | None:
    """The margins of one place, and how probable it is that they differ by so much by chance; None if none differs."""
    if is_paired:
        both = {g: cases for g in old if (cases := sorted(old[g].keys() & new.get(g, {}).keys()))}
        old, new = ({g: {case: side[g][case] for case in cases} for g, cases in both.items()} for side in (old, new))
    if not old or not new or old == new:
        return None
    means = [np.array([np.mean(list(one.values())) for one in side.values()]) for side in (old, new)]
    if is_paired:
        apart = [np.mean([_apart(old[g][case], new[g][case]) for case in old[g]]) for g in old]
        p = _probability(np.array(apart), None)
    else:
        p = _probability(*means)
    cases = sum(map(len, new.values()))
    moved = Moved(pair, *place, cases, len(new), float(means[0].mean()), float(means[1].mean()), False)
    return moved, p


def _apart(old: float, new: float) -> float:
    """How far a margin moved, between -1 and 1: the large errors of a few cases do not drown the others."""
    return (new - old) / (new + old) if new + old else 0.0


def _margins(cases: Mapping[str, CaseResult], chosen: Collection[str]) -> dict[Place, _Groups]:
    """The margins of the chosen cases that pass, by place, structure and case."""
    found: dict[Place, _Groups] = defaultdict(lambda: defaultdict(dict))
    for case in (case for case in cases if case in chosen):
        one = cases[case]
        if one.status != "passed":
            continue
        group, seed, _ = split_case(case)
        _, _, _, _, dtype, regime = group.split("-")
        for check, result in one.checks.items():
            if result.margin is not None and np.isfinite(result.margin):
                found[check, dtype, regime][f"{group}-{seed}"][case] = result.margin
    return found


def _probability(first: np.ndarray, second: np.ndarray | None) -> float:
    """How probable it is that a mean is so far from 0, or that two means are so far apart, by chance; 1 where there are
    too few groups to say.
    """
    if min(len(one) for one in (first, second) if one is not None) < _LEAST_GROUPS:
        return 1.0
    if second is not None:
        if first.std() == second.std() == 0:
            return 1.0
        return float(np.asarray(stats.ttest_ind(first, second, equal_var=False))[1])
    error = first.std(ddof=1) / len(first) ** 0.5
    if error == 0:
        return 0.0 if first[0] else 1.0
    return float(2 * stats.t.sf(abs(first.mean()) / error, len(first) - 1))
