"""Verdicts as lines of a record, and back: in full, or summed up as one line a case."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import msgspec

from ...checks.verdict import STATUSES, Check, Status, Verdict, status
from ...diagnosis.explanation import DiagnosedVerdict, Explanation, explanations_of, origin_of
from .lines import CaseLine, GroupLine, Number, VerdictLine

_SAMPLE = 256
"""One case in so many is recorded with every verdict in full."""
MARGIN_DIGITS, POWER_DIGITS = 2, 1
_ORDER: tuple[Status, ...] = (
    "errored", "failed", "blocked", "expected", "unsupported", "inconclusive", "passed",
)  # fmt: skip
"""From the most serious status to the least, as `kterm.conformance.checks.verdict.status` has them."""
_RANK = {name: i for i, name in enumerate(_ORDER)}
assert set(_ORDER) == set(STATUSES), "a status has no rank"

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dumps(value: Any) -> str:
    """An object as one line of JSON. Text with a lone surrogate, which is no UTF-8, has its escape as text instead."""
    text = _encode(value)
    return _encode(_without_surrogates(value)) if "\\ud" in text else text


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return [*map(_without_surrogates, value)] if isinstance(value, list | tuple) else value


def hash_plan(cases: Iterable[str]) -> str:
    """A hash of the cases that are planned for one adapter: equal plans have equal hashes, whatever its name."""
    return hashlib.blake2b("\n".join(cases).encode(), digest_size=8).hexdigest()


def is_sampled(case: str) -> bool:
    """Whether all verdicts on a case are recorded in full, also if it passes."""
    return int.from_bytes(hashlib.blake2b(case.encode(), digest_size=4).digest(), "little") % _SAMPLE == 0


def is_in_full(verdict: Verdict) -> bool:
    """Whether a verdict on a case that is not sampled has a line of its own."""
    return verdict.grade not in ("pass", "inconclusive", "blocked") or (
        bool(verdict.message) and verdict.grade != "blocked"
    )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found in one case: its status, the worst margin of any tensor, and the least power of a pass.

    Both are rounded as they are recorded. They are None for a check without numbers.
    """

    status: Status
    margin: float | None = None
    power: float | None = None


@dataclass(frozen=True)
class CaseResult:
    """One case as its line in the record has it. `tensors` gives the tensors that each check compared, and
    `inconclusive` those among them with too little power. `blocked` says for each blocked check behind which it is.
    """

    case: str
    line: CaseLine
    tensors: Mapping[Check, tuple[str, ...]]

    @property
    def status(self) -> Status:
        """The status of the case."""
        return case_status(self.line)

    @property
    def inconclusive(self) -> tuple[str, ...]:
        """The tensors with too little power."""
        return self.line.inconclusive

    @property
    def blocked(self) -> Mapping[Check, str]:
        """Each check that was skipped, and why."""
        return self.line.blocked

    @cached_property
    def checks(self) -> dict[Check, CheckResult]:
        """What each check found, blocked ones included, in the order of the line."""
        line, found = self.line, dict[Check, CheckResult]()
        numbers = zip(line.margins, line.powers, strict=True)
        for check, tensors in self.tensors.items():
            margin, power = next(numbers) if tensors else (None, None)
            found[check] = CheckResult(line.statuses.get(check, "passed"), *map(to_float, (margin, power)))
        repeated: tuple[Check, Check] = ("descent", "batch")
        for check in repeated:
            if (pair := getattr(line, check)) is not msgspec.UNSET:
                found[check] = CheckResult(line.statuses.get(check, "passed"), *map(to_float, pair))
        blocked: dict[Check, CheckResult] = {check: CheckResult("blocked") for check in line.blocked}
        return found | blocked


def to_float(number: Number | None) -> float | None:
    """A number of a line; infinities and NaN are text there."""
    return None if number is None else float(number)


def case_status(line: CaseLine) -> Status:
    """The status of the case of a line: the most serious of its checks."""
    if not line.statuses and not line.blocked:
        return "passed"
    found = [_RANK[one] for one in line.statuses.values()]
    return _ORDER[min([*found, _RANK["blocked"]] if line.blocked else found)]


