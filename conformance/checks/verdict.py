"""Verdicts: what a check answers for one tensor of one case, and what that makes of the case."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ...adapters.quantities import split_name
from ...reference.steps import Made
from ..cases.level import Level, parse_level

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
    "bias",
    "spread",
]
RUN_CHECKS: tuple[Check, ...] = ("bias", "spread")
"""The checks of a run as a whole. No case has a verdict of these."""
RUN_QUANTITIES = ("z", "x", "k", "dE/dW", "dE/db")
"""The quantities that they judge."""
CHECKS: tuple[Check, ...] = tuple(check for check in get_args(Check) if check not in RUN_CHECKS)
"""The checks of a case, in dependency order: a check whose premise failed is blocked."""

Grade = Literal["pass", "inaccurate", "wrong", "inconclusive", "blocked", "errored", "unsupported"]
GRADES: tuple[Grade, ...] = get_args(Grade)
FINDINGS: tuple[Grade, ...] = ("inaccurate", "wrong")
"""The grades that say that something is wrong."""

SAME_CALL, SOAK, EARLIER, TWINS = "same call twice", "repeated calls", "earlier observation", "twins"
REPEATED = (SAME_CALL, SOAK, TWINS)
"""The quantities of findings that a program did not answer as it answered the same call before. They are `inaccurate`
if the later answer is right by itself, to within the tolerance, and `wrong` if it is not.
"""

Status = Literal["passed", "failed", "expected", "inconclusive", "unsupported", "blocked", "errored"]
STATUSES: tuple[Status, ...] = get_args(Status)


_CASE_ID = re.compile(r"\b\d+(?:x\d+)+-\S+")
_NAMES = re.compile(r"\b(?:dE/d[Wb]|[zxk])_\d+|\boutputs\b|\bE\b|\band more\b")
_BRACES = re.compile(r"\{[^{}]*\}")
_WORDS = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class Verdict:
    """A check's answer for one tensor of one case, or for one quantity of a whole run.

    `worst` is the largest error in units of its tolerance, at index `at`. `power` is the norm of the tensor divided by
    the norm of its tolerance: a relative mistake of about 1/power or more would have been seen. `observed`, `expected`
    and `tolerance` are the numbers at `at`; they are recorded unless the verdict is a pass. `activation` is that of the
    tensor's layer. Where a kink leaves a choice, the rule has all values from `expected` - `jump` to
    `expected` + `jump`. For a finding in an x or a k, `slack` is the absolute error of f or f' that would explain it.
    `formulas` holds the ids of the expectations whose formula explains it, and `expectation` the id of the expectation
    that matches it, or None. `step` is the number of the descent step that the verdict is about, counted from 1; None
    outside a descent. `chosen` holds, in the kinks regime, (point, value of f' there) for every pre-activation that
    lies exactly at a kink.

    A finding about numbers also has the norm of the error in units of the norm of the tolerance (`normwise`) and of the
    norm of the tensor (`relative`), and the least and the greatest pre-activation of the entries above their tolerance
    (`region`), if pre-activations belong to them. `below_level` says that the run's level lets the finding pass.

    For a whole run, `case` names the dtype, as in all-f32-run, and `quantity` has no layer. `observed` is the mean of
    the errors in σ, `expected` the nearest mean that a sound framework may have, and `tolerance` how far from it the
    mean may be.
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
    normwise: float | None = None
    relative: float | None = None
    region: tuple[float, float] | None = None
    below_level: bool = False
    formulas: tuple[str, ...] = ()
    jump: float | None = None

    @property
    def is_finding(self) -> bool:
        """Whether the grade says that something is wrong, expected or not."""
        return self.grade in FINDINGS

    @property
    def level(self) -> Level | None:
        """The level at which a finding is one: componentwise if it is only that. None if it is no finding.

        A finding that is not about the size of an error, such as a wrong shape, is one at every level.
        """
        if not self.is_finding:
            return None
        return "componentwise" if self.normwise is not None and self.normwise <= 1 else "normwise"

    @property
    def is_unexpected(self) -> bool:
        """Whether it is a finding that neither an expectation nor the level of the run lets pass."""
        return self.is_finding and self.expectation is None and not self.below_level

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
        """The words of the message, without case ids, names of quantities, what is in braces and numbers, which differ
        from network to network.
        """
        return " ".join(_WORDS.findall(_NAMES.sub("", _CASE_ID.sub("", _BRACES.sub("", self.message)))))


@dataclass(frozen=True)
class Severity:
    """How large the errors of some findings are. `level` is "componentwise" if all of them are only that.

    `normwise` and `relative` are the largest of the findings, None if they are not about numbers. `activation` and
    `region` say where: None if the findings have several activations, or no pre-activations of their own.
    """

    level: Level
    normwise: float | None = None
    relative: float | None = None
    activation: str | None = None
    region: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The severity in plain JSON types; an infinite or undefined number as text."""
        sizes = {name: _to_number(getattr(self, name)) for name in ("normwise", "relative")}
        region = None if self.region is None else [_to_number(end) for end in self.region]
        return {"level": self.level, **sizes, "activation": self.activation, "region": region}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Severity":
        """The inverse of `to_json`. Raises KeyError, TypeError and ValueError for anything else."""
        normwise, relative = (None if data[name] is None else float(data[name]) for name in ("normwise", "relative"))
        region = None
        if data["region"] is not None:
            low, high = map(float, data["region"])
            region = low, high
        return cls(parse_level(data["level"]), normwise, relative, data["activation"], region)


def _to_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def severity_of(verdicts: Sequence[Verdict]) -> Severity:
    """The severity of some findings and errors, at least one."""
    level: Level = "componentwise" if all(v.level == "componentwise" for v in verdicts) else "normwise"
    regions = [v.region for v in verdicts if v.region is not None]
    names = {v.activation for v in verdicts}
    region = None
    if len(names) == 1 and len(regions) == len(verdicts):
        region = min(low for low, _ in regions), max(high for _, high in regions)
    return Severity(
        level,
        max((v.normwise for v in verdicts if v.normwise is not None), default=None),
        max((v.relative for v in verdicts if v.relative is not None), default=None),
        None if region is None else next(iter(names)),
        region,
    )


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
    """The failure of a case: its first error or unexpected finding that is not only componentwise, else its first
    unexpected finding, else its first other finding, else None.
    """
    failing = [v for v in verdicts if v.fails] or [v for v in verdicts if v.is_finding]
    return next((v for v in failing if v.fails and v.level != "componentwise"), failing[0] if failing else None)


def failure_to_show(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The failure that a report shows of a case; of a case without one, its first finding below the level of the run,
    if it has one.
    """
    return failure_of([v for v in verdicts if v.fails or v.below_level])


def status(verdicts: Sequence[Verdict]) -> Status:
    """The status of a case: the most serious of its verdicts, with expected failures kept apart. A finding below the
    level of the run counts as a pass.
    """
    grades = {verdict.grade for verdict in verdicts if not verdict.is_finding}
    if "errored" in grades:
        return "errored"
    if any(verdict.is_unexpected for verdict in verdicts):
        return "failed"
    if "blocked" in grades:
        return "blocked"
    if any(verdict.is_finding and verdict.expectation is not None for verdict in verdicts):
        return "expected"
    if "unsupported" in grades:
        return "unsupported"
    return "inconclusive" if "inconclusive" in grades or not verdicts else "passed"
