"""Evidence: how well a hypothesis accounts for failing answers, and what it takes to state it as fact.

Say a framework's k_1 departs from the rule by 5,000 σ, and from what a mistake would give by 0.4 σ. The mistake
accounts for the departure to one part in 10,000. In bits, that entry counts log2(5000 / 1) = 12.3 for the mistake: what
is left is never taken for less than 1 σ of the mistake's own rounding error. So a hypothesis with huge errors of its
own, which lies within its tolerance of almost anything, gains no bits.

A mistake is stated as fact only if

- it is within `SIGMAS` of every entry of every failing call that it is offered for, and no failing or passing case
  contradicts it: a case does if the mistake would show there and is not seen;
- over the entries that depart, what it leaves is at least `LEAST_FACTOR` times smaller (geometric mean) than what the
  rule leaves;
- what it leaves looks like rounding: a root mean square of at most `MOST_SPREAD` σ, since σ bounds the deviation;
- its bits, without the best entries (one for each fitted constant), exceed `LEAST_BITS`. Some 1,000 hypotheses are
  tried. So 10 bits are lost to the choice, and the rest makes a chance agreement rarer than 1 in 4,000.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...reference import DTYPES, Array, DType
from ...reference.rounding import SIGMAS
from ...reference.steps import Work
from .hypothesis import Hypothesis
from .question import Question

LEAST_FACTOR = 5.0
MOST_SPREAD = 2.0
LEAST_BITS = 22.0
_MOST_BITS = 52.0
_SEEN, _CAN_BE_SEEN = 2.0, 0.5
"""How many tolerances a mistake has to move an entry by: for a case to be sure to show it, and to be able to."""


@dataclass(frozen=True)
class Fit:
    """One hypothesis compared with the calls of a question; arrays with one entry a call.

    `sigmas` is the largest distance of an entry from what the mistake gives, in σ. `predicts` is the place, in the
    order of the computation, of the first quantity in which the mistake would be seen, and `may` of the first in which
    it could be; beyond the last if in none. `departs` is the place of the first quantity that departs from the rule.
    Over the entries that depart, `bits` is the sum of their bits, `best` holds the two largest, `entries` their number,
    and `square` the sum of the squares of what is left in σ.
    """

    sigmas: Array
    hidden: Array
    predicts: Array
    may: Array
    departs: Array
    bits: Array
    best: Array
    entries: Array
    square: Array

    @property
    def fits(self) -> Array:
        """Whether the mistake can change what departs first, and explains every entry."""
        return ~self.hidden & (self.sigmas <= SIGMAS) & (self.may <= self.departs)

    @property
    def contradicts(self) -> Array:
        """Whether the mistake would be seen, at or before what departs first, and is not."""
        return ~self.hidden & ~self.fits & (self.predicts <= self.departs)


@dataclass
class Account:
    """The evidence of several fits together."""

    calls: int = 0
    bits: float = 0.0
    entries: int = 0
    square: float = 0.0
    best: tuple[float, ...] = ()
    worst: float = 0.0

    def add(self, fit: Fit) -> None:
        """Add the calls that a fit explains."""
        chosen = fit.fits
        self.calls += int(chosen.sum())
        self.bits += float(fit.bits[chosen].sum())
        self.entries += int(fit.entries[chosen].sum())
        self.square += float(fit.square[chosen].sum())
        self.best = tuple(sorted((*self.best, *fit.best[chosen].ravel().tolist()), reverse=True)[:2])
        self.worst = max(self.worst, float(fit.sigmas[chosen].max(initial=0.0)))

    def is_evidence_for(self, hypothesis: Hypothesis) -> bool:
        """Whether it is enough to state the mistake as fact, if no case contradicts it."""
        if not self.entries:
            return False
        factor = 2.0 ** (self.bits / self.entries)
        spread = math.sqrt(self.square / self.entries)
        spare = self.bits - sum(self.best[: hypothesis.fitted])
        return factor >= LEAST_FACTOR and spread <= MOST_SPREAD and spare >= LEAST_BITS


def compare(question: Question, hypothesis: Hypothesis) -> Fit:
    """A hypothesis compared with every call of a question.

    If formulas of the framework's own change the numbers too, each call is compared with the mistake in the rule, and
    in the rule with these formulas, and the nearer one counts.
    """
    fit = _compare(question, hypothesis)
    if not question.formulas:
        return fit
    other = _compare(question.with_formulas, hypothesis)
    is_nearer = other.sigmas < fit.sigmas
    chosen = [
        np.where(is_nearer.reshape(-1, *[1] * (mine.ndim - 1)), its, mine)
        for mine, its in zip(vars(fit).values(), vars(other).values(), strict=True)
    ]
    return Fit(*chosen)


def _compare(question: Question, hypothesis: Hypothesis) -> Fit:
    if hypothesis.format:
        return _compare_format(question, hypothesis)
    wrong = question.compute(hypothesis, True)
    with np.errstate(over="ignore"):
        hidden = _same(question.right, question.compute(hypothesis, False), question.compared)
    calls = len(question.stack.x)
    names = list(question.observed)
    most, bits, square = np.zeros(calls), np.zeros(calls), np.zeros(calls)
    entries, best = np.zeros(calls, int), np.zeros((calls, 2))
    nowhere = len(names)
    predicts, may, departs = (np.full(calls, nowhere) for _ in range(3))
    with np.errstate(all="ignore"):
        for place, (name, seen, due, within, value, tolerance) in enumerate(_each(question, wrong, hypothesis)):
            if name in question.ignored:
                continue
            off, left = _distance(question, seen, due, within), _distance(question, seen, value, tolerance)
            off = np.where(np.isfinite(due), off, 0.0)
            ratio = np.where(left == 0, 0.0, left / tolerance)
            ratio = np.where(np.isnan(ratio), np.inf, ratio)
            most = np.maximum(most, ratio.max(1, initial=0))
            out = ~(off <= within)
            # A mistake that uses an earlier call gives NaN where there was none: it then says nothing.
            moved = _distance(question, value, due, within)
            moved = np.where(np.isfinite(due) & ~np.isnan(value), moved, 0.0)
            departs = np.where((departs == nowhere) & out.any(1), place, departs)
            predicts = np.where((predicts == nowhere) & ~(moved <= _SEEN * within).all(1), place, predicts)
            may = np.where((may == nowhere) & ~(moved <= _CAN_BE_SEEN * within).all(1), place, may)
            if not out.any():
                continue
            sigma = np.maximum(tolerance / SIGMAS, np.finfo(float).tiny)
            gained = np.clip(np.log2(off / np.maximum(left, sigma)), -_MOST_BITS, _MOST_BITS)
            gained = np.where(out, np.where(np.isnan(gained), _MOST_BITS, gained), 0.0)
            bits += gained.sum(1)
            entries += out.sum(1)
            # A slope at a kink, or a number that may round to either side, may be anything within its jump.
            jump = wrong.given[name].estimate.jump
            rest = left if jump is None else np.maximum(left - jump.reshape(left.shape), 0.0)
            square += np.where(out, np.square(np.minimum(rest / sigma, 1e3)), 0.0).sum(1)
            best = np.sort(np.concatenate([best, np.sort(gained, 1)[:, -2:]], 1), 1)[:, :-3:-1]
        return Fit(SIGMAS * most, hidden, predicts, may, departs, bits, best, entries, square)


def _compare_format(question: Question, hypothesis: Hypothesis) -> Fit:
    """A narrower format compared with every call. The quantities that it is about must be numbers of that format, and
    within its own rounding errors of the rule. Each departing entry gains the digits that it could have had.
    """
    calls, narrow = len(question.stack.x), DTYPES[hypothesis.format]
    nowhere, own = len(question.observed), question.structure.format
    most, bits, square, entries = np.zeros(calls), np.zeros(calls), np.zeros(calls), np.zeros(calls, int)
    predicts, may, departs = (np.full(calls, nowhere) for _ in range(3))
    hidden = np.full(calls, narrow.u <= own.u or hypothesis.regime not in ("", question.regime))
    if hidden.all():
        return Fit(most, hidden, predicts, may, departs, bits, np.zeros((calls, 2)), entries, square)
    wide = question.rule_in(narrow)
    gained = float(np.log2(narrow.u / own.u))
    with np.errstate(all="ignore"):
        for place, name in enumerate(name for name in wide.given if name in question.observed):
            flat = (calls, -1)
            rule = question.sharp_rule.given[name]
            seen, due, within = (a.reshape(flat) for a in (question.observed[name], rule.value, rule.tolerance))
            off = np.where(np.isfinite(due), _distance(question, seen, due, within), 0.0)
            out = ~(off <= within)
            departs = np.where((departs == nowhere) & out.any(1), place, departs)
            if name in question.ignored:
                continue
            if name.partition("_")[0] not in hypothesis.symbols:
                ratio = np.where(off == 0, 0.0, off / within)
            else:
                tolerance = wide.given[name].tolerance.reshape(flat)
                ratio = np.where(_fits_into(seen, narrow), np.where(off == 0, 0.0, off / tolerance), np.inf)
                moved = np.abs(due.astype(narrow.numpy).astype(np.float64) - due)
                predicts = np.where((predicts == nowhere) & ~(moved <= _SEEN * within).all(1), place, predicts)
                may = np.where((may == nowhere) & ~(moved <= _CAN_BE_SEEN * within).all(1), place, may)
                bits += gained * out.sum(1)
                entries += out.sum(1)
                square += np.where(out, np.square(off / tolerance * SIGMAS), 0.0).sum(1)
            most = np.maximum(most, np.where(np.isnan(ratio), np.inf, ratio).max(1, initial=0))
        best = np.minimum(bits[:, None], gained) * np.ones(2)
        return Fit(SIGMAS * most, hidden, predicts, may, departs, bits, best, entries, square)


def _fits_into(values: Array, format_: DType) -> Array:
    return (values.astype(format_.numpy).astype(np.float64) == values) | np.isnan(values)


def _each(
    question: Question, wrong: Work, hypothesis: Hypothesis
) -> Iterator[tuple[str, Array, Array, Array, Array, Array]]:
    """For each shown quantity in the order of the computation: its name, and arrays (D, entries): what was observed,
    what is due, its tolerance, what the mistake gives, and its tolerance.
    """
    for name, value in wrong.given.items():
        if name not in question.observed:
            continue
        rule = question.sharp_rule.given[name]
        flat = (len(value.value), -1)
        seen, due, given = (a.reshape(flat) for a in (question.observed[name], rule.value, value.value))
        within, tolerance = rule.tolerance.reshape(flat), value.tolerance.reshape(flat)
        if question.is_exact:
            half = _half_unit(question, due)
            within = half if rule.estimate.jump is None else half + rule.estimate.jump.reshape(flat)
            jump = 0.0 if value.estimate.jump is None else value.estimate.jump.reshape(flat)
            tolerance = np.where(_is_short(given), _half_unit(question, given) + jump, tolerance)
        if hypothesis.is_sharp:
            sharp = value.without_jumps().tolerance.reshape(flat)
            sharp = np.minimum(tolerance, sharp) if not question.is_exact else tolerance
            tolerance = np.where(_distance(question, seen, due, within) <= within, tolerance, sharp)
        yield name, seen, due, within, given, tolerance


def _half_unit(question: Question, value: Array) -> Array:
    format_ = question.structure.format
    return np.maximum(format_.u * np.abs(value), format_.subnormal) / 2


def _is_short(value: Array) -> Array:
    """Whether a number has few digits, as all have in a regime where nothing rounds: what gives it rounds nothing."""
    fraction = np.ldexp(np.frexp(value)[0], 20)
    return fraction == np.round(fraction)


def _distance(question: Question, seen: Array, value: Array, tolerance: Array) -> Array:
    """The distance of each entry: 0 for equal NaNs and infinities, and for an infinity where the value leaves the
    format.
    """
    apart = np.abs(seen - value)
    overflow = (np.abs(value) + tolerance >= question.structure.format.max) & np.isinf(seen)
    same = (seen == value) | (np.isnan(seen) & np.isnan(value)) | (overflow & (np.sign(seen) == np.sign(value)))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _same(a: Work, b: Work, names: dict[str, Array]) -> Array:
    """Whether two passes agree in all these quantities, one entry a call. Then the call hides the mistake."""
    same = np.ones(len(a.y.value), bool)
    for name in names:
        mine, others = a.given[name], b.given[name]
        if mine is others:
            continue
        x, y = (v.value.reshape(len(v.value), -1) for v in (mine, others))
        same &= ((x == y) | (np.isnan(x) & np.isnan(y))).all(1)
    return same


def distance_by_norm(question: Question, hypothesis: Hypothesis) -> Array:
    """How far the answers are from what a mistake gives: the largest distance by norm over the quantities, between 0
    and 1, one entry a call; infinite if the mistake makes no difference.
    """
    wrong, right = question.compute(hypothesis, False), question.right
    hidden = _same(right, wrong, question.compared)
    most = np.zeros(len(question.stack.x))
    if hidden.all():
        return np.full(most.shape, np.inf)
    for name in question.compared:
        value = wrong.given[name]
        is_right = value is right.given[name]
        most = np.maximum(most, question.right_apart[name] if is_right else question.apart(name, value.value))
    return np.where(hidden, np.inf, most)
