"""Questions: failing calls of one structure with all that a diagnosis needs, as plain data that a worker can store."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...reference import Array, DType, Parameters, Structure
from ...reference.arithmetic import Arithmetic
from ...reference.rounding import Conventions, Reading, deviation
from ...reference.steps import Give, Made, Work, afresh, run, showing, start
from ..cases.case import Case, parse_case
from ..cases.description import Description
from ..cases.regimes import REGIMES, Draw, each
from ..checks.comparison.compare import readings
from ..checks.verdict import NOTHING_EXPECTED, ExpectationFor, quantity_of
from .hypothesis import Asked, Earlier, Hypothesis

RULE = Hypothesis("rule", "nothing wrong")


@dataclass(frozen=True)
class Question:
    """A stack of failing answers of one structure in float64, with what is known about them.

    `cases` are the ids of the calls' cases. `first` is the quantity that departs first. `ignored` are quantities that
    depart for a known other reason. `earlier` are the numbers of earlier calls, `conventions` the slopes declared at
    kinks, and `arithmetic` what the adapter declares about its products in this dtype. `formulas` are the steps that
    the framework is known to compute by formulas of its own, which expectations state, if they change any number here.
    `departs_as_known` says that they change these answers visibly. The answers then do not speak against a mistake.
    `rule_has_formulas` says that the formulas are part of the rule.
    """

    structure: Structure
    regime: str
    stack: Draw
    observed: dict[str, Array]
    first: str
    earlier: Earlier | None = None
    conventions: Conventions | None = None
    ignored: frozenset[str] = frozenset()
    cases: tuple[str, ...] = ()
    arithmetic: Arithmetic | None = None
    formulas: tuple[Made, ...] = ()
    departs_as_known: bool = False
    rule_has_formulas: bool = False

    @cached_property
    def with_formulas(self) -> "Question":
        """The same, with the framework's own formulas as part of the rule."""
        return replace(self, rule_has_formulas=True)

    @property
    def compared(self) -> dict[str, Array]:
        """The observed quantities that are compared with a mistake."""
        return {name: array for name, array in self.observed.items() if name not in self.ignored}

    @property
    def layer(self) -> int:
        """The layer of the quantity that departs first, counted from 1; the last layer for E."""
        return quantity_of(self.first)[1] or self.structure.network.depth

    @property
    def activation(self) -> str:
        """The activation of that layer."""
        return self.structure.network.activations[self.layer - 1]

    @property
    def is_exact(self) -> bool:
        """Whether nothing rounds in this regime."""
        return REGIMES[self.regime].rounding == "exact"

    @property
    def size(self) -> int:
        """How many numbers one call has."""
        return sum(array[0].size for array in self.observed.values())

    @property
    def reading(self) -> Reading:
        """The reading of a mistake's rounding errors: as standard deviations."""
        regime = REGIMES[self.regime]
        return deviation(self.structure.format, regime.rounding == "gradual", regime.selects, self.arithmetic)

    def part(self, cases: Sequence[int]) -> "Question":
        """Some of the calls."""
        picked = np.array(cases, int)
        shown = {name: array[picked] for name, array in self.observed.items()}
        earlier = self.earlier and Earlier(self.earlier.call[picked], self.earlier.first[picked])
        ids = tuple(self.cases[i] for i in cases) if self.cases else ()
        return replace(self, stack=self.stack[picked], observed=shown, earlier=earlier, cases=ids)

    def without_shown_k(self) -> "Question":
        """The same without the k-terms that are shown, so that gradients are compared from the rule's own."""
        return replace(self, observed={name: a for name, a in self.observed.items() if not name.startswith("k_")})

    def compute(self, hypothesis: Hypothesis, with_errors: bool) -> Work:
        """The pass of a hypothesis, from the values shown."""
        if hypothesis.draw is None:
            # Steps before the mistake, and after a value that the framework shows, are those of the rule itself.
            base = self.rule if with_errors else self.right
            return run(afresh(base, self._before[with_errors]), hypothesis.mistakes, self._give, base, self._known)
        one = hypothesis.draw(Asked(self.structure, self.regime, self.stack, self.earlier))
        work = self._work(one, self.reading if with_errors else None, None)
        return run(work, hypothesis.mistakes, self._give, known=self._known)

    @property
    def _known(self) -> tuple[Made, ...]:
        return self.formulas if self.rule_has_formulas else ()

    @cached_property
    def _give(self) -> Give:
        return showing(self.observed)

    @cached_property
    def right(self) -> Work:
        """The pass of the rule itself, without errors."""
        return run(self._work(self.stack, None, self._before[0]), (), self._give, known=self._known)

    @cached_property
    def rule(self) -> Work:
        """The pass of the rule itself, with errors."""
        return run(self._work(self.stack, self.reading, self._before[1]), (), self._give, known=self._known)

    @cached_property
    def sharp_rule(self) -> Work:
        """The pass of the rule with the errors that verdicts use: none where nothing rounds."""
        if not self.is_exact:
            return self.rule
        reading, _ = readings(self.structure, self.regime, self.arithmetic)
        return run(self._work(self.stack, reading, None), (), self._give, known=self._known)

    def apart(self, name: str, value: Array) -> Array:
        """How far a value is from the observed one of this name: the norm of the difference by the sum of both norms,
        between 0 and 1 for each call. It is 1 where a number is not finite.
        """
        seen, size = self._seen[name]
        flat = value.reshape(seen.shape)
        with np.errstate(all="ignore"):
            sizes = size + np.sqrt(np.square(flat).sum(1))
            distance = np.sqrt(np.square(seen - flat).sum(1)) / sizes
        return np.where(sizes == 0, 0.0, np.fmin(distance, 1.0))

    @cached_property
    def right_apart(self) -> dict[str, Array]:
        """`apart` for the values of the rule itself, which most hypotheses leave as they are in most quantities."""
        return {name: self.apart(name, self.right.given[name].value) for name in self.observed}

    @cached_property
    def _seen(self) -> dict[str, tuple[Array, Array]]:
        """What was observed, (calls, entries), and its norm in each call."""
        flat = {name: array.reshape(len(array), -1) for name, array in self.observed.items()}
        with np.errstate(all="ignore"):
            return {name: (array, np.sqrt(np.square(array).sum(1))) for name, array in flat.items()}

    def rule_in(self, format_: DType) -> Work:
        """The pass of the rule with the errors of another format."""
        return run(self._work(self.stack, deviation(format_), None), (), self._give, known=self._known)

    @cached_property
    def _before(self) -> tuple[Work | None, Work | None]:
        """The passes of the earlier calls, without and with errors."""
        if self.earlier is None:
            return None, None
        works = (self._work(self.earlier.call, reading, None) for reading in (None, self.reading))
        right, rule = (run(work, known=self._known) for work in works)
        return right, rule

    def _work(self, one: Draw, reading: Reading | None, before: Work | None) -> Work:
        return start(self.structure, one.parameters, one.x, one.y, reading, before, self.conventions)


