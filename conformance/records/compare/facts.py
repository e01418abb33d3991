"""What two runs say of conventions: the slopes at kinks, the arithmetic that was measured, and the expectations."""

import json
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

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


def compare_expectations(old: Recorded, new: Recorded, pairs: Sequence[Pair]) -> list[Fact]:
    """The expectations whose state in the audit is another one, each by its reason and activation; ids may have
    shifted. Left out are those that concern only adapters that are not compared.
    """
    before, after = _states(old, {pair.old for pair in pairs}), _states(new, {pair.new for pair in pairs})
    absent = "", "-"
    facts = [
        Fact(reason, before.get(key, absent)[1], after.get(key, absent)[1])
        for key, (reason, _) in {**before, **after}.items()
    ]
    return [fact for fact in facts if fact.differs]


def _states(record: Recorded, compared: Container[str]) -> dict[str, tuple[str, str]]:
    states = {one.id: one.state for one in record.audited}
    found = dict[str, tuple[str, str]]()
    for entry in record.header["expectations"]:
        concerned = [name for name, one in adapters_of(record).items() if _concerns(entry, one)]
        if concerned and not any(name in compared for name in concerned):
            continue
        key = {name: value for name, value in entry.items() if name not in ("id", "version")}
        activation = f" ({entry['activation']})" if entry.get("activation") else ""
        where = entry.get("framework") or entry.get("adapter", "*")
        found[json.dumps(key, sort_keys=True)] = f"{where}: {entry['reason']}{activation}", states[entry["id"]]
    return found


def _concerns(entry: Mapping[str, Any], adapter: Mapping[str, Any]) -> bool:
    """Whether an expectation is for an adapter, in whatever version."""
    name = adapter.get("framework") or "" if entry.get("framework") else adapter["name"]
    return fnmatchcase(name, entry.get("framework") or entry.get("adapter") or "*")
