"""Verdicts: what a check answers for one tensor of one case, and what that makes of the case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Check = Literal[
    "contract",
    "layout",
    "forward",
    "error",
    "k_terms",
    "weight_gradients",
    "bias_gradients",
    "descent",
    "batch",
]
CHECKS: tuple[Check, ...] = get_args(Check)
"""In dependency order: a check whose premise failed is blocked."""

Grade = Literal["pass", "inaccurate", "wrong", "inconclusive", "blocked", "errored", "unsupported"]
GRADES: tuple[Grade, ...] = get_args(Grade)
Status = Literal["passed", "failed", "expected", "inconclusive", "unsupported", "blocked", "errored"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Verdict:
    """A check's answer for one tensor of one case.

    `worst` is the largest error in units of its tolerance, at index `at`; `power` is the tensor's norm over the norm of
    its tolerance: how large a mistake would have to be to go unseen is about 1/power. `observed`, `expected` and
    `tolerance` are the numbers at `at`, and are recorded where the verdict is not a pass. `activation` is that of the
    tensor's layer. `expectation` is the reason why a failure is expected, where it is.
    """

    case: str
    check: Check
    quantity: str
    grade: Grade
    worst: float = 0.0
    at: tuple[int, ...] = ()
    power: float | None = None
    observed: float | None = None
    expected: float | None = None
    tolerance: float | None = None
    activation: str | None = None
    message: str = ""
    expectation: str | None = None

    @property
    def is_finding(self) -> bool:
        """Whether the grade says that something is wrong, expected or not."""
        return self.grade in ("inaccurate", "wrong")


def status(verdicts: Sequence[Verdict]) -> Status:
    """What the verdicts of one case come to: the gravest of them, with expected failures apart."""
    grades = {verdict.grade for verdict in verdicts if not verdict.is_finding}
    if "errored" in grades:
        return "errored"
    if any(verdict.is_finding and verdict.expectation is None for verdict in verdicts):
        return "failed"
    if "blocked" in grades:
        return "blocked"
    if any(verdict.is_finding for verdict in verdicts):
        return "expected"
    if "unsupported" in grades:
        return "unsupported"
    return "inconclusive" if "inconclusive" in grades or not verdicts else "passed"
