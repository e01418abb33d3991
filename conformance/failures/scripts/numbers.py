"""Scripts of numbers that depart from the rule: the right values, their derivation, and an assertion on every entry."""

import textwrap

import numpy as np

from ....adapters import Script
from ....reference import Structure
from ....reference.rounding import SIGMAS
from ...cases.regimes import REGIMES
from .blocks import LONG_DTYPES, format_index, format_observed, format_planted_mistake
from .derivation import format_derivation
from .evidence import Evidence
from .failure import Failure
from .literals import WIDTH, format_array, format_comment, round_tolerance


def format_departure(shown: Evidence) -> str:
    """The entry with the largest error: its observed value, its right value, and its tolerance."""
    seen, right, within = (float(array[shown.at]) for array in (shown.observed, shown.expected, shown.tolerance))
    return f"{shown.quantity}{format_index(shown.at)} is {seen!r}; it should be {right!r} within {within:.3g}"


def format_comparison(failure: Failure, script: Script, shown: Evidence, last_call: str = "") -> list[str]:
    """The blocks of source that follow the inputs. `last_call` is the source of the failing call if a function makes
    it; by default the script's own calls stand there.
    """
    used = [*shown.given, shown.quantity]
    return [
        *([f"observed = {last_call}"] if last_call else [script.calls, format_observed(script, used)]),
        format_planted_mistake(failure.planted, used, "observed"),
        _check_given(failure.structure, script, shown),
        f"{format_comment(_explain_expected(failure, script, shown))}\nexpected = {format_array(shown.expected)}",
        f"{format_comment(_explain_tolerance(failure, shown))}\ntolerance = {_format_tolerance(shown)}",
        _format_assertion(shown),
    ]


def _check_given(structure: Structure, script: Script, shown: Evidence) -> str:
    """Lines that end the script if the step does not start from the values that `expected` was computed from."""
    if not shown.given:
        return ""
    values = {name: format_array(value.astype(structure.format.numpy)) for name, value in shown.given.items()}
    return "\n".join(
        (
            format_comment(
                f"The expected values are computed from {script.framework}'s own values in the step before, as they "
                "were when this script was written."
            ),
            "own = {",
            *(textwrap.indent(f'"{name}": {value},', "    ") for name, value in values.items()),
            "}",
            "for name, array in own.items():",
            "    if not np.array_equal(observed[name], array):",
            '        raise SystemExit(f"{name} has other values on this machine; write a new script")',
        )
    )


def _explain_expected(failure: Failure, script: Script, shown: Evidence) -> str:
    source = f"{script.framework}'s own {', '.join(shown.given)}" if shown.given else "the numbers above"
    steps = textwrap.indent(format_derivation(failure.structure, failure.draw, shown), "    ")
    return f"The right values, computed in float64 from {source}:\n{steps}"


def _explain_tolerance(failure: Failure, shown: Evidence) -> str:
    regime, dtype = REGIMES[failure.regime], LONG_DTYPES[failure.structure.dtype]
    if regime.rounding == "exact":
        return (
            f"All products and sums of these numbers can be represented in {dtype}, so nothing is rounded. The "
            "tolerance is half a unit in the last place."
        )
    of = "this step" if shown.given else "the whole computation"
    text = (
        f"{SIGMAS:g} standard deviations of the rounding error of {of} in {dtype} "
        f"(unit roundoff {failure.structure.format.u:.3g})"
    )
    text += ", with gradual underflow as in IEEE 754." if regime.rounding == "gradual" else "."
    if np.isinf(shown.tolerance).any():
        text += f" Where it is infinite, the true value overflows {dtype}, and an infinity is right."
    return text


def _format_tolerance(shown: Evidence) -> str:
    """The tolerance in three digits, or in all digits if three would change which entries fail."""
    short, error = round_tolerance(shown.tolerance), np.abs(shown.observed - shown.expected)
    same = np.array_equal(error <= short, error <= shown.tolerance)
    return format_array(short if same else shown.tolerance)


def _format_assertion(shown: Evidence) -> str:
    name, at = shown.quantity, format_index(shown.at)
    free = " | np.isinf(tolerance)" if np.isinf(shown.tolerance).any() else ""
    within = f'np.abs(observed["{name}"] - expected) <= tolerance'
    numbers = f'float(observed["{name}"]{at}), float(expected{at}), float(tolerance{at})'
    parts = [
        "{off.sum()} of {off.size} numbers are off: ",
        f"{name}{at} is {{seen}}; it should be {{right}} within {{within:.3g}}",
    ]
    parts = ["".join(parts)] if sum(map(len, parts)) <= WIDTH - 7 else parts
    return "\n".join(
        (
            f"off = ~(({within}){free})" if free else f"off = ~({within})",
            f"seen, right, within = {numbers}",
            "assert not off.any(), (",
            *(f'    f"{part}"' for part in parts),
            ")",
        )
    )
