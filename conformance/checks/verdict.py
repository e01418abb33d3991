"""Verdicts: what a check answers for one tensor of one case, and what that makes of the case."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...adapters.quantities import split_name
from ...reference.steps import Made

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
class Verdict:
    """A check's answer for one tensor of one case.

    `worst` is the largest error in units of its tolerance, at index `at`. `power` is the norm of the tensor divided by
    the norm of its tolerance: a relative mistake of about 1/power or more would have been seen. `observed`, `expected`
    and `tolerance` are the numbers at `at`; they are recorded unless the verdict is a pass. `activation` is that of the
    tensor's layer. For a finding in an x or a k, `slack` is the absolute error of f or f' that would explain it.
    `formulas` holds the ids of the expectations whose formula explains it, and `expectation` the id of the expectation
    that matches it, or None. `step` is the number of the descent step that the verdict is about, counted from 1; None
    outside a descent. `chosen` holds, in the kinks regime, (point, value of f' there) for every pre-activation that
    lies exactly at a kink.
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
    step: int | None = None
    formulas: tuple[str, ...] = ()

    @property
    def is_finding(self) -> bool:
        """Whether the grade says that something is wrong, expected or not."""
        return self.grade in FINDINGS

    @property
    def is_unexpected(self) -> bool:
        """Whether it is a finding that no expectation matches."""
        return self.is_finding and self.expectation is None

    @property
    def fails(self) -> bool:
        """Whether it fails a run: an unexpected finding, or an error."""
        return self.is_unexpected or self.grade == "errored"

    @property
    def kind(self) -> str:
        """The quantity without its layer, such as dE/dW; for a finding about something else, what it is about."""
        return split_name(self.quantity)[0]

    @property
    def label(self) -> str:
        """The quantity as reports print it: dE/dW_1, or step 2: dE/dW_1 within a descent."""
        return self.quantity if self.step is None else f"step {self.step}: {self.quantity}"

    @property
    def gist(self) -> str:
        """The words of the message, without case ids, names of quantities and numbers, which differ from network to
        network.
        """
        return " ".join(_WORDS.findall(_NAMES.sub("", _CASE_ID.sub("", self.message))))


Formulas = Mapping[str, Made]
"""The steps that a framework is known to compute by another formula, by the id of the expectation that says so."""


@dataclass(frozen=True)
class ExpectationFor:
    """What is known of an adapter's divergences. Called with a finding, it gives the id of the expectation that matches
    it, or None. `formulas_for` gives the formulas that the expectations state for some cases, by their ids.
    """

    find: Callable[[Verdict], str | None]
    formulas_for: Callable[[Sequence[str]], Formulas] = lambda cases: {}

    def __call__(self, finding: Verdict) -> str | None:
        return self.find(finding)


NOTHING_EXPECTED = ExpectationFor(lambda finding: None)
"""For an adapter without known divergences."""


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
    """The check that compares a quantity, by its name in verdicts, and its layer, counted from 1.

    The outputs and E have no layer. A name that is no quantity of the rule has neither check nor layer.
    """
    symbol, layer = split_name(name)
    check = _CHECK_OF.get(symbol)
    return check, None if check is None else layer


def failure_of(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The failure of a case: its first unexpected finding or error, else its first expected finding, else None."""
    unexpected = next((v for v in verdicts if v.fails), None)
    return unexpected or next((v for v in verdicts if v.is_finding), None)


def status(verdicts: Sequence[Verdict]) -> Status:
    """The status of a case: the most serious of its verdicts, with expected failures kept apart."""
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
