"""Mistakes with a number in them: a factor, a multiple of the weights, a limit. The number is fitted to one failing
case, and must then be the same, or follow from one formula such as 1/B, in all others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ....reference import Array
from ....reference.steps import Change, Changes, Work
from ....reference.value import Value
from ..hypothesis import Hypothesis, Takes

Number = Callable[[Work, int], float]


@dataclass(frozen=True)
class Formula:
    """What a factor may stand for: its value at layer i, and its text. `fitted` is 1 if it has no meaning."""

    name: str
    text: str
    value: Number
    fitted: int = 0


@dataclass(frozen=True)
class Family:
    """Mistakes of one kind that differ in a number c. The quantity that they change first is a linear function of c.

    `text` completes "the rule with ...", given c as text. `reads` are the symbols of the quantities from which c may be
    read, in order: dE/dW where k is hidden. `is_factor` says that c is 1 if nothing is wrong. `also` are other steps
    that are changed with the same number.
    """

    name: str
    text: str
    step: str
    change: Callable[[Number], Change]
    reads: tuple[str, ...]
    is_factor: bool = True
    has_places: bool = True
    also: Mapping[str, Callable[[Number], Change]] = field(default_factory=dict)

    def hypothesis(self, formula: Formula, place: str, takes: Takes) -> Hypothesis:
        """The mistake with the number that a formula gives."""
        steps = {self.step: self.change, **self.also}
        changes: Changes = {step: change(formula.value) for step, change in steps.items()}
        where = f", in {place} alone" if place else ""
        suffix = f"@{place.replace(' ', '-')}" if place else ""
        return Hypothesis(
            f"{self.name}:{formula.name}{suffix}", self.text.format(formula.text) + where, ((changes, takes),),
            fitted=formula.fitted, is_variant=bool(place or formula.fitted), is_sharp=True,
        )  # fmt: skip


def _times(c: Number) -> Change:
    return lambda w, i, right: right() * c(w, i)


def _plus_weights(c: Number) -> Change:
    return lambda w, i, right: right() + w.weights[i] * c(w, i)


def _plus_biases(c: Number) -> Change:
    return lambda w, i, right: right() + w.biases[i] * c(w, i)


def _weights_minus(c: Number) -> Change:
    return lambda w, i, right: right() * -c(w, i) + w.weights[i]


def _biases_minus(c: Number) -> Change:
    return lambda w, i, right: right() * -c(w, i) + w.biases[i]


def _plus_before(gradients: str) -> Callable[[Number], Change]:
    def with_number(c: Number) -> Change:
        return lambda w, i, right: right() if w.before is None else right() + getattr(w.before, gradients)[i] * c(w, i)

    return with_number


FAMILIES: tuple[Family, ...] = (
    Family("scaled-residual", "the residual {}", "r", _times, ("k", "dE/dW", "dE/db"), has_places=False),
    Family("scaled-k", "each k_i {}", "k", _times, ("k", "dE/dW", "dE/db")),
    Family("scaled-slope", "f' {}", "d", _times, ("k", "dE/dW", "dE/db")),
    Family("scaled-gradient", "dE/dW {}", "W", _times, ("dE/dW",)),
    Family("scaled-bias-gradient", "dE/db {}", "b", _times, ("dE/db",)),
    Family("scaled-error", "E {}", "E", _times, ("E",), has_places=False),
    Family("scaled-pre-activation", "z_i {}", "z", _times, ("z", "outputs")),
    Family("scaled-activation", "x_i {}", "x", _times, ("x", "outputs")),
    Family("decay", "{} W added to dE/dW", "W", _plus_weights, ("dE/dW",), is_factor=False),
    Family("bias-decay", "{} b added to dE/db", "b", _plus_biases, ("dE/db",), is_factor=False),
    Family(
        "carried-over", "{} times the gradients of the call before added", "W", _plus_before("gw"), ("dE/dW",),
        is_factor=False, has_places=False, also={"b": _plus_before("gb")},
    ),
    Family(
        "scaled-loss", "the loss, in E and in the gradients, {}", "E", _times, ("E",), has_places=False,
        also={"r": _times},
    ),
    Family(
        "updated-weights", "W - {} dE/dW in place of dE/dW, and b likewise", "W", _weights_minus, ("dE/dW",),
        is_factor=False, has_places=False, also={"b": _biases_minus},
    ),
)  # fmt: skip


def least_squares(at_0: Value, at_1: Value, observed: Array) -> tuple[float, float]:
    """The c for which at_0 + c (at_1 - at_0) is nearest to what was observed, with each entry weighted by its
    tolerance, and the largest distance that is left, in tolerances. NaN if c has no effect.
    """
    moved, off = at_1.value - at_0.value, observed.reshape(at_0.shape) - at_0.value
    tolerance = np.maximum(at_0.tolerance, at_1.tolerance)
    least = np.min(tolerance, where=tolerance > 0, initial=np.inf)
    weight = 1 / np.where(tolerance > 0, tolerance, least if np.isfinite(least) else 1.0)
    moved, off = moved * weight, off * weight
    sound = np.isfinite(moved) & np.isfinite(off)
    moved, off = moved[sound], off[sound]
    size = float(np.square(moved).sum())
    if not size:
        return float("nan"), float("nan")
    c = float((moved * off).sum() / size)
    return c, float(np.abs(off - c * moved).max())


def formulas(c: float, family: Family, work: Work, layer: int) -> list[Formula]:
    """What a number near c may stand for in a layer of a pass, the simplest first."""
    found = list[Formula]()
    if family.is_factor:
        for name, (value, text) in MEANINGS.items():
            with np.errstate(all="ignore"):
                if abs(value(work, layer) - c) <= abs(c) * 1e-2 + 1e-300 or (c == 0 and value(work, layer) == 0):
                    found.append(Formula(name, text, value))
        simple = Fraction(c).limit_denominator(64)
        if simple != 1 and abs(float(simple) - c) <= 1e-2 * abs(c):
            times = f"{simple} of what it should be" if abs(simple) < 1 else f"{simple} times what it should be"
            found.append(Formula(str(simple), times, lambda w, i: float(simple), 1))
        numbers = {f"{c:.9g}": f"{_factor(c)} times what it should be"}
    else:
        numbers = {f"{c:.{digits}g}": f"{c:.{digits}g}" for digits in (1, 2, 3)} | {f"{c:.9g}": f"{c:.6g}"}
    # The number with all its digits is the only one that may have been read wrongly.
    for text, words in numbers.items():
        value = c if len(text) > 8 else float(text)
        found.append(Formula("c" if not family.is_factor else _factor(c), words, lambda w, i, value=value: value, 1))
    return found


def _factor(c: float) -> str:
    """A factor with six digits, or its distance from 1 where these say 1."""
    text = f"{c:.6g}"
    return text if text != "1" else f"(1 {'+' if c > 1 else '-'} {abs(c - 1):.2g})"


def _meanings() -> Iterator[tuple[str, Number, str]]:
    due = "of what it should be"
    yield "-1", lambda w, i: -1.0, "with its sign turned"
    yield "0", lambda w, i: 0.0, "left at zero"
    yield "1/B", lambda w, i: 1 / max(w.batch, 1), f"1/B {due}: a mean over the batch of B rows"
    yield "2/B", lambda w, i: 2 / max(w.batch, 1), f"2/B {due}: a mean over the batch of B rows, not halved"
    yield "B", lambda w, i: float(w.batch), "B times what it should be: the size of the batch"
    yield "1/B^2", lambda w, i: 1 / max(w.batch, 1) ** 2, f"1/B^2 {due}: a mean over the batch of B rows, taken twice"
    roles: Mapping[str, tuple[Number, str]] = {
        "n_n": (lambda w, i: float(w.width(w.depth)), "outputs"),
        "n_i": (lambda w, i: float(w.width(i)), "units of the layer"),
        "n_{i-1}": (lambda w, i: float(w.width(i - 1)), "inputs of the layer"),
        "n_{i+1}": (lambda w, i: float(w.width(min(i + 1, w.depth))), "units of the layer after"),
        "n": (lambda w, i: float(w.depth), "layers"),
    }
    for role, (n, what) in roles.items():
        yield f"1/{role}", _over(n, 0, 1.0), f"1/{role} {due}: a mean over the {what}"
        yield role, n, f"{role} times what it should be: the number of {what}"
        yield f"2/{role}", _over(n, 0, 2.0), f"2/{role} {due}: a mean over the {what}, not halved"
        yield f"1/(B {role})", _over(n, 1, 1.0), f"1/(B {role}) {due}: a mean over B rows of the {what}"
        yield f"2/(B {role})", _over(n, 1, 2.0), f"2/(B {role}) {due}: a mean over B rows of the {what}, not halved"
        yield f"{role}/B", _ratio(n), f"{role}/B {due}"
        yield f"1/sqrt({role})", _root(n), f"1/sqrt({role}) {due}"


def _over(n: Number, batches: int, times: float) -> Number:
    return lambda w, i: times / (n(w, i) * max(w.batch, 1) ** batches)


def _ratio(n: Number) -> Number:
    return lambda w, i: n(w, i) / max(w.batch, 1)


def _root(n: Number) -> Number:
    return lambda w, i: n(w, i) ** -0.5


MEANINGS: Mapping[str, tuple[Number, str]] = {name: (value, text) for name, value, text in _meanings()}
"""What a factor may stand for, by name: a function of the pass and the layer, and words."""
