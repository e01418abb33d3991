"""How often the diagnosis of a planted mistake is right, by adapter, dtype, and whether z, x and k are shown.

    python -m benchmarks.diagnosis [--adapter ADAPTER] [--dtype DTYPE] [--mutant NAME] [--json FILE] [--write]

Every mistake of the table is put on an adapter that goes through the smoke profile; where nothing fails there, through
the quick profile's other structures. What a report tells first of all that failed is held against what was planted.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks._common import circumstances, one_thread, parser, publish, seconds_text, table
from kterm.conformance.cases.case import Case, parse_case
from kterm.conformance.cases.description import Description
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.plan import WIDE, make_options
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.comparison.compare import readings
from kterm.conformance.checks.verdict import Verdict, quantity_of
from kterm.conformance.diagnosis.causes import Cause
from kterm.conformance.diagnosis.explanation import origin_of
from kterm.conformance.diagnosis.hypotheses.machinery import of_a_twin
from kterm.conformance.diagnosis.hypotheses.table import PLAIN, in_some_layers, pairs
from kterm.conformance.diagnosis.hypothesis import Hypothesis
from kterm.conformance.diagnosis.summary import GroupResult, result_of, summarize_failures
from kterm.conformance.evaluation.kills.outcome import select_findings
from kterm.conformance.evaluation.kills.trial import Trial, TrialOptions, TrialResult
from kterm.conformance.mutants import MISTAKES, MUTANTS, Mutant
from kterm.conformance.records import run as runs
from kterm.reference import Array, Network
from kterm.reference.rounding import Reading
from kterm.reference.steps import Made, Work, run, showing, start

ADAPTERS = ("numpy", "torch", "jax")
MOST_GROUPS = 6
"""How many structures are diagnosed for a mutant that the smoke profile does not find."""
PRINTED = 3
"""How many of the mistakes that explain the same cases a report names."""

STANDS_FOR: Mapping[str, frozenset[str]] = {
    "weights-ignored": frozenset({"stale-answer", "first-answer"}),
    "targets-ignored": frozenset({"stale-answer", "first-answer"}),
    "float32-inside": frozenset({"computed-in-f32"}),
    "stale-dtype": frozenset({"computed-in-f32"}),
}
"""The explanations that tell a mistake of the machinery in numbers, under another name than its own."""
SAYS: Mapping[str, str] = dict.fromkeys(("stale-dtype", "float32-inside"), "every number it gives is one of f32")
"""What a finding says of a mistake of the machinery in words, besides what the table has of it."""
SAME_NUMBERS: Mapping[str, frozenset[str]] = {"one-in-fifty": frozenset({"scaled-gradient@one-layer:65/64"})}
"""The explanations that give the same numbers in one call, and say nothing of the others."""

Outcome = Literal["right", "message", "not explained", "the same", "wrong", "not found"]
"""What the first cause of a report comes to: it names the mistake; it says something else in words; it names none; it
names one that gives the same numbers in these cases; it names another; there is none.
"""


@dataclass(frozen=True)
class Row:
    """What a report says of one mutant on an adapter, with z, x and k shown or not."""

    adapter: str
    dtype: str
    shown: bool
    mutant: str
    outcome: Outcome
    differs: bool
    groups: tuple[str, ...] = ()
    cases: int = 0
    causes: int = 0
    tied: int = 0
    """How many other mistakes are named with it."""
    unprinted: bool = False
    """Whether it is among those that a report only counts."""
    named_by: int | None = None
    """The number of the cause that names it first."""
    case: str = ""
    said: str = ""
    origin: str = ""
    moves: str = ""
    """The first quantity that the mistake moves there by more than its tolerance; empty where that is not asked."""
    locatable: int = 0
    """In how many of the cases the origin could be held against what the mistake moves."""
    misplaced: tuple[tuple[str, str, str], ...] = ()
    """Of those, the ones that do not agree: the case, the reported origin, and what is moved first."""

    @property
    def of_one_layer(self) -> bool:
        """Whether the mistake is made in some layers alone."""
        return MUTANTS[self.mutant].place != "every layer"

    @property
    def begins_right(self) -> bool:
        """Whether it is said to begin where it does."""
        return _is_at(self.origin, self.moves)


@dataclass
class Heard:
    """What was found of one mutant, by case."""

    differs: bool = False
    groups: list[str] = field(default_factory=list)
    blocked: bool = False
    """Whether the layout was found wrong, past which nothing is judged."""
    found: list[list[Verdict]] = field(default_factory=list)
    results: list[GroupResult] = field(default_factory=list)
    """What the causes are found from: failing groups, and groups that pass."""

    def add(self, tried: TrialResult) -> None:
        """Locate the failures of a group, and keep what the causes are found from."""
        self.differs = self.differs or tried.differs
        if self.blocked:
            return
        if not any(tried.found):
            self.results.append(result_of(tried.group, tried.verdicts))
            return
        self.blocked = tried.group.regime == "layout"
        self.groups.append(tried.group.id)
        located = tried.locate()
        told = list(zip(located.verdicts, tried.found, strict=True))
        self.found += [select_findings(verdicts) for verdicts, found in told if found]
        # A case that fails without the mistake says nothing of it.
        kept = [verdicts for verdicts, found in told if found or not any(v.fails for v in verdicts)]
        self.results.append(result_of(tried.group, kept, located.questions))


def heard(asked: TrialOptions, dtype: str, names: Sequence[str]) -> dict[tuple[str, bool], Heard]:
    """What a report is made of, by mutant and whether z, x and k are shown; from the same answers."""
    trial, known_of = Trial(asked, names), {(name, shown): Heard() for name in names for shown in (True, False)}
    first = replace(asked, options=replace(asked.options, profile="smoke")).groups(dtype)
    for group in first:
        for tried in trial.run(group, names):
            for shown in (True, False) if tried.name else ():
                known_of[tried.name, shown].add(tried if shown else tried.hide_intermediates())
    missing = {key for key, one in known_of.items() if not one.groups}
    seen = {group.id for group in first}
    for group in asked.groups(dtype):
        due = {key for key in missing if len(known_of[key].groups) < MOST_GROUPS}
        if group.id in seen or not due:
            continue
        for tried in trial.run(group, [name for name in names if {(name, True), (name, False)} & due]):
            for shown in (True, False):
                if (tried.name, shown) in due:
                    known_of[tried.name, shown].add(tried if shown else tried.hide_intermediates())
    return known_of


def row(described: Description, dtype: str, mutant: Mutant, shown: bool, told: Heard) -> Row:
    """The first cause of a report, held against what was planted."""
    found = summarize_failures(described, told.results)
    made = Row(
        described.name, dtype, shown, mutant.name, "not found", told.differs, tuple(told.groups), len(told.found)
    )
    if not found:
        return made
    first, named = found[0], [_place(cause, mutant) for cause in found]
    made = replace(
        made,
        outcome=_outcome(first, mutant),
        causes=len(found),
        tied=max(0, len(first.mistakes) - 1),
        unprinted=named[0] is not None and named[0] >= PRINTED,
        named_by=next((number for number, place in enumerate(named, 1) if place is not None), None),
        case=first.worst.case,
        said=said(first),
        origin=origin_of(first.worst),
    )
    if not mutant.changes:
        return made
    begins = {
        some[0].case: (origin_of(some[0]), _begins(mutant, some[0], shown)) for some in told.found if origin_of(some[0])
    }
    asked = {case: one for case, one in begins.items() if one[1]}
    _, moves = asked.get(first.worst.case, ("", ""))
    misplaced = tuple((case, *one) for case, one in asked.items() if not _is_at(*one))
    return replace(made, moves=moves, locatable=len(asked), misplaced=misplaced)


def said(cause: Cause) -> str:
    """What a report says of a cause, in a line."""
    named = " or ".join(f"{one.mistake} [{one.name}, {one.sigmas:.2g} σ]" for one in cause.mistakes)
    if named or cause.worst.message:
        return named or cause.worst.message
    return "; ".join([f"no known mistake explains {cause.worst.quantity}", *cause.description])


def _place(cause: Cause, mutant: Mutant) -> int | None:
    """The place of a mistake among those that a cause names, or None; a finding in words names it."""
    names = {mutant.name, *STANDS_FOR.get(mutant.name, ())}
    at = next((number for number, one in enumerate(cause.mistakes) if one.name in names), None)
    words = [text for text in (mutant.shows, SAYS.get(mutant.name, "")) if text]
    return 0 if at is None and any(text in cause.worst.message for text in words) else at


def _outcome(first: Cause, mutant: Mutant) -> Outcome:
    if _place(first, mutant) is not None:
        return "right"
    if not first.mistakes:
        return "message" if first.worst.message else "not explained"
    lead = first.mistakes[0].name
    if lead in SAME_NUMBERS.get(mutant.name, ()):
        return "the same"
    return "the same" if mutant.changes and _are_alike(mutant, lead, first.worst) else "wrong"


def _passes(case: Case, mistakes: Sequence[Made], reading: Reading | None = None, shown: bool = False) -> Work:
    """A case's pass, with what is shown of a right one taken as given where errors are asked for."""
    before = None
    if case.draw:
        earlier = make_draws((replace(case, draw=case.draw - 1),)).astype(np.dtype(np.float64))
        before = run(start(case.structure, earlier.parameters, earlier.x, earlier.y))
    own = make_draws((case,)).astype(np.dtype(np.float64))
    given: dict[str, Array] = {}
    if reading is not None:
        right = _passes(case, ()).given
        given = {name: right[name].value for name in right if name == "outputs" or (shown and name[0] in "zxk")}
    return run(start(case.structure, own.parameters, own.x, own.y, reading, before), mistakes, showing(given))


