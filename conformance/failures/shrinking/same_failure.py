"""FailureKind: whether a smaller case fails in the same way as the one that is being shrunk."""

import math
from dataclasses import dataclass

from ...checks.verdict import GRADES, Check, Grade, Verdict

FAR = 10.0
"""By how many tolerances a smaller case must fail where the original did: too far for rounding errors."""


@dataclass(frozen=True)
class FailureKind:
    """What a failure has in common with every one that counts as the same.

    The *failure* of a case is its first unexpected finding or error; where it has none, its first expected finding. Two
    failures are the same when

    - the same check gives them, of the same kind of quantity (`z`, `x`, `outputs`, `E`, `k`, `dE/dW`, `dE/db`, whatever
      the layer or the step of a descent); of what is told in words, with the same message but for the names of
      quantities, structures and numbers in it; of the layout, with whatever message;
    - the layer that departs has the same activation, where the original names one;
    - the grade is the original's or a graver one: `wrong` stays `wrong`;
    - both are unexpected, or both are excused by the same expectation;
    - the smaller one departs by at least ten tolerances where the original did, and where it did not by at least the
      root of the original's error in tolerances: half of its orders of magnitude. Tolerances are ten standard
      deviations of rounding error, so that nothing above one is rounding; the margin keeps a shrunk case from being one
      that the next version of a framework, which rounds in another order, may pass by a hair.
    """

    check: Check
    quantity: str
    message: str
    activation: str | None
    grade: Grade
    expectation: str | None
    least: float

    @classmethod
    def of(cls, failure: Verdict) -> "FailureKind":
        """What is in common with this failure."""
        least = FAR if failure.worst >= FAR else math.sqrt(failure.worst)
        return cls(
            failure.check,
            failure.kind,
            _message_kind(failure),
            failure.activation,
            failure.grade,
            failure.expectation,
            least,
        )

    def matches(self, failure: Verdict | None) -> bool:
        """Whether this failure is the same."""
        return (
            failure is not None
            and (failure.check, failure.kind, _message_kind(failure)) == (self.check, self.quantity, self.message)
            and self.activation in (None, failure.activation)
            and GRADES.index(failure.grade) >= GRADES.index(self.grade)
            and failure.expectation == self.expectation
            and failure.worst >= self.least
        )


def _message_kind(failure: Verdict) -> str:
    # A message of the layout tells of shapes, which differ.
    return "" if failure.check == "layout" else failure.gist
