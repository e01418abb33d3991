"""Calls of an adapter's program: their numbers, what they returned, and what came before them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ....adapters import Observation
from ....reference import Structure
from ....reference.arithmetic import Arithmetic
from ....reference.rounding import Conventions
from ....reference.steps import Made
from ...cases.regimes import Draw
from ..verdict import Formulas, Verdict
from .compare import Comparison, Measure, compare
from .formulas import with_formulas


@dataclass(frozen=True)
class Call:
    """One call: its numbers, not stacked, and its observation if it returned one."""

    draw: Draw
    observation: Observation | None


@dataclass(frozen=True)
class Calls:
    """Calls of one program: D draws as a stack, and the D observations, which show the same quantities.

    `history` holds the numbers of earlier calls as a stack, and `before` the index in it of the call just before each
    of these, or None. Index 0 of `history` is the program's first call. `conventions` are the slopes that the adapter
    declares at kinks, `arithmetic` what it declares about its products, and `formulas` what it is known to compute
    instead of the rule. `measure` computes the sums of each comparison.
    """

    structure: Structure
    regime: str
    stack: Draw
    observed: tuple[Observation, ...]
    history: Draw
    before: tuple[int | None, ...]
    conventions: Conventions | None = None
    arithmetic: Arithmetic | None = None
    formulas: Formulas = field(default_factory=dict)
    measure: Measure | None = None

    @cached_property
    def compared(self) -> tuple[Comparison, ...]:
        """Every quantity of the calls, compared with the rule, and where it departs also with the formulas."""
        return with_formulas(tuple(self._compare_with((), self.measure)), self.formulas, self._compare_with)

    def _compare_with(self, changes: Sequence[Made], measure: Measure | None = None) -> Iterator[Comparison]:
        known = self.conventions, self.arithmetic
        return compare(self.structure, self.stack, self.observed, self.regime, *known, changes, measure)


@dataclass(frozen=True)
class JudgedCalls:
    """Calls and the verdicts on them: one list for each call, or a single verdict about several calls (`together`)."""

    calls: Calls
    verdicts: tuple[tuple[Verdict, ...], ...] = ()
    together: Verdict | None = None


def before_each(chosen: Sequence[int]) -> list[int | None]:
    """The index of the call just before each of the calls with these indices."""
    return [i - 1 if i else None for i in chosen]
