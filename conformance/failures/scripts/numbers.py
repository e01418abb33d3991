"""Reproducers of numbers that depart: what is right, how it comes about, and an assertion on every entry."""

import textwrap

import numpy as np

from ....adapters import Script
from ....reference import Structure
from ....reference.rounding import SIGMAS
from ...cases.regimes import REGIMES
from .blocks import LONG, entry, observed, plant
from .derivation import derivation
from .evidence import Evidence
from .failure import Failure
from .literals import WIDTH, comment, literal, rounded


def told(shown: Evidence) -> str:
    """The entry furthest out, with both numbers."""
    seen, due, within = (float(array[shown.at]) for array in (shown.observed, shown.expected, shown.tolerance))
    return f"{shown.quantity}{entry(shown.at)} is {seen!r}; it should be {due!r} within {within:.3g}"


def numbers(failure: Failure, script: Script, shown: Evidence) -> list[str]:
    """The blocks of source after the inputs."""
    used = [*shown.given, shown.quantity]
    return [
        script.calls,
        observed(script, used),
        plant(failure.planted, used, "observed"),
        _own_values(failure.structure, script, shown),
        f"{comment(_right(failure, script, shown))}\nexpected = {literal(shown.expected)}",
        f"{comment(_tolerance_is(failure, shown))}\ntolerance = {_tolerance(shown)}",
        _assertion(shown),
    ]


def _own_values(structure: Structure, script: Script, shown: Evidence) -> str:
    """That the step starts from the values that the expected ones were computed from."""
    if not shown.given:
        return ""
    values = {name: literal(value.astype(structure.format.numpy)) for name, value in shown.given.items()}
    return "\n".join(
        (
            comment(f"The step is judged from {script.framework}'s own values before it, as they were here."),
            "own = {",
            *(textwrap.indent(f'"{name}": {value},', "    ") for name, value in values.items()),
            "}",
            "for name, array in own.items():",
            "    if not np.array_equal(observed[name], array):",
            '        raise SystemExit(f"{name} is another on this machine; write the script anew")',
        )
    )


def _right(failure: Failure, script: Script, shown: Evidence) -> str:
    source = f"{script.framework}'s own {', '.join(shown.given)}" if shown.given else "the numbers above"
    steps = textwrap.indent(derivation(failure.structure, failure.draw, shown), "    ")
    return f"What is right, in float64 from {source}:\n{steps}"


def _tolerance_is(failure: Failure, shown: Evidence) -> str:
    regime, dtype = REGIMES[failure.regime], LONG[failure.structure.dtype]
    if regime.rounding == "exact":
        return (
            f"All products and sums of these numbers are numbers of {dtype}, so that nothing rounds. The tolerance is "
            "half of a unit in the last place."
        )
    of = "the step" if shown.given else "all that is computed"
    text = (
        f"{SIGMAS:g} standard deviations of the rounding error of {of} in {dtype} "
        f"(unit roundoff {failure.structure.format.u:.3g})"
    )
    text += ", with gradual underflow as IEEE 754 has it." if regime.rounding == "gradual" else "."
    if np.isinf(shown.tolerance).any():
        text += " Where it is infinite the true value leaves the format, and an infinity is right."
    return text


def _tolerance(shown: Evidence) -> str:
    """In three digits, or in all where that would change what is off."""
    short, error = rounded(shown.tolerance), np.abs(shown.observed - shown.expected)
    same = np.array_equal(error <= short, error <= shown.tolerance)
    return literal(short if same else shown.tolerance)


def _assertion(shown: Evidence) -> str:
    name, at = shown.quantity, entry(shown.at)
    free = " | np.isinf(tolerance)" if np.isinf(shown.tolerance).any() else ""
    within = f'np.abs(observed["{name}"] - expected) <= tolerance'
    numbers = f'float(observed["{name}"]{at}), float(expected{at}), float(tolerance{at})'
    parts = [
        "{off.sum()} of {off.size} numbers are off: ",
        f"{name}{at} is {{seen}}; it should be {{due}} within {{within:.3g}}",
    ]
    parts = ["".join(parts)] if sum(map(len, parts)) <= WIDTH - 7 else parts
    return "\n".join(
        (
            f"off = ~(({within}){free})" if free else f"off = ~({within})",
            f"seen, due, within = {numbers}",
            "assert not off.any(), (",
            *(f'    f"{part}"' for part in parts),
            ")",
        )
    )