def split_case(case: str) -> tuple[str, int, int]:
    """The id of a case's group, the seed and the draw, from its id. Quicker than to parse it."""
    group, _, drawn = case.rpartition("-s")
    seed, _, draw = drawn.rpartition(".")
    return group, int(seed or 0), int(draw)


def case_id(group: str, seed: int, draw: int) -> str:
    """The inverse of `split_case`."""
    return f"{group}-s{seed}.{draw}" if seed else f"{group}-s{draw}"


def format_group(adapter: str, verdicts: Iterable[Sequence[Verdict]]) -> Iterator[str]:
    """The lines of some cases, given the verdicts on each: of their groups, of each case, and of what is in full."""
    groups: dict[tuple[str, int], list[Sequence[Verdict]]] = {}
    for some in verdicts:
        group, seed, _ = split_case(some[0].case)
        groups.setdefault((group, seed), []).append(some)
    for (group, seed), cases in groups.items():
        by_case = [_tensors_of(some) for some in cases]
        common = Counter(json.dumps(one) for one in by_case).most_common(1)[0][0]
        usual = json.loads(common)
        yield dumps({"kind": "group", "adapter": adapter, "group": group, "seed": seed, "checks": usual})
        for some, tensors in zip(cases, by_case, strict=True):
            yield _format_case(some, tensors, None if tensors == usual else tensors)
            in_full = is_sampled(some[0].case)
            for v in some:
                if is_in_full(v) or (in_full and v.grade != "blocked"):
                    yield format_verdict(adapter, v)


