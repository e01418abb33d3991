"""Explanation: which known mistake explains a failing answer, by the distance between the answer and what the mistake
gives.

Each hypothesis is computed step by step from the values that the framework shows, with its own rounding errors. A
mistake explains an answer if the answer lies within the tolerance of what the mistake gives. That tolerance is derived
as for the rule itself.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ...adapters.quantities import stack_arrays
from ...reference import DTYPES, Array, Structure
from ...reference.arithmetic import Arithmetic
from ...reference.rounding import SIGMAS, Conventions, Reading, deviation
from ...reference.steps import Give, Work, afresh, run, showing, start
from ...reference.value import Value
from ..cases.draw import present_arrays, stacked
from ..cases.regimes import REGIMES, Draw
from ..checks.calls import Calls
from ..checks.verdict import quantity_of
from .explanation import Explanation
from .hypotheses import (
    FAMILIES,
    Earlier,
    Family,
    Hypothesis,
    factors,
    in_one_layer,
    known,
    least_squares,
    of_a_twin,
    of_one_gradient,
    of_other_inputs,
    pairs,
    rounded,
)

_SHORTLIST = 12
"""How many hypotheses, the nearest by norm, are compared with an answer by their tolerances."""

_MOST, _FEW = 6, 2
"""How many cases are compared with the table of mutants, and with the other hypotheses."""

_NARROWER = {"f64": ("f32", "f16", "bf16"), "f32": ("f16", "bf16"), "f16": ("bf16",)}


@dataclass(frozen=True)
class Question:
    """A stack of failing answers of one structure in float64, with what is known about them: earlier calls, and the
    slopes at kinks and the arithmetic of products that are declared.

    `first` is the name of the quantity that departs first. `ignored` are quantities that depart for a known other
    reason.
    """

    structure: Structure
    regime: str
    stack: Draw
    observed: dict[str, Array]
    first: str
    earlier: Earlier | None = None
    conventions: Conventions | None = None
    ignored: frozenset[str] = frozenset()
    arithmetic: Arithmetic | None = None

    @classmethod
    def about(
        cls, calls: Calls, chosen: Sequence[int], first: str, earlier: Earlier | None, ignored: frozenset[str]
    ) -> "Question":
        """The question about some of the calls, by their indices. `first` and `ignored` are as in the class."""
        wide = np.dtype(np.float64)
        shown = stack_arrays([calls.observed[i] for i in chosen])
        return cls(
            calls.structure,
            calls.regime,
            calls.stack[np.array(chosen)].astype(wide),
            {name: array.astype(wide) for name, array in shown.items()},
            first,
            earlier,
            calls.conventions,
            ignored,
            calls.arithmetic,
        )

    @property
    def compared(self) -> dict[str, Array]:
        """The observed quantities that are compared with a mistake."""
        return {name: array for name, array in self.observed.items() if name not in self.ignored}

    @property
    def layer(self) -> int:
        """The layer of the quantity that departs first, counted from 1; the last layer for E."""
        return quantity_of(self.first)[1] or self.structure.network.depth

    @property
    def reading(self) -> Reading:
        """The reading of a mistake's rounding errors: as standard deviations."""
        regime = REGIMES[self.regime]
        return deviation(self.structure.format, regime.rounding == "gradual", regime.selects, self.arithmetic)

    def part(self, cases: Sequence[int]) -> "Question":
        """Some of the cases."""
        shown = {name: array[list(cases)] for name, array in self.observed.items()}
        earlier = self.earlier and Earlier(
            self.earlier.call[np.array(cases, int)], self.earlier.first[np.array(cases, int)]
        )
        return replace(self, stack=self.stack[np.array(cases, int)], observed=shown, earlier=earlier)

    def compute(self, hypothesis: Hypothesis, reading: Reading | None = None) -> Work:
        """The pass of a hypothesis, from the values shown."""
        before = None if self.earlier is None else self._before[reading is not None]
        own_numbers = hypothesis.draw is None
        own_reading = hypothesis.format is None or reading is None
        if hypothesis is not RULE and own_numbers and own_reading:
            # Steps before the mistake, and after a value that the framework shows, are those of the rule itself.
            base = self.right if reading is None else self.rule
            return run(afresh(base, before), hypothesis.mistakes, self._give, base)
        one = self.stack if hypothesis.draw is None else hypothesis.draw(self.stack, self.earlier)
        if hypothesis.format is not None and reading is not None:
            reading = deviation(hypothesis.format)
        return run(self._work(one, reading, before), hypothesis.mistakes, self._give)

    @cached_property
    def _give(self) -> Give:
        return showing(self.observed)

    @cached_property
    def right_apart(self) -> dict[str, Array]:
        """The distance by norm of each quantity of the rule from what was observed, a case an entry."""
        with np.errstate(all="ignore"):
            return {name: _apart(seen, value) for name, seen, value, _ in _each(self.right, self.compared)}

    @cached_property
    def right(self) -> Work:
        """The pass of the rule itself, without errors."""
        return self.compute(RULE)

    @cached_property
    def rule(self) -> Work:
        """The pass of the rule itself, with errors."""
        return self.compute(RULE, self.reading)

    @cached_property
    def _before(self) -> tuple[Work, Work]:
        """The passes of the earlier calls, without and with errors."""
        assert self.earlier is not None
        return run(self._work(self.earlier.call, None)), run(self._work(self.earlier.call, self.reading))

    def _work(self, one: Draw, reading: Reading | None, before: Work | None = None) -> Work:
        return start(self.structure, one.parameters, one.x, one.y, reading, before, self.conventions)


