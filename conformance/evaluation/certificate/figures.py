"""The figures of a certificate, from a record: cases and errors by check, activation and dtype, and what would have
been seen.
"""

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ....reference import ACTIVATIONS, DTYPES, base_of
from ...checks.comparison.compare import CONCLUSIVE_POWER
from ...checks.verdict import CHECKS, STATUSES, Check, Status
from ...checks.whole_run.verdicts import verdicts_of
from ...expectations import expectation as expectations
from ...expectations.expectation import Expectation
from ...records.form.verdicts import CaseResult
from ...records.record import Record
from .form import Bound, Cell, CheckGrade, Divergence, RunGrade, Smallest

_DIGITS = 6
_DIGITS_OF_RUN = 3
"""Another machine may compute what follows from moments otherwise in the last of many digits."""


def cases_of(record: Record, name: str) -> list[CaseResult]:
    """The cases of an adapter."""
    return [one for (adapter, _), one in record.cases.items() if adapter == name]


def dtype_of(one: CaseResult) -> str:
    """The dtype of a case. Field 4 of an id."""
    return one.case.split("-")[4]


def grade_checks(cases: Iterable[CaseResult]) -> Iterator[CheckGrade]:
    """What each check said in each dtype, in canonical order."""
    statuses: dict[tuple[str, Check], Counter[Status]] = defaultdict(Counter)
    margins: dict[tuple[str, Check], list[float]] = defaultdict(list)
    powers: dict[tuple[str, Check], list[float]] = defaultdict(list)
    for one in cases:
        dtype = dtype_of(one)
        for check, found in one.checks.items():
            statuses[dtype, check][found.status] += 1
            if found.status == "passed" and found.margin is not None:
                margins[dtype, check].append(found.margin)
                if found.power is not None and math.isfinite(found.power):
                    powers[dtype, check].append(found.power)
    for dtype in DTYPES:
        for check in CHECKS:
            if counts := statuses.get((dtype, check)):
                worst = max(margins[dtype, check], default=None)
                yield CheckGrade(check, dtype, _in_order(counts), worst, find_smallest(powers[dtype, check]))


def _in_order(counts: Counter[Status]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES if counts[status]}


def find_smallest(powers: Sequence[float]) -> Smallest | None:
    """The smallest relative errors that passes of these powers would have shown; None if there are none. A mistake of
    about 1/power of the norm of a tensor is the smallest that a verdict on it can see.
    """
    if not powers:
        return None
    # The lower of two middle powers: what is said of half of the cases holds.
    levels = min(powers), statistics.median_low(powers), max(powers)
    return Smallest(*(_short(1 / least_power(power)) for power in levels))


def least_power(recorded: float) -> float:
    """The smallest power that is recorded as this one: a record has one digit. A pass has at least
    `CONCLUSIVE_POWER`.
    """
    digit, _, exponent = f"{recorded:.0e}".partition("e")
    least = float(f"{int(digit) - 0.5 if digit != '1' else 0.95}e{exponent}")
    return max(least, CONCLUSIVE_POWER)


def _short(number: float, digits: int = _DIGITS) -> float:
    return float(f"{number:.{digits}g}")


def grade_run(record: Record, name: str) -> Iterator[RunGrade]:
    """What the run as a whole said of an adapter."""
    for verdict in verdicts_of(record.judged[name]):
        dtype = verdict.case.split("-")[1]
        # Of `spread` the power is that of a mean square, and not of a relative error.
        seen = _short(1 / verdict.power, _DIGITS_OF_RUN) if verdict.check == "bias" and verdict.power else None
        yield RunGrade(verdict.check, dtype, verdict.quantity, verdict.activation or "", verdict.grade, seen)


def grade_cells(cases: Iterable[CaseResult], activations: Sequence[str], dtypes: Sequence[str]) -> Iterator[Cell]:
    """A cell for each of these activations in each of these dtypes, in canonical order, and for each other that cases
    have. Layout probes do not count: they ask for no activation.
    """
    statuses: dict[tuple[str, str], Counter[Status]] = {(a, d): Counter() for a in activations for d in dtypes}
    worst: dict[tuple[str, str], float] = {}
    values, slopes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in cases:
        _, names, _, _, dtype, regime, *_ = one.case.split("-")
        if regime == "layout":
            continue
        layers = names.split(".")
        margins = [c.margin for c in one.checks.values() if c.status == "passed" and c.margin is not None]
        for name in {*layers}:
            key = name, dtype
            statuses.setdefault(key, Counter())[one.status] += 1
            if margins:
                worst[key] = max(worst.get(key, 0.0), *margins)
        judged = {name for some in one.tensors.values() for name in some}.difference(one.inconclusive)
        slope = "k" if "k_terms" in one.tensors else "dE/dW"
        for number, name in enumerate(layers, 1):
            values[name, dtype] += (f"x_{number}" if number < len(layers) else "outputs") in judged
            slopes[name, dtype] += f"{slope}_{number}" in judged
    order, formats = list(ACTIVATIONS), list(DTYPES)

    def place(key: tuple[str, str]) -> tuple[int, str, int]:
        return order.index(base_of(key[0])), key[0], formats.index(key[1])

    for key in sorted(statuses, key=place):
        counts = statuses[key]
        yield Cell(
            activation=key[0],
            dtype=key[1],
            cases=counts.total(),
            passed=counts["passed"],
            expected=counts["expected"],
            inconclusive=counts["inconclusive"],
            unsupported=counts["unsupported"],
            values=values[key],
            slopes=slopes[key],
            worst=worst.get(key),
        )


def find_divergences(record: Record, name: str) -> list[Divergence]:
    """The known divergences that an adapter's run met, in the order of their entries; entries that differ in patterns
    only are one.
    """
    cases: dict[str, set[str]] = defaultdict(set)
    dtypes: dict[str, set[str]] = defaultdict(set)
    for (adapter, case), verdicts in record.verdicts.items():
        for verdict in verdicts:
            if adapter == name and verdict.expectation:
                cases[verdict.expectation].add(case)
                dtypes[verdict.expectation].add(case.split("-")[4])
    for verdict in record.of_run[name]:
        if verdict.expectation:
            dtypes[verdict.expectation].add(verdict.case.split("-")[1])
    shipped = [_without_id(one) for one in expectations.read(expectations.SHIPPED)]
    merged: dict[tuple[str, str, Bound, str, bool], tuple[set[str], set[str]]] = {}
    for number, entry in record.expectations.items():
        if number in dtypes:
            key = entry.reason, entry.issue, *_bound_of(entry), _without_id(entry) in shipped
            some = merged.setdefault(key, (set(), set()))
            some[0].update(cases[number])
            some[1].update(dtypes[number])
    return [
        Divergence(reason, issue, len(some), tuple(dtype for dtype in DTYPES if dtype in met), bound, limit, is_shipped)
        for (reason, issue, bound, limit, is_shipped), (some, met) in merged.items()
    ]


def _bound_of(entry: Expectation) -> tuple[Bound, str]:
    """What keeps an entry from matching a mistake of any size."""
    if entry.formula:
        parameters = f" {json.dumps(entry.parameters)}" if entry.parameters else ""
        return "formula", entry.formula + parameters
    return ("size", entry.size) if entry.size else ("none", "")


def _without_id(entry: Expectation) -> dict[str, object]:
    return {key: value for key, value in entry.to_json().items() if key != "id"}