def _case(verdict: Verdict) -> Case:
    return parse_case(verdict.case, tuple(REGIMES))


def _begins(mutant: Mutant, verdict: Verdict, shown: bool) -> str:
    """The first quantity that a mistake moves by more than its tolerance in the case of a finding; of those that can be
    named where z, x and k are not shown. Empty where the finding is not of the case's own numbers.
    """
    case = _case(verdict)
    if verdict.check in ("descent", "batch"):
        return ""
    made: list[Made] = [(mutant.changes, mutant.takes)]
    right, wrong = _passes(case, ()).given, _passes(case, made).given
    errors = _passes(case, (), readings(case.structure, case.regime)[0], shown).given
    for name in right:
        a, b = right[name].value, wrong[name].value
        with np.errstate(invalid="ignore"):
            moves = not ((np.abs(a - b) <= errors[name].tolerance) | (a == b) | (np.isnan(a) & np.isnan(b))).all()
        if moves and (shown or name[0] not in "zx"):
            return f"x_{case.structure.network.depth}" if name == "outputs" and shown else name
    return ""


def _is_at(origin: str, quantity: str) -> bool:
    return quantity in origin.partition(" (")[0].split(" or ")


def _are_alike(mutant: Mutant, name: str, verdict: Verdict) -> bool:
    """Whether an explanation of that name gives what a mutant gives, apart from rounding, in the case of a finding."""
    case = _case(verdict)
    planted = _passes(case, [(mutant.changes, mutant.takes)])
    network = case.structure.network
    activation = network.activations[(quantity_of(verdict.quantity)[1] or network.depth) - 1]
    return any(_agree(planted, _passes(case, one.mistakes)) for one in _called(name, network, activation))