RULE = Hypothesis("rule", "nothing wrong")


_Tried = tuple[Hypothesis, float]
"""A hypothesis and the largest distance from it in σ."""


def explain(question: Question) -> list[tuple[Explanation, ...]]:
    """For each case, the mistakes that explain it, the nearest first, followed by the nearest that does not.

    Expensive hypotheses are computed for few cases. What explains these is then compared with all the others.
    """
    found: list[list[_Tried]] = [[] for _ in question.stack.x]
    for stage in (_plain, _particular, _fitted, _paired, _narrowed):
        chosen = _unexplained(found)[: _MOST if stage is _plain else _FEW]
        if not chosen:
            break
        for case, tried in zip(chosen, stage(question.part(chosen)), strict=True):
            found[case] += tried
        fitting = {hypothesis: None for case in chosen for hypothesis, sigmas in found[case] if sigmas <= SIGMAS}
        others = _unexplained(found)
        if fitting and others:
            for case, tried in zip(others, _compare_with(question.part(others), list(fitting)), strict=True):
                found[case] += tried
    return [_nearest(tried) for tried in found]


def _unexplained(found: Sequence[Sequence[_Tried]]) -> list[int]:
    return [case for case, tried in enumerate(found) if not _fits(tried)]


def _fits(tried: Sequence[_Tried]) -> bool:
    return any(sigmas <= SIGMAS for _, sigmas in tried)


def _nearest(tried: Sequence[_Tried]) -> tuple[Explanation, ...]:
    """The explanations that fit and the next one, the nearest first. For each name, only the nearest is kept."""
    by_name: dict[str, Explanation] = {}
    for hypothesis, sigmas in sorted(tried, key=lambda one: one[1]):
        by_name.setdefault(hypothesis.name, Explanation(hypothesis.name, hypothesis.mistake, sigmas))
    ordered = list(by_name.values())
    return tuple(ordered[: sum(one.fits for one in ordered) + 1])


def _plain(question: Question) -> list[list[_Tried]]:
    odd = partial(_read_flat, question.regime) if REGIMES[question.regime].odd_arrays else None
    others = of_other_inputs(question.earlier is not None, odd)
    return _try_nearest(question, (*known(), *of_one_gradient(), *of_a_twin(question.structure.network), *others))


