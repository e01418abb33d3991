"""Words that all views of a record have: an adapter, the commands that show a case, a finding, and its diagnosis."""

import shlex
from typing import Any

from ....reference.rounding import SIGMAS
from ...cases.case import traced_layer
from ...checks.verdict import Verdict
from ...diagnosis.causes import Cause
from ...diagnosis.explanation import origin_of
from ...expectations.expectation import Expectation
from .text import count, printable
from .verdicts import split_case

_MOST_NAMED = 3


def versioned(adapter: dict[str, Any]) -> str:
    """An adapter's name and version, and the mutant planted in it."""
    mutant = f" with mutant {adapter['mutant']}" if adapter["mutant"] else ""
    return printable(f"{adapter['name']} {adapter['version']}".rstrip() + mutant)


def words(adapter: dict[str, Any], device: str | None = None) -> str:
    """The arguments that name an adapter, its mutant, its device and its interpreter to a command of kterm, quoted for
    a shell.
    """
    named = shlex.quote(adapter["spec"])
    for option, value in (("mutant", adapter["mutant"]), ("device", device), ("python", adapter.get("python"))):
        named += f" --{option} {shlex.quote(value)}" if value else ""
    return named


def command_lines(case: str, adapter: dict[str, Any], device: str | None = None) -> list[str]:
    """The commands that show more of a failing case; none for an adapter that no command line can name. For a layer of
    a trace, TRACE stands for the folder of the trace, which a record does not name.
    """
    if (layer := traced_layer(case)) is not None:
        return [f"kterm reproduce TRACE {shlex.quote(layer)} --step {split_case(case)[2]} -o bug.py"]
    if not adapter["spec"]:
        return []
    named = words(adapter, device)
    lines = [f"kterm shrink {case} {named}", f"kterm replay {case} {named}"]
    return [*lines, f"kterm reproduce {case} {named} -o bug.py"] if adapter.get("has_script") else lines


def headline(cause: Cause) -> str:
    """A cause in one line: what failed in how many cases. In a trace, the quantity and a layer."""
    shown = cause.worst
    if (layer := traced_layer(shown.case)) is not None:
        more = f", and in {count(cause.cases - 1, 'more case')}" if cause.cases > 1 else ""
        return f"{cause.adapter}: {shown.quantity} of {layer} {shown.grade}{more}"
    where = f"; it begins at {origin}" if (origin := origin_of(shown)) else ""
    return f"{cause.adapter}: {' and '.join(cause.checks)} {shown.grade} in {count(cause.cases, 'case')}{where}"


TRACED = {"dE/dW": "dL/dW", "dE/db": "dL/db", "k": "dL/dx"}
"""What quantities of the rule are in a trace, where the loss is of any kind and k Wᵀ is what a layer gives back."""


def describe_rule(expected: float | None, jump: float | None) -> str:
    """The rule's number in words; where a kink leaves a choice, both ends of what it allows."""
    if not jump or expected is None:
        return f"{expected!r}"
    # The jump has a little rounding error in it, which digits of the ends would show.
    low, high = (end if abs(end) > jump / 100 else 0.0 for end in (expected - jump, expected + jump))
    return f"anything from about {low:.4g} to {high:.4g}"


def finding_lines(finding: Verdict) -> list[str]:
    """What is wrong: in words, or the worst entry with both numbers."""
    if finding.message:
        return [f"  {finding.label}: {finding.message}"]
    if finding.observed is None:
        return []
    at = f"[{', '.join(map(str, finding.at))}]" if finding.at else ""
    layer = f" ({finding.activation})" if finding.activation else ""
    return [
        f"  {finding.label}{at}{layer}: the framework gives {finding.observed!r}, "
        f"the rule {describe_rule(finding.expected, finding.jump)}; "
        f"{finding.worst * SIGMAS:.3g} σ, {finding.worst:.3g} times the tolerance {finding.tolerance:.3g}"
    ]


def diagnosis_lines(cause: Cause) -> list[str]:
    """What explains a cause, or what is known of it; no line where a message says it already."""
    if cause.text:
        return [f"  cause: {cause.text}"]
    if cause.mistakes:
        named = [f"the rule with {e.mistake} (residual {e.sigmas:.2g} σ)" for e in cause.mistakes[:_MOST_NAMED]]
        more = f", or {len(cause.mistakes) - _MOST_NAMED} more" if len(cause.mistakes) > _MOST_NAMED else ""
        best = "" if cause.next_best is None else f"; next best explanation {cause.next_best:.2g} σ"
        equals = "equals" if cause.is_fact else "is consistent with"
        compared = f"; compared in {cause.compared:,} calls" if cause.compared else ""
        return [f"  it {equals} {', or '.join(named)}{more}{best}{compared}"]
    known = [f"  {line}" for line in cause.description]
    if cause.worst.message or cause.worst.grade == "errored" or cause.worst.below_level:
        return known  # what the run lets pass is not diagnosed
    return ["  no known mistake explains this", *known]


def reason_of(expectation: Expectation) -> str:
    """Why a divergence is expected, with the issue that describes it where there is one."""
    return f"{expectation.reason} ({expectation.issue})" if expectation.issue else expectation.reason
