"""Verdicts: what a check answers for one tensor of one case, and what that makes of the case."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...reference.rounding import SIGMAS

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
FINDINGS: tuple[Grade, ...] = ("inaccurate", "wrong")
"""The grades that say that something is wrong."""

Status = Literal["passed", "failed", "expected", "inconclusive", "unsupported", "blocked", "errored"]
STATUSES: tuple[Status, ...] = get_args(Status)


_CASE_ID = re.compile(r"\b\d+(?:x\d+)+-\S+")
_NAMES = re.compile(r"\b(?:dE/d[Wb]|[zxk])_\d+|\boutputs\b|\bE\b|\band more\b")
_WORDS = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class Explanation:
    """A mistake, completing "the rule with ...", and the largest departure of the answer from what it gives, in σ. The
    name is the same for the same mistake elsewhere.
    """

    name: str
    mistake: str
    sigmas: float

    @property
    def fits(self) -> bool:
        """Whether the answer lies within the tolerance of what the mistake gives."""
        return self.sigmas <= SIGMAS


@dataclass(frozen=True)
class Verdict:
    """A check's answer for one tensor of one case.

    `worst` is the largest error in units of its tolerance, at index `at`; `power` is the tensor's norm over the norm of
    its tolerance: how large a mistake would have to be to go unseen is about 1/power. `observed`, `expected` and
    `tolerance` are the numbers at `at`, and are recorded where the verdict is not a pass. `activation` is that of the
    tensor's layer. `slack` is, of a finding in an x or a k, by how much f or f' would have to be off to explain it,
    absolutely. `expectation` is the id of the expectation that excuses a finding, where one does.
    `chosen` holds, in the kinks regime, (point, value of f' there) for every pre-activation that lies at a kink.
    The first finding of a case that no expectation excuses tells in `origin` where the mistake begins, and in
    `explanations` which known mistakes explain the case, the nearest first, and after those the next best.
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
    slack: float | None = None
    activation: str | None = None
    message: str = ""
    expectation: str | None = None
    chosen: tuple[tuple[float, float], ...] = ()
    origin: str = ""
    explanations: tuple[Explanation, ...] = ()

    @property
    def is_finding(self) -> bool:
        """Whether the grade says that something is wrong, expected or not."""
        return self.grade in FINDINGS

    @property
    def is_unexpected(self) -> bool:
        """Whether it is a finding that no expectation excuses."""
        return self.is_finding and self.expectation is None

    @property
    def fails(self) -> bool:
        """Whether it fails a run: an unexpected finding, or an error."""
        return self.is_unexpected or self.grade == "errored"

    @property
    def kind(self) -> str:
        """The quantity without its layer and its step; what a finding is about where that is no quantity."""
        return self.quantity.rpartition(": ")[2].split("_")[0]

    @property
    def gist(self) -> str:
        """The words of the message, without case ids, names of quantities and numbers, which differ from network to
        network.
        """
        return " ".join(_WORDS.findall(_NAMES.sub("", _CASE_ID.sub("", self.message))))


_CHECK_OF: dict[str, Check] = {
    "z": "forward",
    "x": "forward",
    "outputs": "forward",
    "E": "error",
    "k": "k_terms",
    "dE/dW": "weight_gradients",
    "dE/db": "bias_gradients",
}


def quantity_of(name: str) -> tuple[Check | None, int | None]:
    """The check that asks after a quantity by its name in verdicts, and its layer, counted from 1; without a layer for
    the outputs and E, and neither for what is no quantity of the rule. A quantity of a descent step counts as itself.
    """
    symbol, _, layer = name.rpartition(": ")[2].partition("_")
    check = _CHECK_OF.get(symbol)
    return check, int(layer) if check is not None and layer.isdigit() else None


def status(verdicts: Sequence[Verdict]) -> Status:
    """What the verdicts of one case come to: the gravest of them, with expected failures apart."""
    grades = {verdict.grade for verdict in verdicts if not verdict.is_finding}
    if "errored" in grades:
        return "errored"
    if any(verdict.is_unexpected for verdict in verdicts):
        return "failed"
    if "blocked" in grades:
        return "blocked"
    if any(verdict.is_finding for verdict in verdicts):
        return "expected"
    if "unsupported" in grades:
        return "unsupported"
    return "inconclusive" if "inconclusive" in grades or not verdicts else "passed"


def failure_of(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The failure of a case: its first unexpected finding or error, or else its first expected finding; None where it
    has neither.
    """
    unexpected = next((v for v in verdicts if v.fails), None)
    return unexpected or next((v for v in verdicts if v.is_finding), None)