def _read_flat(regime: str, stack: Draw) -> Draw:
    """Each case's arrays in the order in which they lie in memory when they are passed."""

    def flat(a: Array) -> Array:
        return a.ravel(order="K").reshape(a.shape)

    read = []
    for i in range(len(stack.x)):
        one = stack[i]
        parameters, x, y = present_arrays(regime, one.parameters, one.x, one.y)
        weights = tuple(map(flat, parameters.weights))
        read.append(Draw(replace(parameters, weights=weights), flat(x), flat(y), one.dead))
    return stacked(read)


def _particular(question: Question) -> list[list[_Tried]]:
    return _try_nearest(question, in_one_layer(question.structure.network, question.layer))


def _paired(question: Question) -> list[list[_Tried]]:
    return _try_nearest(question, pairs())


def _try_nearest(question: Question, hypotheses: Iterable[Hypothesis]) -> list[list[_Tried]]:
    """The results for the hypotheses that are nearest by norm in the first cases."""
    probe = question.part(range(min(_FEW, len(question.stack.x))))
    near: list[tuple[float, int, Hypothesis]] = []
    for number, hypothesis in enumerate(hypotheses):
        wrong = probe.compute(hypothesis)
        distance = np.where(_same(probe.right, wrong, probe.compared), np.inf, _distance(wrong, probe)).min()
        near.append((float(distance), number, hypothesis))
    shortlist = sorted((one for one in near if one[0] < np.inf), key=lambda one: one[:2])[:_SHORTLIST]
    return _compare_with(question, [hypothesis for *_, hypothesis in shortlist])


def _compare_with(question: Question, hypotheses: Sequence[Hypothesis], strictly: bool = False) -> list[list[_Tried]]:
    """The result of each hypothesis in each case, except where it makes no difference or is infinitely far off.

    If `strictly`, a slope that may be anything between two values does not explain an entry that departs from the rule.
    """
    found: list[list[_Tried]] = [[] for _ in question.stack.x]
    rule = question.rule if strictly else None
    for hypothesis in hypotheses:
        wrong = question.compute(hypothesis, question.reading)
        with np.errstate(over="ignore"):
            hidden = _same(question.right, question.compute(hypothesis), question.compared) & (
                hypothesis.format is None
            )
            sigmas = SIGMAS * np.where(hidden, np.inf, _residual(wrong, question.compared, rule))
        for case, residual in enumerate(sigmas):
            if np.isfinite(residual):
                found[case].append((hypothesis, float(residual)))
    return found


def _fitted(question: Question) -> list[list[_Tried]]:
    """Mistakes with a number in them, which is fitted to the answer."""
    parts = [question.part([case]) for case in range(len(question.stack.x))]
    return [[one for family in FAMILIES for one in _with_number(part, family)] for part in parts]


def _with_number(question: Question, family: Family) -> list[_Tried]:
    layer = question.layer
    read = "E" if family.reads == "E" else f"{family.reads}_{layer}"
    if read not in question.observed or (read.startswith("dE/db") and question.structure.network.bias == "none"):
        return []
    where = None if family.everywhere else layer

    def given(c: float) -> Value:
        return question.compute(Hypothesis("", "", (family.made(c, where),)), question.reading).given[read]

    with np.errstate(all="ignore"):
        c = least_squares(given(0.0), given(1.0), question.observed[read])
    if not np.isfinite(c):
        return []
    for numbers in factors(c, question.structure, layer) if family.is_factor else rounded(c):
        made = (family.made(numbers[0].value, where),)
        hypotheses = [
            Hypothesis(f"{family.name}:{number.name}", family.text.format(number.text, layer=layer), made)
            for number in numbers
        ]
        tried = _compare_with(question, hypotheses, strictly=True)[0]
        if _fits(tried) or numbers[0].value == c:
            return tried
    return []