def _tensors_of(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """The tensors that each check compared. The steps of a descent and the parts of a batch have their own places."""
    found: dict[str, list[str]] = {}
    for v in verdicts:
        if v.grade != "blocked" and v.check not in ("descent", "batch"):
            names = found.setdefault(v.check, [])
            if v.check not in ("contract", "layout"):
                names.append(v.quantity)
    return found


def _format_case(verdicts: Sequence[Verdict], tensors: Mapping[str, list[str]], own: Any) -> str:
    by_check: dict[str, list[Verdict]] = {}
    blocked: dict[str, str] = {}
    for v in verdicts:
        if v.grade == "blocked":
            blocked[v.check] = v.message
        else:
            by_check.setdefault(v.check, []).append(v)
    numbers = {check: _extremes(some) for check, some in by_check.items()}
    shown = [numbers[check] for check, names in tensors.items() if names]
    # Fixed digits in the shortest of two forms, and not Python's repr, which has up to 17 digits for large numbers.
    parts = [
        f'{{"kind":"case","draw":{split_case(verdicts[0].case)[2]}',
        f'"margins":[{",".join(margin for margin, _ in shown)}]',
        f'"powers":[{",".join(power for _, power in shown)}]',
    ]
    parts += [f'"{check}":[{",".join(numbers[check])}]' for check in ("descent", "batch") if check in numbers]
    statuses = {check: status(some) for check, some in by_check.items()}
    rest: dict[str, Any] = {
        "statuses": {check: one for check, one in statuses.items() if one != "passed"},
        "inconclusive": [
            v.quantity for v in verdicts if v.grade == "inconclusive" and v.quantity in tensors.get(v.check, ())
        ],
        "blocked": blocked,
        "chosen": {
            v.quantity: [[point, to_number(slope)] for point, slope in _distinct(v.chosen)]
            for v in verdicts if v.chosen and v.quantity in tensors.get(v.check, ())
        },
    }  # fmt: skip
    if own is not None:
        rest["checks"] = own
    parts += [f'"{name}":{dumps(value)}' for name, value in rest.items() if value or name == "checks"]
    return ",".join(parts) + "}"


def _distinct(chosen: Iterable[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """Each slope once at each point; nine digits are more than the rounding of a quotient leaves."""
    return dict.fromkeys((point, float(f"{slope:.9g}")) for point, slope in chosen)


def _extremes(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """The worst margin of any verdict of a check, and the least power of a pass, as JSON."""
    powers = [v.power for v in verdicts if v.grade == "pass" and v.power is not None]
    least = _digits(min(powers), POWER_DIGITS) if powers else "null"
    return _digits(
        max((v.worst for v in verdicts), key=lambda x: math.inf if math.isnan(x) else x), MARGIN_DIGITS
    ), least


def _digits(value: float, digits: int) -> str:
    # Verdicts have six digits, from which a reader must come to the same few.
    text = f"{_six_digits(value):.{digits}g}"
    return text if math.isfinite(value) else f'"{text}"'


def rounded_margin(value: float) -> float:
    """A margin as a case's line has it, from the margin itself or from its six digits."""
    return float(f"{_six_digits(value):.{MARGIN_DIGITS}g}")


def rounded_power(value: float) -> float:
    """A power as a case's line has it, from the power itself or from its six digits."""
    return float(f"{_six_digits(value):.{POWER_DIGITS}g}")


def format_verdict(adapter: str, v: Verdict) -> str:
    """A verdict as a line; what is at its default is left out."""
    data: dict[str, Any] = {"kind": "verdict", "adapter": adapter, "case": v.case, "check": v.check}
    data |= {"quantity": v.quantity, "grade": v.grade}
    if v.grade == "pass":
        data["worst"] = to_number(_six_digits(v.worst))
        if v.power is not None:
            data["power"] = to_number(_six_digits(v.power))
        if v.at:
            data["at"] = v.at
    else:
        data["worst"] = to_number(_six_digits(v.worst))
        for name in ("power", "observed", "expected", "tolerance", "jump", "slack", "normwise", "relative"):
            if (value := getattr(v, name)) is not None:
                data[name] = to_number(value if name in _WHOLE else _six_digits(value))
        if v.region is not None:
            data["region"] = [to_number(_six_digits(end)) for end in v.region]
        for name in ("at", "activation", "message", "formulas", "expectation", "below_level"):
            if value := getattr(v, name):
                data[name] = value
    if v.step is not None:
        data["step"] = v.step
    if origin := origin_of(v):
        data["origin"] = origin
    if explanations := explanations_of(v):
        data["explanations"] = [[e.name, e.mistake, to_number(float(f"{e.sigmas:.6g}"))] for e in explanations]
    if v.chosen:
        data["chosen"] = [[point, to_number(slope)] for point, slope in _distinct(v.chosen)]
    return dumps(data)


_WHOLE = ("observed", "expected", "jump", "slack", "normwise")
"""What keeps all its digits: both numbers of a finding, and what its size and its level are judged by."""


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def to_number(value: float) -> float | str:
    """A number of a line, from a float."""
    return value if math.isfinite(value) else str(value)


_FLOATS = ("worst", "power", "observed", "expected", "tolerance", "jump", "slack", "normwise", "relative")
_FIELDS = [f.name for f in fields(Verdict)]


def to_verdict(line: VerdictLine) -> Verdict:
    """The verdict of a line."""
    given: dict[str, Any] = {name: getattr(line, name) for name in _FIELDS}
    for name in _FLOATS:
        given[name] = to_float(given[name])
    if line.region is not None:
        given["region"] = tuple(map(float, line.region))
    given["chosen"] = tuple((point, float(slope)) for point, slope in line.chosen)
    if not line.origin and not line.explanations:
        return Verdict(**given)
    explanations = tuple(Explanation(name, mistake, float(far)) for name, mistake, far in line.explanations)
    return DiagnosedVerdict(**given, origin=line.origin, explanations=explanations)


def summarize_group(adapter: str, verdicts: Iterable[Sequence[Verdict]]) -> Iterator[tuple[CaseResult, list[Verdict]]]:
    """Each of some cases as a record has it, with the verdicts on it that are in full, given the verdicts on each."""
    group: GroupLine | None = None
    result: CaseResult | None = None
    in_full: list[Verdict] = []
    for line in map(_LINES.decode, format_group(adapter, verdicts)):
        if isinstance(line, VerdictLine):
            in_full.append(to_verdict(line))
            continue
        if result is not None:
            yield result, in_full
            result, in_full = None, []
        if isinstance(line, GroupLine):
            group = line
        elif group is not None:
            result = result_of(group, line)
    if result is not None:
        yield result, in_full


_LINES = msgspec.json.Decoder(GroupLine | CaseLine | VerdictLine)


def result_of(group: GroupLine, line: CaseLine) -> CaseResult:
    """What a case's line says, below the line of its group."""
    tensors = group.checks if line.checks is msgspec.UNSET else line.checks
    return CaseResult(case_id(group.group, group.seed, line.draw), line, tensors)