def earlier_calls(history: Draw, before: Sequence[int | None]) -> Earlier:
    """The numbers of earlier calls in float64, as stacks: those before each call, and the first; NaN where there was
    none.
    """
    return Earlier(_called(history, before), _called(history, [None if number is None else 0 for number in before]))


def _called(history: Draw, numbers: Sequence[int | None]) -> Draw:
    picked = history[np.array([number or 0 for number in numbers])]
    none = np.array([number is None for number in numbers])

    def blank(a: Array) -> Array:
        return np.where(none.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a.astype(np.float64))

    return Draw(each(picked.parameters, blank), blank(picked.x), blank(picked.y), picked.dead)


# Stored by a worker, read at the end of a run.


def save(path: Path, questions: Iterable[Question]) -> None:
    """Write questions as plain arrays and text."""
    data: dict[str, Array] = {}
    about: list[dict[str, Any]] = []
    for number, one in enumerate(questions):
        about.append(
            {
                "first": one.first,
                "ignored": sorted(one.ignored),
                "cases": one.cases,
                "has_formulas": bool(one.formulas),
                "departs_as_known": one.departs_as_known,
            }
        )
        data |= {f"{number}/shown/{name}": array for name, array in one.observed.items()}
        stacks = {"stack": one.stack}
        if one.earlier is not None:
            stacks |= {"call": one.earlier.call, "begun": one.earlier.first}
        for kind, draw in stacks.items():
            data |= {f"{number}/{kind}/{name}": array for name, array in _arrays(draw).items()}
    np.savez(path, about=np.array(json.dumps(about)), **data)  # pyright: ignore[reportArgumentType]


def load(path: Path, adapter: Description, expectation_for: ExpectationFor = NOTHING_EXPECTED) -> list[Question]:
    """The questions in a file that `save` wrote. `adapter` is what the adapter declares, and `expectation_for` what is
    known of it.
    """
    with np.load(path, allow_pickle=False) as stored:
        found: dict[str, dict[str, dict[str, Array]]] = {}
        for key in stored.files:
            if key != "about":
                number, kind, name = key.split("/", 2)
                found.setdefault(number, {}).setdefault(kind, {})[name] = stored[key]
        about = json.loads(str(stored["about"]))
    questions = []
    for number, one in enumerate(about):
        kinds = found[str(number)]
        case: Case = parse_case(one["cases"][0], tuple(REGIMES))
        earlier = Earlier(_draw(kinds["call"]), _draw(kinds["begun"])) if "call" in kinds else None
        formulas = tuple(expectation_for.formulas_for(one["cases"]).values()) if one["has_formulas"] else ()
        questions.append(
            Question(
                case.structure, case.regime, _draw(kinds["stack"]), kinds["shown"], one["first"], earlier,
                adapter.conventions, frozenset(one["ignored"]), tuple(one["cases"]),
                adapter.arithmetic_in(case.structure.dtype), formulas, one["departs_as_known"],
            )
        )  # fmt: skip
    return questions


def _arrays(one: Draw) -> dict[str, Array]:
    weights = {f"W_{i}": a for i, a in enumerate(one.parameters.weights)}
    return (
        weights | {f"b_{i}": a for i, a in enumerate(one.parameters.biases)} | {"x": one.x, "y": one.y, "d": one.dead}
    )


def _draw(stored: dict[str, Array]) -> Draw:
    def layers(symbol: str) -> tuple[Array, ...]:
        return tuple(stored[f"{symbol}_{i}"] for i in range(len(stored)) if f"{symbol}_{i}" in stored)

    return Draw(Parameters(layers("W"), layers("b")), stored["x"], stored["y"], stored["d"])
