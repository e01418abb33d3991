"""Whether a smaller case fails in the same way as the case that is being shrunk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....adapters.quantities import split_name
from ....reference import DTYPES
from ...cases.case import CaseError, Group, parse_case
from ...cases.regimes import REGIMES
from ...checks.comparison.calls import JudgedCalls
from ...checks.findings import ExpectationFor, is_expected_in
from ...checks.verdict import GRADES, Check, Grade, Verdict, quantity_of
from ...diagnosis.locate import locate

LARGE_ERROR = 10.0
"""In tolerances: an error of this size or more cannot be a rounding error that one version has and the next has not."""
GROSS = -3.0
"""Decades of the error over the tolerance, times the unit roundoff: from here on the numbers are simply wrong, and how
wrong depends on the numbers and not on the defect. A tolerance is 10 σ, and σ some units of roundoff, so this is a
relative error of a percent or so.
"""
_BELOW, _ABOVE = 1.0, 2.0
"""By how many decades a smaller case may be less wrong, or more wrong. It may be more wrong, since a large case has the
larger tolerances and adds the error of one entry to many right ones.
"""


@dataclass(frozen=True)
class Origin:
    """Where a failure begins: the kinds of quantity that it can be (k, dE/dW), and the activation of that layer."""

    kinds: frozenset[str]
    activation: str

    def agrees(self, other: "Origin") -> bool:
        """Whether both can be the same."""
        return bool(self.kinds & other.kinds) and self.activation == other.activation


def find_origin(
    group: Group, judged: Sequence[JudgedCalls], failure: Verdict, expectation_for: ExpectationFor
) -> Origin | None:
    """Where an unexpected finding begins, as diagnosis sees it; None for other failures."""
    if not failure.is_unexpected:
        return None
    is_expected = is_expected_in(group, expectation_for)
    for one in judged:
        for i, verdicts in enumerate(one.verdicts):
            if failure in verdicts:
                network = one.calls.structure.network
                departs = {c.quantity: not c.worst[i] <= 1 and not is_expected(c, i) for c in one.calls.compared}
                place = locate(network, departs)
                if place is None:
                    return None
                layer = quantity_of(place.quantities[0])[1] or network.depth
                kinds = frozenset(split_name(name)[0] for name in place.quantities)
                return Origin(kinds, network.activations[layer - 1])
    return None


@dataclass(frozen=True)
class FailureKind:
    """What a failure must share with the original to count as the same failure.

    For example, a wrong k_3 behind a tanh is the same failure as a wrong k_1 behind a tanh, and not the same as a wrong
    dE/dW_1, nor the same as a k_1 behind a tanh that is wrong in its last digits. Two failures are the same if

    - the same check reports them, in the same kind of quantity (`z`, `x`, `outputs`, `E`, `k`, `dE/dW`, `dE/db`,
      whatever the layer or the step of a descent). A failure that is described in words must have the same message,
      apart from the names of quantities, the structures and the numbers in it; in the layout check any message will do;
    - the layer that departs has the same activation, if the original names one;
    - they can begin in the same kind of quantity, behind the same activation;
    - the grade is at least as severe: `wrong` stays `wrong`;
    - both are unexpected, or the same expectation matches both;
    - unexpected errors are of one size class. The size of an error is the error in tolerances times the unit roundoff
      of its dtype, which is about the relative error, whatever the dtype. It may be at most one decade smaller and two
      decades larger than that of the original; all sizes above 1e-3 count as 1e-3. So a wrong slope does not become a
      slope that is inaccurate far out, nor the reverse. Numbers that are not finite stay so;
    - the error of the smaller case is at least 10 tolerances if that of the original was; otherwise at least the square
      root of the original's error in tolerances, which is half of its orders of magnitude. A tolerance is 10 σ of
      rounding error, so an error above one tolerance is no rounding error. The margin is there so that the shrunk case
      still fails in the next version of a framework, which may round in another order.
    """

    check: Check
    quantity: str
    message: str
    activation: str | None
    grade: Grade
    expectation: str | None
    least_error: float
    size: float | None
    origin: Origin | None = None
    above: float = _ABOVE

    @classmethod
    def of(cls, failure: Verdict, origin: Origin | None = None) -> "FailureKind":
        """The kind of this failure. `least_error` is in tolerances, and `size` and `above` in decades."""
        return cls(
            failure.check,
            failure.kind,
            _message_words(failure),
            failure.activation,
            failure.grade,
            failure.expectation,
            LARGE_ERROR if failure.worst >= LARGE_ERROR else math.sqrt(failure.worst),
            size_of(failure),
            origin,
        )

    def matches(self, failure: Verdict | None, origin: Origin | None = None) -> bool:
        """Whether this failure is of the kind; False for None. An origin that is None agrees with any."""
        return (
            failure is not None
            and (failure.check, failure.kind, _message_words(failure)) == (self.check, self.quantity, self.message)
            and self.activation in (None, failure.activation)
            and (self.origin is None or origin is None or self.origin.agrees(origin))
            and GRADES.index(failure.grade) >= GRADES.index(self.grade)
            and failure.expectation == self.expectation
            and failure.worst >= self.least_error
            and (self.expectation is not None or self._is_of_size(size_of(failure)))
        )

    def _is_of_size(self, size: float | None) -> bool:
        if self.size is None or size is None:
            return self.size is None and size is None
        if math.isnan(self.size) or math.isnan(size):
            return math.isnan(self.size) and math.isnan(size)
        return self.size - _BELOW <= size <= self.size + self.above


def size_of(failure: Verdict) -> float | None:
    """The size class of a failure, in decades, at most `GROSS`; NaN for a number that is not finite. None for a failure
    without numbers.
    """
    if failure.worst == 0:
        return None
    if failure.observed is not None and not math.isfinite(failure.observed):
        return math.nan
    size = failure.worst * _unit_roundoff(failure)
    return min(math.log10(size), GROSS) if size > 0 else None


def _unit_roundoff(failure: Verdict) -> float:
    try:
        return parse_case(failure.case, tuple(REGIMES)).structure.format.u
    except CaseError:
        return DTYPES["f64"].u


def _message_words(failure: Verdict) -> str:
    # A message of the layout check lists shapes, which differ from structure to structure.
    return "" if failure.check == "layout" else failure.gist
