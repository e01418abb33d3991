"""The lines of a record: verdicts as JSON, one a line, and back."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from ..checks.verdict import Verdict
from ..diagnosis.explanation import DiagnosedVerdict, Explanation, explanations_of, origin_of
from ..expectations.audit import Key

SCHEMA = 4
"""Raised when a reader of the old schema could misread the new."""


def case_set_hash(planned: Iterable[Key]) -> str:
    """A hash of what was planned: equal plans, equal hashes."""
    return hashlib.blake2b("\n".join(f"{a} {c}" for a, c in planned).encode(), digest_size=8).hexdigest()


def format_verdicts(adapter: str, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """One JSON line a verdict; what is at its default is left out, and passes keep six digits of `worst`, `power`."""
    for v in verdicts:
        data: dict[str, Any] = {"kind": "verdict", "adapter": adapter, "case": v.case, "check": v.check}
        data |= {"quantity": v.quantity, "grade": v.grade}
        if v.grade == "pass":
            data["worst"] = _number(float(f"{v.worst:.6g}"))
            if v.power is not None:
                data["power"] = _number(float(f"{v.power:.6g}"))
            if v.at:
                data["at"] = v.at
        else:
            data["worst"] = _number(v.worst)
            for name in ("power", "observed", "expected", "tolerance", "jump", "slack", "normwise", "relative"):
                if (value := getattr(v, name)) is not None:
                    data[name] = _number(value)
            if v.region is not None:
                data["region"] = [_number(end) for end in v.region]
            for name in ("at", "activation", "message", "formulas", "expectation", "below_level"):
                if value := getattr(v, name):
                    data[name] = value
        if v.step is not None:
            data["step"] = v.step
        if origin := origin_of(v):
            data["origin"] = origin
        if explanations := explanations_of(v):
            data["explanations"] = [[e.name, e.mistake, _number(float(f"{e.sigmas:.6g}"))] for e in explanations]
        if v.chosen:
            data["chosen"] = [[point, _number(float(f"{slope:.9g}"))] for point, slope in v.chosen]
        yield dumps(data)


dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""An object as one line of JSON."""


def _number(value: float) -> float | str:
    # JSON has no infinities; as strings they read back with float().
    if not math.isfinite(value):
        return str(value)
    return value


def is_pass(line: str) -> bool:
    """Whether a line holds a plain pass. The footer holds verdicts too."""
    return line.startswith('{"kind":"verdict"') and '"grade":"pass"' in line


_FLOATS = ("worst", "power", "observed", "expected", "tolerance", "jump", "slack", "normwise", "relative")
_FIELDS = frozenset(f.name for f in fields(DiagnosedVerdict))


def parse_verdict(data: dict[str, Any]) -> Verdict:
    """The verdict of a line, from its object."""
    given = {name: value for name, value in data.items() if name in _FIELDS}
    for name in _FLOATS:
        if isinstance(given.get(name), str):
            given[name] = float(given[name])
    for name in ("at", "formulas"):
        given[name] = tuple(given.get(name, ()))
    if "region" in given:
        low, high = map(float, given["region"])
        given["region"] = (low, high)
    given["chosen"] = tuple((point, float(slope)) for point, slope in given.get("chosen", ()))
    if "origin" not in given and "explanations" not in given:
        return Verdict(**given)
    explanations = given.get("explanations", ())
    given["explanations"] = tuple(Explanation(name, mistake, float(far)) for name, mistake, far in explanations)
    return DiagnosedVerdict(**given)