def _narrowed(question: Question) -> list[list[_Tried]]:
    """Whether the rule computed in a narrower format explains an answer; the format with the most digits that does.

    A wide tolerance explains much. But a narrow computation is off from the first step on, and nearly everywhere, so
    both are required.
    """
    found: list[list[_Tried]] = [[] for _ in question.stack.x]
    forward = [name for name in question.observed if name[0] in "zxo"]
    if question.first not in forward:
        return found
    before = [question.observed[name] for name in forward[: forward.index(question.first)]]
    own = _off(question.rule, question.compared)
    for name in reversed(_NARROWER.get(question.structure.dtype, ())):
        with np.errstate(over="ignore"):
            if not all(np.array_equal(a.astype(DTYPES[name].numpy).astype(a.dtype), a) for a in before):
                continue
        narrow = Hypothesis(f"computed-in-{name}", f"everything computed in {name}", format=DTYPES[name])
        for case, tried in enumerate(_compare_with(question, [narrow])):
            if own[case] >= 1 / 2 and _fits(tried):
                found[case] = tried
    return found


def _each(work: Work, observed: dict[str, Array]) -> Iterator[tuple[str, Array, Array, Array]]:
    """For each quantity: its name, observed values, the values of the pass, and its tolerance, each (D, entries)."""
    for name, value in work.given.items():
        if name in observed:
            flat = (len(value.value), -1)
            yield name, observed[name].reshape(flat), value.value.reshape(flat), value.tolerance.reshape(flat)


def _distance(work: Work, question: Question) -> Array:
    """The largest distance by norm over the quantities, between 0 and 1, one entry a case."""
    most = np.zeros(len(work.y.value))
    with np.errstate(all="ignore"):
        for name, seen in question.compared.items():
            if (value := work.given.get(name)) is None:
                continue
            if value is question.right.given[name]:
                apart = question.right_apart[name]
            else:
                flat = (len(value.value), -1)
                apart = _apart(seen.reshape(flat), value.value.reshape(flat))
            most = np.maximum(most, apart)
    return most


def _apart(seen: Array, value: Array) -> Array:
    """The distance by norm between two arrays (D, entries), relative to the sum of their norms, one entry a case."""
    size = np.sqrt(np.square(seen).sum(1)) + np.sqrt(np.square(value).sum(1))
    apart = np.sqrt(np.square(seen - value).sum(1))
    return np.where(size == 0, 0.0, np.nan_to_num(apart / size, nan=1.0))


def _residual(work: Work, observed: dict[str, Array], rule: Work | None = None) -> Array:
    """The largest distance in units of the tolerance, one entry a case. Entries that depart from `rule`, if it is
    given, are compared with the tolerance without jumps.
    """
    most = np.zeros(len(work.y.value))
    with np.errstate(all="ignore"):
        for name, seen, value, tolerance in _each(work, observed):
            if rule is not None:
                due, within = (a.reshape(seen.shape) for a in (rule.given[name].value, rule.given[name].tolerance))
                sharp = work.given[name].without_jumps().tolerance.reshape(seen.shape)
                tolerance = np.where(np.abs(seen - due) <= within, tolerance, sharp)
            error = np.where(seen == value, 0.0, np.abs(seen - value))
            ratio = np.where(error == 0, 0.0, error / tolerance)
            ratio = np.where(np.isnan(ratio), np.where(np.isnan(seen) & np.isnan(value), 0.0, np.inf), ratio)
            most = np.maximum(most, ratio.max(1, initial=0))
    return most


def _off(work: Work, observed: dict[str, Array]) -> Array:
    """The share of the quantities that depart, one entry a case."""
    with np.errstate(all="ignore"):
        off = [(np.abs(seen - value) > tolerance).any(1) for _, seen, value, tolerance in _each(work, observed)]
    return np.mean(off, axis=0)


def _same(a: Work, b: Work, names: Collection[str]) -> Array:
    """Whether two passes agree in all these quantities, one entry a case. Then the case hides the mistake."""
    same = np.ones(len(a.y.value), bool)
    for name, value in ((name, a.given[name]) for name in names):
        if value is b.given[name]:
            continue
        mine, others = (v.value.reshape(len(v.value), -1) for v in (value, b.given[name]))
        same &= ((mine == others) | (np.isnan(mine) & np.isnan(others))).all(1)
    return same
