"""Whether a smaller case fails in the same way as the case that is being shrunk."""

import math
from dataclasses import dataclass

from ...checks.verdict import GRADES, Check, Grade, Verdict

LARGE_ERROR = 10.0
"""In tolerances: an error of this size or more cannot be a rounding error that one version has and the next has not."""


@dataclass(frozen=True)
class FailureKind:
    """What a failure must share with the original to count as the same failure.

    For example, a wrong k_3 behind a tanh is the same failure as a wrong k_1 behind a tanh, and not the same as a wrong
    dE/dW_1. Two failures are the same if

    - the same check reports them, in the same kind of quantity (`z`, `x`, `outputs`, `E`, `k`, `dE/dW`, `dE/db`,
      whatever the layer or the step of a descent). A failure that is described in words must have the same message,
      apart from the names of quantities, the structures and the numbers in it; in the layout check any message will do;
    - the layer that departs has the same activation, if the original names one;
    - the grade is at least as severe: `wrong` stays `wrong`;
    - both are unexpected, or the same expectation matches both;
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

    @classmethod
    def of(cls, failure: Verdict) -> "FailureKind":
        """The kind of this failure. `least_error` is in tolerances."""
        return cls(
            failure.check,
            failure.kind,
            _message_words(failure),
            failure.activation,
            failure.grade,
            failure.expectation,
            LARGE_ERROR if failure.worst >= LARGE_ERROR else math.sqrt(failure.worst),
        )

    def matches(self, failure: Verdict | None) -> bool:
        """Whether this failure is of the kind; False for None."""
        return (
            failure is not None
            and (failure.check, failure.kind, _message_words(failure)) == (self.check, self.quantity, self.message)
            and self.activation in (None, failure.activation)
            and GRADES.index(failure.grade) >= GRADES.index(self.grade)
            and failure.expectation == self.expectation
            and failure.worst >= self.least_error
        )


def _message_words(failure: Verdict) -> str:
    # A message of the layout check lists shapes, which differ from structure to structure.
    return "" if failure.check == "layout" else failure.gist
