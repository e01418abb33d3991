"""What a mutant is: the rule with one realistic mistake in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...adapters import Program
from ...reference import Structure
from ...reference.steps import Changes

Place = Literal["every layer", "the last layer", "the hidden layers", "the first layer", "a middle layer"]
PLACES: Mapping[Place, Callable[[int, int], bool]] = {
    "every layer": lambda i, n: True,
    "the last layer": lambda i, n: i == n,
    "the hidden layers": lambda i, n: i < n,
    "the first layer": lambda i, n: i == 1 < n,
    "a middle layer": lambda i, n: i == (n + 1) // 2 and 1 < i < n,
}
"""Whether a place includes layer i of n, counted from 1."""

Make = Callable[[Structure], Program]
Wrap = Callable[[Make], Make]
"""Takes an adapter's function that makes programs, and returns one whose programs have a mistake. It is called once an
adapter, so that what the mistake remembers from program to program lives in its closure.
"""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    `mistake` completes "the rule with ...". `effect` says how the answer changes, and `hidden` which property of a case
    hides it. It changes steps of the rule (`changes`, at the layers of `place`), or wraps an adapter's programs
    (`wraps`). `equivalent` is the proof that nothing changes; such a mutant must never be found. `shows` is part of the
    verdict's message, for a mistake that is reported in words and not by numbers.
    """

    name: str
    mistake: str
    effect: str
    hidden: str
    changes: Changes = field(default_factory=dict)
    place: Place = "every layer"
    wraps: Wrap | None = None
    equivalent: str = ""
    is_common: bool = False
    shows: str = ""

    def takes(self, i: int, n: int) -> bool:
        """Whether the mistake is made at layer i of n."""
        return PLACES[self.place](i, n)
