"""What a unit leaves: one line of JSON, with sums of what passed and everything about what failed."""

import base64
import math
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ....adapters.quantities import split_name
from ....reference import ACTIVATIONS
from ...cases.case import Group
from ...checks.verdict import STATUSES, Status, Verdict, status
from ...checks.whole_run.moments import Moments, merge, to_rows
from ...diagnosis import question as stored
from ...diagnosis.question import Question
from ...expectations.audit import count_matched
from ...expectations.expectation import Expectation
from ...records.form.lines import VerdictLine
from ...records.form.verdicts import dumps, format_verdict
from .units import Unit

KEPT = 5
"""How many of the largest margins, and of the least powers, a unit keeps for its adapter."""
_MOST_ASKED = 4
"""Of how many failing groups a unit keeps the numbers, for the search for causes."""
_MOST_NUMBERS = 20_000
"""How many numbers a call of these may have."""
LETTERS: dict[Status, str] = {
    "passed": "p", "failed": "f", "expected": "x", "inconclusive": "i", "unsupported": "u", "blocked": "b",
    "errored": "e",
}  # fmt: skip
"""The statuses of cases, as a unit has them in the order of its plan: 120p3x7p."""
assert set(LETTERS) == set(STATUSES), "a status has no letter"

Count = Annotated[int, Meta(ge=0)]
Counts = dict[str, Count]
Ask = Callable[[Group], tuple[list[list[Verdict]], Moments, tuple[Question, ...]]]
"""Runs a group: the verdicts, a list a case; the sums for the checks of a run; questions about failing calls."""


class UnitLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The line of a unit. Cases are counted by status.

    `statuses` has them in order, `checks` by check, and `by` by activation, dtype and regime: a case counts for each
    activation of its network. `margins` are the largest errors that passed, in units of the tolerance, and `powers` the
    weakest passes, each with the quantity and the case. `largest` has the largest error that passed by dtype and kind
    of quantity, with its case. Quantities whose tolerance has the jump at a kink in it are left out of these.

    `expected` counts the cases of each expectation, and `matched` the findings that each matches. `moments` are sums of
    errors, as in a record. `verdicts` are the findings and errors that fail. `questions` holds numbers of failing
    groups, by their place in the unit, and `unasked` the places of those whose numbers were not kept.
    """

    unit: Count
    adapter: str
    seed: Count
    statuses: str
    checks: dict[str, Counts]
    by: tuple[tuple[str, str, str, Counts], ...]
    margins: tuple[tuple[float, str, str], ...] = ()
    powers: tuple[tuple[float, str, str], ...] = ()
    largest: tuple[tuple[str, str, float, str], ...] = ()
    expected: Counts = {}
    matched: Counts = {}
    below_level: Count = 0
    moments: tuple[tuple[str | int, ...], ...] = ()
    verdicts: tuple[VerdictLine, ...] = ()
    questions: dict[str, str] = {}
    unasked: tuple[Count, ...] = ()


_DECODER = msgspec.json.Decoder(UnitLine)


def decode(line: bytes) -> UnitLine:
    """The line of a unit, read. Raises msgspec.DecodeError for anything else."""
    return _DECODER.decode(line)


def examine_unit(unit: Unit, ask: Ask, entries: Sequence[Expectation]) -> bytes:
    """Run the groups of a unit and give its line. `entries` are the expectations that concern the adapter."""
    tally = _Tally(unit)
    for place, group in enumerate(unit.groups):
        verdicts, moments, questions = ask(group)
        tally.add(place, group, verdicts, moments, questions)
        tally.matched.update(count_matched(entries, (v for some in verdicts for v in some)))
    return tally.line()


def give_up(unit: Unit, message: str) -> bytes:
    """The line of a unit that has no answers: an error in each case."""
    tally = _Tally(unit)
    for place, group in enumerate(unit.groups):
        verdicts = [[Verdict(case.id, "contract", "program", "errored", message=message)] for case in group.cases]
        tally.add(place, group, verdicts, {}, ())
    return tally.line()


class _Tally:
    """The sums of a unit."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._statuses: list[Status] = []
        self._checks: dict[str, Counter[str]] = defaultdict(Counter)
        self._by: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        self._margins: list[tuple[float, str, str]] = []
        self._powers: list[tuple[float, str, str]] = []
        self._largest: dict[tuple[str, str], tuple[float, str]] = {}
        self._expected = Counter[str]()
        self.matched = Counter[str]()
        self._below = 0
        self._moments: list[Moments] = []
        self._failing: list[str] = []
        self._questions: dict[str, str] = {}
        self._unasked: list[int] = []

    def add(
        self,
        place: int,
        group: Group,
        verdicts: Sequence[Sequence[Verdict]],
        moments: Moments,
        questions: Sequence[Question],
    ) -> None:
        """Add the results of one group, by its place in the unit."""
        keys = [
            (name, group.structure.dtype, group.regime) for name in dict.fromkeys(group.structure.network.activations)
        ]
        for some in verdicts:
            found = status(some)
            self._statuses.append(found)
            for key in keys:
                self._by[key][found] += 1
            by_check: dict[str, list[Verdict]] = defaultdict(list)
            for v in some:
                by_check[v.check].append(v)
            for check, own in by_check.items():
                self._checks[check][status(own)] += 1
            self._expected.update({v.expectation for v in some if v.is_finding and v.expectation is not None})
            self._below += sum(v.below_level for v in some)
            self._failing += [format_verdict(self._unit.adapter, v) for v in some if v.fails]
            self._add_numbers(group, some)
        self._moments.append(moments)
        if questions:
            self._keep(place, questions)

    def _add_numbers(self, group: Group, verdicts: Sequence[Verdict]) -> None:
        # Only what is conclusive has a margin: where a tolerance is too wide, an error of half of it says nothing. And
        # where nothing rounds, tolerances are 0, and powers infinite.
        passes = [v for v in verdicts if v.grade == "pass" and v.power is not None and math.isfinite(v.power)]
        if any(ACTIVATIONS[name].kinks for name in group.structure.network.activations):
            # The tolerance of a k at a kink has the jump in it, and a framework may be off by all of it, rightly. What
            # is computed from a shown k has no jump.
            shows_k = any(v.check == "k_terms" for v in verdicts)
            without = ("forward", "error", *(("weight_gradients", "bias_gradients") if shows_k else ()))
            passes = [v for v in passes if v.check in without]
        margins = [(_rounded(v.worst, 3), v.label, v.case) for v in passes]
        powers = [(_rounded(v.power, 2), v.label, v.case) for v in passes if v.power is not None]
        self._margins = largest([*self._margins, *margins])
        self._powers = least([*self._powers, *powers])
        for v in passes:
            key = group.structure.dtype, split_name(v.quantity)[0]
            best = self._largest.get(key)
            own = (_rounded(v.worst, 3), v.case)
            if best is None or (-own[0], own[1]) < (-best[0], best[1]):
                self._largest[key] = own

    def _keep(self, place: int, questions: Sequence[Question]) -> None:
        small = [one for one in questions if one.size <= _MOST_NUMBERS]
        if len(small) < len(questions) or len(self._questions) == _MOST_ASKED:
            self._unasked.append(place)
            return
        with tempfile.TemporaryDirectory(prefix="kterm-") as folder:
            path = Path(folder) / "questions.npz"
            stored.save(path, small)
            self._questions[str(place)] = base64.b64encode(zlib.compress(path.read_bytes())).decode()

    def line(self) -> bytes:
        """The line, without an end of line."""
        runs = ((len(list(some)), LETTERS[found]) for found, some in groupby(self._statuses))
        made: dict[str, Any] = {
            "unit": self._unit.number,
            "adapter": self._unit.adapter,
            "seed": self._unit.seed,
            "statuses": "".join(f"{count}{letter}" for count, letter in runs),
            "checks": self._checks,
            "by": [[*key, found] for key, found in self._by.items()],
            "margins": self._margins,
            "powers": self._powers,
            "largest": [[*key, *found] for key, found in sorted(self._largest.items())],
            "expected": dict(sorted(self._expected.items())),
            "matched": dict(sorted(self.matched.items())),
            "below_level": self._below,
            "moments": to_rows(merge(self._moments)),
            "questions": self._questions,
            "unasked": self._unasked,
        }
        # The encoder of records, which escapes what is no UTF-8.
        head = dumps({name: value for name, value in made.items() if value or name in ("unit", "seed")})
        if not self._failing:
            return head.encode()
        return f'{head[:-1]},"verdicts":[{",".join(self._failing)}]}}'.encode()


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def largest(found: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The largest margins, each case once; of equal ones the first by quantity and case."""
    return _first(sorted(found, key=lambda one: (-one[0], *one[1:])))


def least(found: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The least powers, each case once; of equal ones the first by quantity and case."""
    return _first(sorted(found))


def _first(found: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    by_case: dict[str, tuple[float, str, str]] = {}
    for one in found:
        if one[2] not in by_case:
            by_case[one[2]] = one
            if len(by_case) == KEPT:
                break
    return list(by_case.values())


def read_statuses(text: str) -> list[Status]:
    """The statuses of the cases of a unit, in order. Raises ValueError for text that is none."""
    names: dict[str, Status] = {letter: name for name, letter in LETTERS.items()}
    found: list[Status] = []
    digits = ""
    for character in text:
        if character.isdecimal():
            digits += character
        elif digits and character in names:
            own: list[Status] = [names[character]]
            found += own * int(digits)
            digits = ""
        else:
            raise ValueError(f"{text!r} is no list of statuses")
    if digits:
        raise ValueError(f"{text!r} is no list of statuses")
    return found


def read_questions(text: str, folder: Path) -> Path:
    """A file that `diagnosis.question.load` reads, in `folder`, from the text of a line."""
    path = folder / "questions.npz"
    path.write_bytes(zlib.decompress(base64.b64decode(text)))
    return path