def _called(name: str, network: Network, activation: str) -> Iterator[Hypothesis]:
    every = (PLAIN, of_a_twin(network), in_some_layers(network, activation, PLAIN), pairs())
    return (one for one in chain(*every) if one.name == name)


def _agree(a: Work, b: Work) -> bool:
    # Two ways to write one formula, in float64: it decides what a row of the table is called, and no verdict.
    def near(mine: Array, others: Array) -> bool:
        size = np.abs(mine[np.isfinite(mine)]).max(initial=0.0)
        return np.allclose(mine, others, rtol=1e-12, atol=1e-12 * float(size), equal_nan=True)

    return all(near(a.given[name].value, b.given[name].value) for name in a.given)


def table_of(rows: Sequence[Row]) -> str:
    """One line an adapter, a dtype and a mode."""
    keys = dict.fromkeys((one.adapter, one.dtype, one.shown) for one in rows)
    body = []
    for adapter, dtype, shown in keys:
        mine = [one for one in rows if (one.adapter, one.dtype, one.shown) == (adapter, dtype, shown)]
        own = [one for one in mine if one.outcome != "not found"]
        counts = [sum(one.outcome == outcome for one in own) for outcome in ("not explained", "message", "the same")]
        right = [one for one in own if one.outcome == "right"]
        mode = "all" if shown else "gradients alone"
        body.append(
            (
                f"{adapter}, {dtype}, {mode}",
                f"{len(own)}",
                f"{len(right)}",
                f"{sum(bool(one.tied) for one in right)}",
                f"{sum(one.causes > 1 for one in right)}",
                *map(str, counts),
                f"{sum(one.outcome == 'wrong' for one in own)}",
                _located(one for one in own if one.of_one_layer),
                _located(one for one in own if not one.of_one_layer),
                f"{sum(one.locatable - len(one.misplaced) for one in own)}/{sum(one.locatable for one in own)}",
            )
        )
    header = (
        "adapter, dtype, shown", "mistakes", "right", "of them tied", "of them several causes", "not explained",
        "described in other words", "another that is the same here", "wrong", "begins, some layers",
        "begins, every layer", "begins, by case",
    )  # fmt: skip
    return table(header, body)


