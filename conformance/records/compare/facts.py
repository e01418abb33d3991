"""What two runs say of conventions: the slopes at kinks, the arithmetic that was measured, and the expectations."""

import json
from collections import defaultdict
from collections.abc import Mapping

from ....reference import ACTIVATIONS, DTYPES
from ...cases.case import parse_case
from ...cases.regimes import REGIMES, aimed_layer
from ...checks.kink_choices import convention, points
from ..form.verdicts import CaseResult
from .pairs import Fact, Pair
from .recorded import Recorded, adapters_of


def compare_kinks(pair: Pair, old: Mapping[str, CaseResult], new: Mapping[str, CaseResult]) -> list[Fact]:
    """The kinks at which the adapters took different values of the derivative, as far as both runs show them."""
    return _differing(pair, _slopes(old), _slopes(new))


def _differing(pair: Pair, old: Mapping[str, str], new: Mapping[str, str]) -> list[Fact]:
    """What both sides say, and say otherwise."""
    facts = [Fact(f"{pair.name}: {place}", old[place], new[place]) for place in old if place in new]
    return [fact for fact in facts if fact.differs]


def collect_slopes(cases: Mapping[str, CaseResult]) -> dict[tuple[str, float, str], list[float]]:
    """The values of f' at each kink that some cases show, by activation, point and dtype."""
    found: dict[tuple[str, float, str], list[float]] = defaultdict(list)
    for case, one in cases.items():
        for chosen in one.line.chosen.values():
            structure = parse_case(case, tuple(REGIMES)).structure
            activation = structure.network.activations[aimed_layer(structure) - 1]
            for point, slope in chosen:
                found[activation, float(point), structure.dtype].append(float(slope))
    return found


def _slopes(cases: Mapping[str, CaseResult]) -> dict[str, str]:
    """The values of f' at each kink as text, by activation, point and dtype."""
    said = {}
    for (activation, point, dtype), slopes in collect_slopes(cases).items():
        sides = points(ACTIVATIONS[activation]).get(point)
        if sides is not None:
            said[f"{activation} at {point:g} in {dtype}"] = convention(slopes, *sides, DTYPES[dtype].u)
    return said


def compare_arithmetic(pair: Pair, old: Recorded, new: Recorded) -> list[Fact]:
    """What was measured of the adapters' products in both runs, and differs."""
    return _differing(pair, _products(old, pair.old), _products(new, pair.new))


def _products(record: Recorded, adapter: str) -> dict[str, str]:
    stored = adapters_of(record)[adapter].get("fingerprint")
    return {
        f"{one['kind']} in {one['dtype']}, batch {one['batch']}, {field}": str(value)
        for one in (stored or {}).get("measured", ())
        for field, value in one.items()
        if field not in ("kind", "dtype", "batch")
    }


def compare_expectations(old: Recorded, new: Recorded) -> list[Fact]:
    """The expectations whose state in the audit is another one, each by its reason; ids may have shifted."""
    before, after = _states(old), _states(new)
    absent = "", "-"
    facts = [
        Fact(reason, before.get(key, absent)[1], after.get(key, absent)[1])
        for key, (reason, _) in {**before, **after}.items()
    ]
    return [fact for fact in facts if fact.differs]


def _states(record: Recorded) -> dict[str, tuple[str, str]]:
    states = {one.id: one.state for one in record.audited}
    return {
        json.dumps({name: value for name, value in entry.items() if name not in ("id", "version")}, sort_keys=True): (
            f"{entry.get('framework') or entry.get('adapter', '*')}: {entry['reason']}",
            states[entry["id"]],
        )
        for entry in record.header["expectations"]
    }
