"""What the means of a run say of an arithmetic, in words. Only what the means determine is named as a cause."""

from collections.abc import Iterator, Mapping

from ....reference import DTYPES
from .moments import UNIT, Sums
from .verdicts import TRUNCATION, Judged, Statistic, estimate_mean

NEAR = 0.15
"""How near the mean relative error of truncated results must be to the derived one, in units of u, to be named so. The
significands of results are not exactly uniform in their logarithm.
"""
GROWTH = 1.5
"""How many times as large a bias must be in long sums as in short ones to be said to grow with their length."""
DOUBT = 1e-3
"""The rate at which either of the two is further off than its error that is allowed for."""


def describe_bias(judged: Judged, with_cause: bool) -> Iterator[str]:
    """The direction of the errors and their size beside the values and, `with_cause`, what has such errors."""
    plain, outward = judged.means["plain"], judged.means["outward"]
    sums, u = judged.sums, DTYPES[judged.dtype].u
    size = sums.size / sums.entries * UNIT
    has_plain, has_outward = plain.distance > 1, outward.distance > 1
    if has_outward and (not has_plain or abs(outward.value) >= 2 * abs(plain.value)):
        direction, mean = ("away from zero" if outward.value > 0 else "toward zero"), outward
    elif has_plain and (not has_outward or abs(plain.value) >= 2 * abs(outward.value)):
        direction, mean = ("up" if plain.value > 0 else "down"), plain
    else:
        yield "  most values have one sign, so these means do not distinguish toward zero from down"
        return
    shift = mean.value / size
    yield f"  results lie {direction}, by {abs(shift) * u:.2g} of their size on average, or {abs(shift):.2g} u"
    if with_cause and (cause := _cause(judged.parts, direction, abs(shift), u)):
        yield f"  {cause}"


def _cause(parts: Mapping[str, Sums], direction: str, shift: float, u: float) -> str:
    name: Statistic = "outward" if direction in ("away from zero", "toward zero") else "plain"
    if growth := _growth(parts, name):
        short, long = growth
        return (
            f"this grows with the number of terms ({short:.2g} u up to 16 terms, {long:.2g} u beyond), as if partial "
            f"sums were rounded {direction}"
        )
    if abs(shift - TRUNCATION) <= NEAR and direction != "away from zero":
        rounded = {"toward zero": "truncated", "down": "rounded down", "up": "rounded up"}[direction]
        return f"results that are {rounded} once lie {TRUNCATION:.2g} u off on average: this is likely the cause"
    if direction == "away from zero":
        return f"a factor of 1 + {shift * u:.2g} would do this, or a rounding away from zero"
    if direction == "toward zero":
        return f"a factor of 1 - {shift * u:.2g} would do this, or a rounding toward zero of some of the steps"
    return ""


def _growth(parts: Mapping[str, Sums], name: Statistic) -> tuple[float, float] | None:
    """The mean shift of short and of long sums beside their size, in units of u, if the second is clearly larger."""
    if "short" not in parts or "long" not in parts:
        return None
    shifts, errors = [], []
    for part in (parts["short"], parts["long"]):
        mean, size = estimate_mean(part, name, DOUBT), part.size * UNIT / part.entries
        shifts.append(abs(mean.value) / size)
        errors.append(mean.limit / size)
    is_larger = shifts[1] - errors[1] > GROWTH * (shifts[0] + errors[0])
    return (shifts[0], shifts[1]) if is_larger else None


def describe_spread(judged: Judged) -> Iterator[str]:
    """How large the errors are beside independent rounding, and whether that grows with the length of a sum."""
    mean = judged.means["square"]
    yield f"  errors are {mean.value**0.5:.2g} times as large as independent roundings can be, on average"
    parts = {length: judged.parts[length] for length in ("short", "long") if length in judged.parts}
    if len(parts) == 2:
        short, long = (part.square / part.entries * UNIT for part in parts.values())
        directions = [mean for name, mean in judged.means.items() if name != "square"]
        biased = any(mean.distance > 1 for mean in directions)
        if long > GROWTH * short and biased:
            yield (
                f"  their mean square grows with the number of terms ({short:.2g} up to 16 terms, {long:.2g} beyond), "
                "and they have a direction, as if partial sums were not rounded to nearest"
            )
        elif directions and not biased:
            yield "  they have no direction, as if products or sums were rounded to fewer bits than the format has"
