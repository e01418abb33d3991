"""The checks of a run as a whole in a record: the merged sums of its parts, the verdicts on them, and lines of text."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..cases.case import traced_layer
from ..cases.description import Description
from ..checks.verdict import RUN_CHECKS, Check, Verdict
from ..checks.whole_run.causes import describe_bias, describe_spread
from ..checks.whole_run.moments import from_rows, merge, to_rows
from ..checks.whole_run.verdicts import SUMS_ALONE, Judged, judge_layers, judge_run, missing_reason, verdicts_of
from ..expectations.expectation import Expectation, expectation_for

Rows = Sequence[Sequence[str | int]]

_NUMBERS = ("worst", "power", "observed", "expected", "tolerance")
_DIGITS = 6


def merge_rows(names: Iterable[str], tallies: Sequence[Mapping[str, Any]]) -> dict[str, list[list[str | int]]]:
    """The moments of each adapter, or of each layer of a trace, from the tallies of the parts of a record."""
    return {
        name: to_rows(merge(from_rows(tally["moments"]) for tally in tallies if name_of(tally) == name))
        for name in names
    }


def name_of(tally: Mapping[str, Any]) -> str:
    """Whose moments a tally has: those of an adapter, or of a layer of a trace."""
    return tally.get("layer", tally["adapter"])


def judge_rows(rows: Rows, entries: Sequence[Expectation], adapter: Description) -> list[Judged]:
    """The verdicts on the moments of one adapter, with the expectations that concern it. Raises ValueError for rows
    that are no moments.
    """
    return judge_run(from_rows(rows), lambda verdict: expectation_for(verdict, entries), adapter.one_sided)


def judge_traced_rows(rows: Mapping[str, Rows], entries: Sequence[Expectation]) -> list[Judged]:
    """The verdicts on the moments of the layers of a trace: on all together, then on each. Raises ValueError for rows
    that are no moments.
    """
    moments = {layer: from_rows(some) for layer, some in rows.items()}
    whole, by_layer = judge_layers(moments, lambda verdict: expectation_for(verdict, entries))
    return [*whole, *(one for some in by_layer.values() for one in some)]


def to_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The verdicts on a run as plain data. Numbers keep six digits."""
    return [_row(verdict) for verdict in verdicts_of(judged)]


def _row(verdict: Verdict) -> dict[str, Any]:
    row: dict[str, Any] = {"check": verdict.check, "case": verdict.case, "quantity": verdict.quantity}
    row |= {"grade": verdict.grade}
    for name in _NUMBERS:
        if (value := getattr(verdict, name)) is not None:
            short = float(f"{value:.{_DIGITS}g}")
            row[name] = short if math.isfinite(short) else str(short)
    for name in ("activation", "expectation"):
        if value := getattr(verdict, name):
            row[name] = value
    return row


def agree(stored: Any, judged: Sequence[Judged]) -> bool:
    """Whether the verdicts in a record are those that its moments give. Numbers may differ in their last digits, which
    another machine computes otherwise.
    """
    due = to_json(judged)
    return isinstance(stored, list) and len(stored) == len(due) and all(map(_same, stored, due))


def _same(stored: Any, due: dict[str, Any]) -> bool:
    if not isinstance(stored, dict) or stored.keys() != due.keys():
        return False
    return all(
        math.isclose(float(stored[name]), float(value), rel_tol=10.0 ** (1 - _DIGITS), abs_tol=1e-12)
        if name in _NUMBERS
        else stored[name] == value
        for name, value in due.items()
    )


def finding_lines(adapter: str, judged: Sequence[Judged]) -> Iterator[str]:
    """The findings of a run as a whole: a few lines for each quantity, and the activations of an x or a k together."""
    for check in RUN_CHECKS:
        found: dict[tuple[str, str, str | None, bool], list[Judged]] = {}
        for one in sorted(judged, key=lambda one: one.quantity not in SUMS_ALONE):
            for verdict in one.verdicts:
                if verdict.check == check and verdict.is_finding:
                    place = one.dtype, one.quantity, traced_layer(verdict.case), verdict.expectation is not None
                    found.setdefault(place, []).append(one)
        for (dtype, quantity, layer, is_expected), some in found.items():
            where = f"{adapter}: {check} in {dtype}, {quantity}{_activations(some)}{f' of {layer}' if layer else ''}"
            worst = max(some, key=lambda one: max(v.worst for v in one.verdicts if v.check == check))
            if is_expected:
                yield f"{where}, expected"
                continue
            yield f"{where}: {_measured(check, worst)}"
            yield f"  over {worst.sums.entries:,} entries of {worst.sums.clusters:,} tensors{_beside(some, worst)}"
            if check == "spread":
                yield from describe_spread(worst)
            else:
                # What activations pass on begins in the sums, where there is something to name.
                in_sums = any((dtype, name, layer, False) in found for name in SUMS_ALONE)
                yield from describe_bias(worst, with_cause=quantity in SUMS_ALONE or not in_sums)


def _activations(some: Sequence[Judged]) -> str:
    names = [one.activation for one in some if one.activation]
    return f" of {', '.join(names)}" if names else ""


def _beside(some: Sequence[Judged], worst: Judged) -> str:
    return f" of {worst.activation}, which departs most" if len(some) > 1 else ""


def _measured(check: Check, one: Judged) -> str:
    verdict = next(verdict for verdict in one.verdicts if verdict.check == check)
    if check == "spread":
        square = one.means["square"]
        return f"the mean square of the errors is {square.value:.3g} ± {square.error:.1g} σ², and at most 1 is sound"
    plain, outward = one.means["plain"], one.means["outward"]
    return (
        f"the mean error is {outward.value:+.3g} ± {outward.error:.1g} σ outward, {plain.value:+.3g} ± "
        f"{plain.error:.1g} σ plain, {verdict.worst:.3g} times the limit {verdict.tolerance:.1g}"
    )


def power_lines(adapter: str, judged: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[str]:
    """One line for each dtype: the smallest relative error in all entries that the run as a whole would have seen."""
    for dtype in dtypes:
        of_dtype = (verdict for one in judged if one.dtype == dtype for verdict in one.verdicts)
        verdicts = [verdict for verdict in of_dtype if traced_layer(verdict.case) is None]
        if not verdicts:
            yield f"{adapter} {dtype}, whole run: not judged; {missing_reason(dtype)}"
            continue
        biases = [v for v in verdicts if v.check == "bias" and v.quantity in SUMS_ALONE and v.power]
        powers = ", ".join(f"{1 / v.power:.2g} in all of {v.quantity}" for v in biases if v.power)
        weak = sum(verdict.grade == "inconclusive" for verdict in verdicts)
        least = f"sees a relative error of {powers}" if powers else "sees no relative error"
        yield f"{adapter} {dtype}, whole run: {least}; {weak} of {len(verdicts)} verdicts inconclusive"
