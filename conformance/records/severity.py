"""The severity of findings in a record: the level of its run, and lines about size, region and level."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..cases.level import Level, parse_level
from ..checks.findings import is_below
from ..checks.verdict import Severity, Verdict


def heading(level: Level) -> str:
    """The line above the causes that are only componentwise, in a run of this level."""
    passes = ", which a run at level normwise lets pass" if level == "normwise" else ""
    return (
        "Componentwise only: in norm these tensors agree with the rule; single entries exceed their own tolerance"
        f"{passes}."
    )


def size_lines(severity: Severity, cases: int) -> list[str]:
    """How large the errors of a cause are, in norm, and where; no line if its findings are not about numbers."""
    most, tensor = ("at most ", "a tensor") if cases > 1 else ("", "the tensor")
    parts = []
    if severity.relative is not None and math.isfinite(severity.relative):
        parts.append(f"{most}{severity.relative:.2g} of {tensor}")
    if severity.normwise is not None and math.isfinite(severity.normwise):
        parts.append(f"{most}{severity.normwise:.2g} times the tolerance")
    where = "" if severity.region is None else f"; {severity.activation}, {_range(*severity.region)}"
    return [f"  norm of the error: {' and '.join(parts)}{where}"] if parts else []


def _range(low: float, high: float) -> str:
    first, last = (f"{end:.4g}" for end in (low, high))
    return f"z = {first}" if first == last else f"z from {first} to {last}"


def level_inconsistency(
    header: dict[str, Any], footer: dict[str, Any], verdicts: Iterable[Sequence[Verdict]]
) -> str | None:
    """Where the level in a record's header, its verdicts and its footer disagree; None where they agree."""
    try:
        level = parse_level(header.get("level"))
    except ValueError as error:
        return f"its header holds no level: {error}"
    findings = [v for some in verdicts for v in some if v.is_finding or v.below_level]
    for v in findings:
        if v.below_level != is_below(v, level):
            return f"its level, {level}, does not agree with the verdict on {v.case} {v.check} {v.quantity}"
    below = sum(v.below_level for v in findings)
    if footer.get("below_level") != below:
        return f"its footer counts {footer.get('below_level')} findings below the level, its verdicts give {below}"
    return None


def below_line(findings: int, cases: int) -> str:
    """How many findings the level of a run lets pass, in how many cases."""
    return (
        f"{findings:,} finding{'s' if findings != 1 else ''} in {cases:,} case{'s' if cases != 1 else ''} "
        "are componentwise only and pass at level normwise"
    )