def _located(rows: Iterable[Row]) -> str:
    asked = [one for one in rows if one.moves]
    return f"{sum(one.begins_right for one in asked)}/{len(asked)}"


def lines(rows: Sequence[Row]) -> list[str]:
    """A line for each that is not right, and for each that does not begin where it is said to; and one a mode for what
    is right in part.
    """
    told, several = list[str](), dict[str, list[str]]()
    for one in rows:
        mode = f"{one.adapter}, {one.dtype}, {'all shown' if one.shown else 'gradients alone'}"
        where = f"{mode}: {one.mutant}"
        if one.outcome == "not found":
            told.append(f"- {where}: not found{'' if one.differs else ', no answer differs by a bit'}")
        elif one.outcome != "right" or one.unprinted:
            later = f"; cause {one.named_by} of {one.causes} names it" if one.named_by else ""
            kind = f"right, but only counted, with {one.tied} others" if one.unprinted else one.outcome
            told.append(f"- {where}: {kind} ({one.case}, of {one.cases}): {_short(one.said)}{later}")
        elif one.causes > 1:
            several.setdefault(mode, []).append(f"{one.mutant} {one.causes}")
        if one.moves and not one.begins_right:
            told.append(f"- {where}: is said to begin at {one.origin}, moves {one.moves} ({one.case})")
        others = [(*found, case.rpartition("-")[0]) for case, *found in one.misplaced if case != one.case]
        for (origin, moved, group), count in Counter(others).items():
            told.append(f"- {where}: is said to begin at {origin}, moves {moved}, in {count} other cases ({group})")
    return told + [
        f"- {mode}: right, and reported as so many causes: {', '.join(some)}" for mode, some in several.items()
    ]


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."


def measured(spec: str, dtypes: Sequence[str], mutants: Sequence[Mutant]) -> list[Row]:
    """The rows of one adapter."""
    prepared = runs.prepare(runs.RunRequest((spec,), make_options("quick", 0, dtypes)))
    adapter = prepared.adapters[0]
    asked = TrialOptions(adapter, prepared.options, prepared.concerning(adapter.name))
    rows = []
    for dtype in [name for name in dtypes if name in adapter.dtypes]:
        told = heard(asked, dtype, [mutant.name for mutant in mutants])
        rows += [
            row(adapter, dtype, mutant, shown, told[mutant.name, shown])
            for shown in (True, False)
            for mutant in mutants
        ]
    return rows


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parser(__doc__)
    options.add_argument("--adapter", action="append", help="repeatable; by default numpy, torch and jax")
    options.add_argument("--dtype", action="append", choices=WIDE, help="repeatable; by default both")
    options.add_argument("--mutant", action="append", choices=[one.name for one in MISTAKES], help="repeatable; or all")
    options.add_argument("--json", type=Path, help="write the rows here")
    chosen = options.parse_args()
    one_thread()
    mutants = [one for one in MISTAKES if not chosen.mutant or one.name in chosen.mutant]
    rows, times = list[Row](), dict[str, float]()
    for spec in chosen.adapter or ADAPTERS:
        begun = time.perf_counter()
        rows += measured(spec, chosen.dtype or WIDE, mutants)
        times[spec] = time.perf_counter() - begun
    if chosen.json is not None:
        text = json.dumps([asdict(one) for one in rows], indent=1, ensure_ascii=False)
        chosen.json.write_text(f"{text}\n", encoding="utf-8")
    body = f"""Does a report name the right mistake? Each of {len(mutants)} known mistakes is planted in an adapter,
which then runs the smoke profile. The first cause in the report is compared with the planted mistake. The columns are:

- *Right*: the report names the mistake, or a finding describes it in words.
- *Tied*: the report also names other mistakes that explain the same cases.
- *Several causes*: the report gives some of its failures another cause.
- *Begins*: the mistake begins, as reported, at the first quantity that it moves by more than its tolerance: in the case
  that is shown, for mistakes of some layers and of every layer, and in all failing cases.

{table_of(rows)}

{chr(10).join(lines(rows)) or "All are right."}

Time: {", ".join(f"{spec} {seconds_text(one)}" for spec, one in times.items())}.
{circumstances("kterm", "numpy", "torch", "jax")}
"""
    publish("diagnosis", "How often a diagnosis is right", body, chosen.write)


if __name__ == "__main__":
    main()
