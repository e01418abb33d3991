"""Known causes: what the shipped expectations and the diagnosis say about a finding of an adapter."""

from ..cases.description import Description
from ..checks.findings import ExpectationFor
from ..checks.verdict import Verdict
from ..diagnosis.explanation import explanations_of
from ..expectations import expectation as known


def _shipped(adapter: Description) -> list[known.Expectation]:
    return [e for e in known.read(known.SHIPPED) if e.concerns(adapter.name, adapter.version)]


def shipped_expectation_for(adapter: Description) -> ExpectationFor:
    """A function that gives the id of the shipped expectation that matches a finding of this adapter, or None."""
    entries = _shipped(adapter)
    return lambda verdict: known.expectation_for(verdict, entries)


def describe_cause(verdict: Verdict, adapter: Description) -> str:
    """What is known to cause a finding, in one sentence: the reason of the shipped expectation that matches it, or else
    up to three known mistakes that explain it. Empty if neither is known.
    """
    entries = _shipped(adapter)
    number = known.expectation_for(verdict, entries)
    for entry in entries:
        if entry.id == number:
            where = f" ({entry.issue})" if entry.issue else ""
            return f"This is a known divergence: {entry.reason}{where}."
    mistakes = [e.mistake for e in explanations_of(verdict) if e.fits]
    return f"The result is consistent with the rule with {', or '.join(mistakes[:3])}." if mistakes else ""
