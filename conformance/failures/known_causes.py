"""Known causes: what the shipped expectations and the diagnosis say about a finding of an adapter."""

from ..cases.description import Description
from ..checks.findings import ExpectationFor
from ..checks.verdict import Verdict
from ..diagnosis.explanation import explanations_of
from ..expectations import expectation as known


def _shipped(adapter: Description) -> list[known.Expectation]:
    return [e for e in known.read(known.SHIPPED) if e.concerns(adapter)]


def shipped_expectation_for(adapter: Description) -> ExpectationFor:
    """What the checks need to know of the shipped expectations that concern this adapter."""
    return known.matcher(_shipped(adapter))


def describe_cause(verdict: Verdict, adapter: Description, original: Verdict | None = None) -> str:
    """What is known to cause a finding, in one sentence: the reason of the shipped expectation that matches it, or else
    up to three known mistakes that explain it. Empty if neither is known.

    `original` is the finding that was shrunk to this one. A mistake is named only if it explains both: it has to agree
    with the numbers that are shown, and in a larger case more mistakes give different numbers.
    """
    entries = _shipped(adapter)
    number = known.expectation_for(verdict, entries)
    for entry in entries:
        if entry.id == number:
            where = f" ({entry.issue})" if entry.issue else ""
            return f"This is a known divergence: {entry.reason}{where}."
    mistakes = [e.mistake for e in explanations_of(verdict) if e.fits]
    if original is not None:
        larger = {e.mistake for e in explanations_of(original) if e.fits}
        mistakes = [mistake for mistake in mistakes if mistake in larger]
    return f"The result is consistent with the rule with {', or '.join(mistakes[:3])}." if mistakes else ""
