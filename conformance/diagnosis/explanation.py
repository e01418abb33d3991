"""Explanations of a failure, and verdicts that carry them."""

from dataclasses import dataclass, fields

from ...reference.rounding import SIGMAS
from ..checks.verdict import Verdict


@dataclass(frozen=True)
class Explanation:
    """A known mistake that may explain a failure.

    `mistake` completes "the rule with ...". `sigmas` is the largest distance, in σ, between the answer and what the
    mistake gives. `name` is the same for the same mistake in other cases.
    """

    name: str
    mistake: str
    sigmas: float

    @property
    def fits(self) -> bool:
        """Whether the answer lies within the tolerance of what the mistake gives."""
        return self.sigmas <= SIGMAS


@dataclass(frozen=True)
class DiagnosedVerdict(Verdict):
    """A verdict with its diagnosis: where the failure begins (`origin`, a quantity by name), and the mistakes that
    explain it, the nearest first, followed by the nearest that does not fit.
    """

    origin: str = ""
    explanations: tuple[Explanation, ...] = ()


def with_diagnosis(verdict: Verdict, origin: str, explanations: tuple[Explanation, ...]) -> DiagnosedVerdict:
    """The verdict with a diagnosis."""
    given = {f.name: getattr(verdict, f.name) for f in fields(Verdict)}
    return DiagnosedVerdict(**given, origin=origin, explanations=explanations)


def origin_of(verdict: Verdict) -> str:
    """Where the failure begins; empty for a verdict without a diagnosis."""
    return verdict.origin if isinstance(verdict, DiagnosedVerdict) else ""


def explanations_of(verdict: Verdict) -> tuple[Explanation, ...]:
    """The explanations of a verdict; empty for one without a diagnosis."""
    return verdict.explanations if isinstance(verdict, DiagnosedVerdict) else ()
