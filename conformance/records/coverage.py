"""What a run has judged of an adapter: whether there was a case beside the layout probes, and in which dtypes and with
which activations; and the counts of cases and checks by status.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...reference import ACTIVATIONS, DTYPES, base_of
from ..checks.verdict import STATUSES, Check, Status, Verdict, status
from ..expectations.audit import Key

_NOT_JUDGED = ("unsupported", "inconclusive")
JUDGED: tuple[Status, ...] = ("passed", "expected")
"""The statuses of a check of an inconclusive case that was judged all the same."""


@dataclass(frozen=True)
class Coverage:
    """How many cases beside the layout probes were judged, and their dtypes and activations, in canonical order.

    A case that is unsupported or inconclusive was not.
    """

    cases: int
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The coverage in plain JSON types."""
        return {"cases": self.cases, "dtypes": list(self.dtypes), "activations": list(self.activations)}


def cover(statuses: Iterable[tuple[str, Status]]) -> Coverage:
    """What is covered by cases, given by id, with their statuses."""
    count, structures = 0, set[tuple[str, str]]()
    for case, found in statuses:
        _, names, _, _, dtype, regime, *_ = case.split("-")  # quicker than to parse it
        if found not in _NOT_JUDGED and regime != "layout":
            count += 1
            structures.add((names, dtype))
    names = {name for some, _ in structures for name in some.split(".")}
    dtypes = {dtype for _, dtype in structures}
    return Coverage(
        count,
        tuple(name for name in DTYPES if name in dtypes),
        sort_activations(names),
    )


def sort_activations(names: Iterable[str]) -> tuple[str, ...]:
    """Activations in the order of the table, with those that have other values of its parameters behind their row."""
    return tuple(sorted(names, key=lambda name: (list(ACTIVATIONS).index(base_of(name)), name)))


def uncovered_lines(
    name: str, adapter: Any, kept: dict[str, Collection[str]], covered: dict[str, Any]
) -> Iterator[str]:
    """What an adapter declares, and a run was asked for, and no case of it judged. `adapter` holds what is declared and
    `covered` what was judged, as plain dicts; `kept` are the dtypes and activations that the run was kept to, all if
    empty.
    """
    asked = {what: kept[what] or [*map(base_of, adapter[what])] for what in ("dtypes", "activations")}
    missing = [
        f"{what} {', '.join(some)}"
        for what, names in asked.items()
        if (some := [name for name in adapter[what] if name not in covered[what] and base_of(name) in names])
    ]
    if covered["cases"] and missing:
        yield f"{name} declares but no case judged: {'; '.join(missing)}"


def is_partly_judged(verdicts: Sequence[Verdict]) -> bool:
    """Whether a case is inconclusive, and a check of it is not."""
    by_check: dict[Check, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_check[verdict.check].append(verdict)
    return status(verdicts) == "inconclusive" and any(status(some) in JUDGED for some in by_check.values())


def count_cases(
    adapters: Sequence[str], planned: Sequence[Key], answered: Mapping[Key, Status], partly: Collection[Key] = ()
) -> dict[str, Any]:
    """The part of a footer that counts cases: in all and by adapter, what was judged, and what has no answer. Of a
    trace, the cases that are inconclusive and were judged in part (`partly`) count as judged.
    """
    counts = Counter(answered.values())
    by_adapter = {name: {"planned": 0, **dict.fromkeys(STATUSES, 0)} for name in adapters}
    for name, _ in planned:
        by_adapter[name]["planned"] += 1
    by_name: dict[str, list[tuple[str, Status]]] = {name: [] for name in adapters}
    for (name, case), found in answered.items():
        by_adapter[name][found] += 1
        by_name[name].append((case, "passed" if (name, case) in partly else found))
    return {
        "accounting": {"planned": len(planned), **{name: counts[name] for name in STATUSES}},
        "by_adapter": by_adapter,
        "judged": {name: cover(some).to_json() for name, some in by_name.items()},
        "unanswered": [list(key) for key in planned if key not in answered],
    }


def count_checks(
    checks: Mapping[str, Mapping[str, Counter[str]]], of_run: Mapping[str, Sequence[Verdict]]
) -> dict[str, dict[str, dict[str, int]]]:
    """The part of a footer that counts statuses by adapter and check, those of the whole run included."""
    counted = {name: {check: Counter(found) for check, found in some.items()} for name, some in checks.items()}
    for name, verdicts in of_run.items():
        for verdict in verdicts:
            counted.setdefault(name, {}).setdefault(verdict.check, Counter())[status([verdict])] += 1
    return {name: {check: dict(found) for check, found in some.items()} for name, some in counted.items()}
