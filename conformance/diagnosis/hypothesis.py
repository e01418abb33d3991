"""What a hypothesis is: the rule with one mistake in it, written so that it can be computed for any network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...reference import Array, Structure
from ...reference.rounding import Estimate
from ...reference.steps import Change, Changes, Made
from ...reference.value import Value
from ..cases.regimes import Draw

Takes = Callable[[int, int], bool]

EVERYWHERE: Takes = lambda i, n: True  # noqa: E731
PLACES: Mapping[str, Takes] = {
    "the last layer": lambda i, n: i == n,
    "the hidden layers": lambda i, n: i < n,
    "the first layer": lambda i, n: i == 1 < n,
    "the second layer": lambda i, n: i == 2 <= n,
    "the layer before the last": lambda i, n: i == n - 1 >= 1,
}
"""Where a mistake may be made if not in every layer. Each is one rule for networks of any depth, so that it can be
tested in all cases.
"""


STEP_OF: Mapping[str, str] = {"z": "z", "x": "x", "outputs": "x", "E": "E", "k": "k", "dE/dW": "W", "dE/db": "b"}
"""The step of the rule that gives a quantity, by its symbol."""


@dataclass(frozen=True)
class Earlier:
    """The numbers of earlier calls: the one just before, and the program's first. NaN where there was none."""

    call: Draw
    first: Draw


@dataclass(frozen=True)
class Asked:
    """What a hypothesis about other inputs may use: the structure, the regime, the numbers of the calls as a stack, and
    those of earlier calls.
    """

    structure: Structure
    regime: str
    stack: Draw
    earlier: Earlier | None


@dataclass(frozen=True, eq=False)
class Limit:
    """A z beyond which a mistaken activation takes another formula: `f` in the forward pass and `slope` in the backward
    pass; None where that pass is right. `is_below` says on which side. A run has few z near it: see `bracket`.
    """

    activation: str
    z: float
    is_below: bool
    f: Callable[[Array], Array] | None
    slope: Callable[[Array], Array] | None

    @property
    def words(self) -> str:
        """How `mistake` gives it."""
        return f"{'below' if self.is_below else 'above'} {self.z:g}"


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """The rule with some steps changed, or computed from other numbers (`draw`).

    `mistake` completes "the rule with ...". `name` is the same in every report. `fitted` counts the constants that were
    fitted to the answers. `is_conditional` says that the mistake is made now and then by its nature, as by a cache, so
    that cases in which it is not made do not speak against it. `is_variant` says that it is another hypothesis
    restricted to some layers, or a number without a meaning: it is named only if nothing simpler explains as much.

    Instead of changed steps it may say that quantities with these `symbols` are computed in a narrower `format`. No
    numbers follow from that, but all of them must be numbers of that format.
    """

    name: str
    mistake: str
    mistakes: tuple[Made, ...] = ()
    draw: Callable[[Asked], Draw] | None = None
    fitted: int = 0
    is_conditional: bool = False
    is_variant: bool = False
    format: str = ""
    symbols: frozenset[str] = frozenset()
    regime: str = ""
    """The only regime in which it can be made; empty for any."""
    is_sharp: bool = False
    """Whether a slope that may be anything between two values does not explain an entry that departs from the rule."""
    limit: "Limit | None" = None
    """The z at which another formula begins, if the mistake has one. `mistake` names it where `limit` says."""

    @property
    def steps(self) -> frozenset[str]:
        """The steps of the rule that it changes; all if it computes from other numbers."""
        if self.draw is not None:
            return frozenset("zxEdrskWb")
        if self.format:
            return frozenset(STEP_OF[symbol] for symbol in self.symbols)
        return frozenset(step for changes, _ in self.mistakes for step in changes)

    @property
    def base(self) -> str:
        """The name without the restriction to some layers or gradients."""
        return self.name.partition("@")[0]


def everywhere(name: str, mistake: str, changes: Changes) -> Hypothesis:
    """A hypothesis that changes steps in every layer."""
    return Hypothesis(name, mistake, ((changes, EVERYWHERE),))


def only_where(changes: Changes, activation: str) -> Changes:
    """The changes in layers with one activation, and what is right elsewhere."""

    def restricted(change: Change) -> Change:
        return lambda w, i, right: change(w, i, right) if w.name(i) == activation else right()

    return {step: restricted(change) for step, change in changes.items()}


def cut(value: Value, rounder: Callable[[Array], Array]) -> Value:
    """A value rounded by a function to fewer digits. One within its error of a point where the rounding turns may round
    to either side; this is a jump. See `Value.narrowed`.
    """
    with np.errstate(all="ignore"):
        rounded = rounder(value.value)
        if value.reading is None:
            return Value(Estimate(rounded))
        reach = value.tolerance
        jump = np.maximum(
            np.abs(rounder(value.value + reach) - rounded), np.abs(rounded - rounder(value.value - reach))
        )
    return Value(Estimate(rounded, value.estimate.error, jump), value.reading)
