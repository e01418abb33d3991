"""A campaign under way: units handed to the workers, and their lines written down as they come."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ...cases.plan import OptionError
from ...records.form.text import printable
from .store import Store
from .units import Unit

_WAIT = 0.2
"""Seconds between two looks at the clock."""


class Ended(Protocol):
    """A unit that ended, as `cluster.Done` has it."""

    @property
    def unit(self) -> Unit: ...
    @property
    def line(self) -> bytes: ...
    @property
    def seconds(self) -> float: ...
    @property
    def worker(self) -> str: ...
    @property
    def refused(self) -> str: ...


class Workers(Protocol):
    """What runs units, as `cluster.Pool` does."""

    @property
    def has_room(self) -> bool:
        """Whether another unit may be handed in."""
        ...

    @property
    def running(self) -> int:
        """How many units are in work."""
        ...

    def submit(self, unit: Unit) -> None:
        """Hand in a unit."""

    def take(self, seconds: float) -> Ended | None:
        """A unit that ended, or None if none does in so many seconds."""


@dataclass(frozen=True)
class Goal:
    """When a campaign ends: after so many cases of all adapters, at this time of the monotonic clock, or both; None for
    no such end.
    """

    cases: int | None = None
    until: float | None = None


def due(units: Iterable[Unit], cases: int | None) -> Iterator[Unit]:
    """The first units that have so many cases together, or all."""
    total = 0
    for unit in units:
        if cases is not None and total >= cases:
            return
        total += unit.cases
        yield unit


def drive(
    workers: Workers, units: Iterable[Unit], goal: Goal, store: Store, is_done: Callable[[Unit, bytes], None]
) -> None:
    """Run the units that are due and not in the store, and write their lines there; `is_done` is called with each.

    When the time is over, units in work are waited for. Raises OptionError if a worker is unlike the machine that the
    campaign runs from, and what the store and the workers raise.
    """
    left = (unit for unit in due(units, goal.cases) if unit.number not in store.done)
    is_open = True
    while True:
        while is_open and workers.has_room:
            unit = None if goal.until is not None and time.monotonic() >= goal.until else next(left, None)
            if unit is None:
                is_open = False
            else:
                workers.submit(unit)
        if not workers.running:
            if not is_open:
                return
            continue
        ended = workers.take(_WAIT)
        if ended is None:
            continue
        if ended.refused:
            raise OptionError(f"worker {ended.worker}: {printable(ended.refused)}; workers must be like this machine")
        if store.write(ended.unit.number, ended.line, ended.seconds, ended.worker):
            is_done(ended.unit, ended.line)
