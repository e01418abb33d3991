"""What a run has judged of an adapter: whether there was a case beside the layout probes, and in which dtypes and with
which activations.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ...reference import ACTIVATIONS, DTYPES
from ..checks.verdict import Status

_NOT_JUDGED = ("unsupported", "inconclusive")


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
    for case, status in statuses:
        _, names, _, _, dtype, regime, *_ = case.split("-")  # quicker than to parse it
        if status not in _NOT_JUDGED and regime != "layout":
            count += 1
            structures.add((names, dtype))
    names = {name for some, _ in structures for name in some.split(".")}
    dtypes = {dtype for _, dtype in structures}
    return Coverage(
        count, tuple(name for name in DTYPES if name in dtypes), tuple(name for name in ACTIVATIONS if name in names)
    )


def uncovered_lines(
    name: str, adapter: Any, kept: dict[str, Collection[str]], covered: dict[str, Any]
) -> Iterator[str]:
    """What an adapter declares, and a run was asked for, and no case of it judged. `adapter` holds what is declared and
    `covered` what was judged, as plain dicts; `kept` are the dtypes and activations that the run was kept to, all if
    empty.
    """
    missing = [
        f"{what} {', '.join(some)}"
        for what in ("dtypes", "activations")
        if (some := [n for n in adapter[what] if n not in covered[what] and (n in kept[what] or not kept[what])])
    ]
    if covered["cases"] and missing:
        yield f"{name} declares but no case judged: {'; '.join(missing)}"
