"""Hypotheses: every known mistake, to be compared with failing answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from ...reference import ACTIVATIONS, Array, DType, Network, Structure
from ...reference.steps import Change, Changes, Made, Work, with_bias
from ...reference.value import Value
from ..cases.regimes import Draw
from ..mutants import MISTAKES, Mutant

Takes = Callable[[int, int], bool]


@dataclass(frozen=True)
class Earlier:
    """The numbers of earlier calls: the one just before, and the program's first. NaN where there was none."""

    call: Draw
    first: Draw


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """The rule with some steps changed, computed from other numbers (`draw`), or computed in a narrower format
    (`format`).

    `mistake` completes "the rule with ...". `name` is the same in any layer, so that two cases can be recognised as
    having one cause.
    """

    name: str
    mistake: str
    mistakes: tuple[Made, ...] = ()
    draw: Callable[[Draw, Earlier | None], Draw] | None = None
    format: DType | None = None


def known() -> tuple[Hypothesis, ...]:
    """Each mutant of the table that changes the rule."""
    return tuple(Hypothesis(m.name, m.mistake, ((m.changes, m.takes),)) for m in MISTAKES if m.changes)


def of_one_gradient() -> Iterator[Hypothesis]:
    """Each mistake that changes the gradients of weights and biases alike, made in one of the two only."""
    for m in MISTAKES:
        for step, kind in (("W", "weights"), ("b", "biases")) if {"W", "b"} <= set(m.changes) else ():
            yield Hypothesis(f"{m.name}@{kind}", f"{m.mistake}, of {kind} alone", (({step: m.changes[step]}, m.takes),))


def _only(layer: int) -> Takes:
    return lambda i, n: i == layer


def in_one_layer(network: Network, layer: int) -> Iterator[Hypothesis]:
    """Each mistake of every layer, made in one layer only; and another activation's f or f' in that layer."""
    where = f" in layer {layer} alone"
    if network.depth > 1:
        for m in MISTAKES:
            if m.changes and m.place == "every layer" and not {"E", "r"} & set(m.changes):
                yield Hypothesis(f"{m.name}@one-layer", m.mistake + where, ((m.changes, _only(layer)),))
    own = network.activations[layer - 1]

    def same(i: int, n: int) -> bool:
        return network.activations[i - 1] == own

    for name in ACTIVATIONS:
        if name != own:
            backward: Changes = {"d": _slope_of(name)}
            both: Changes = {"x": _f_of(name), "d": _slope_of(name)}
            yield Hypothesis("slope-of-other", f"{name}'s f' for {own}'s", ((backward, same),))
            yield Hypothesis("other-activation", f"{name} in place of {own}, in both directions", ((both, same),))


def of_a_twin(network: Network) -> Iterator[Hypothesis]:
    """The program of another structure of the same shape: with the activations in another order, or with another bias
    placement.
    """
    names = network.activations
    for shift in range(1, len(names)):
        turned = names[shift:] + names[:shift]
        if turned != names:
            changes: Changes = {
                "x": lambda w, i, right, turned=turned: _f_of(turned[i - 1])(w, i, right),
                "d": lambda w, i, right, turned=turned: w.z[i].slope(turned[i - 1]),
            }
            yield Hypothesis(
                "stale-program", "the activations of another structure of this shape: a program reused",
                ((changes, lambda i, n: True),),
            )  # fmt: skip
    if network.bias != "none":
        for z, x, b in ((False, False, "none"), (True, False, "pre"), (False, True, "post")):
            if b != network.bias:
                yield Hypothesis(
                    "stale-bias", f"the bias placement {b!r} where {network.bias!r} is due: a program reused",
                    ((_with_bias(z, x), lambda i, n: True),),
                )  # fmt: skip


def of_other_inputs(has_earlier: bool, odd: Callable[[Draw], Draw] | None) -> Iterator[Hypothesis]:
    """The right answer to other numbers: those of an earlier call, or what arrays hold if their strides are ignored
    (`odd` makes these).
    """
    if has_earlier:
        stale = "the numbers of the call before: an answer kept by too little"
        yield Hypothesis("stale-answer", stale, draw=lambda stack, earlier: earlier.call if earlier else stack)
        constant = "the weights of the program's first call, compiled in"
        yield Hypothesis("constant-weights", constant, draw=_with_first_weights)
    if odd is not None:
        unstrided = "arrays read in the order of memory, whatever their strides"
        yield Hypothesis("strides-ignored", unstrided, draw=lambda stack, earlier: odd(stack))


def _with_first_weights(stack: Draw, earlier: Earlier | None) -> Draw:
    weights = (earlier.first if earlier else stack).parameters.weights
    return replace(stack, parameters=replace(stack.parameters, weights=weights))


def _with_bias(inside: bool, outside: bool) -> Changes:
    def z(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = w.x[i - 1] @ w.weights[i]
        return v + w.biases[i].like(v) if inside else v

    def x(w: Work, i: int, right: Callable[[], Value]) -> Value:
        v = w.z[i].f(w.name(i))
        return v + w.biases[i].like(v) if outside else v

    def b(w: Work, i: int, right: Callable[[], Value]) -> Value:
        if not inside and not outside:
            return right() * 0.0
        return (w.k[i] if inside else w.s[i]).rows()

    return {"z": z, "x": x, "b": b}


def _slope_of(name: str) -> Change:
    return lambda w, i, right: w.z[i].slope(name)


def _f_of(name: str) -> Change:
    return lambda w, i, right: with_bias(w, i, w.z[i].f(name), "post")


def pairs() -> Iterator[Hypothesis]:
    """Two of the most common mistakes at once."""
    for a, b in combinations([m for m in MISTAKES if m.is_common], 2):
        yield Hypothesis(f"{a.name} + {b.name}", f"{a.mistake}, and {b.mistake}", (_made(a), _made(b)))


def _made(mutant: Mutant) -> Made:
    return mutant.changes, mutant.takes


@dataclass(frozen=True)
class Family:
    """Mistakes of one kind that differ in a number c. The first quantity that they change is a linear function of c.

    `text` completes "the rule with ...", given c as text. `is_factor` says that c is 1 if nothing is wrong.
    """

    name: str
    text: str
    changes: Callable[[float], Changes]
    reads: str
    is_factor: bool = True
    everywhere: bool = True
    """Whether it is made in every layer, not in one only."""

    def made(self, c: float, layer: int | None) -> Made:
        """The mistake with this c, in one layer or in all."""
        return self.changes(c), (lambda i, n: True) if layer is None else _only(layer)


def _times(step: str) -> Callable[[float], Changes]:
    return lambda c: {step: lambda w, i, right: right() * c}


def _plus_weights(c: float) -> Changes:
    return {"W": lambda w, i, right: right() + w.weights[i] * c}


def _plus_before(c: float) -> Changes:
    def change(gradients: str) -> Change:
        return lambda w, i, right: right() if w.before is None else right() + getattr(w.before, gradients)[i] * c

    return {"W": change("gw"), "b": change("gb")}


FAMILIES: tuple[Family, ...] = (
    Family("scaled-residual", "the residual {}", _times("r"), "k"),
    Family("scaled-k", "k_{layer} {}", _times("k"), "k", everywhere=False),
    Family("scaled-gradient", "dE/dW {}", _times("W"), "dE/dW"),
    Family("scaled-gradient@one-layer", "dE/dW_{layer} {}", _times("W"), "dE/dW", everywhere=False),
    Family("scaled-bias-gradient", "dE/db {}", _times("b"), "dE/db"),
    Family("scaled-bias-gradient@one-layer", "dE/db_{layer} {}", _times("b"), "dE/db", everywhere=False),
    Family("scaled-error", "E {}", _times("E"), "E"),
    Family("scaled-pre-activation", "z_{layer} {}", _times("z"), "z", everywhere=False),
    Family("decay", "{} W added to dE/dW", _plus_weights, "dE/dW", is_factor=False),
    Family("carried-over", "{} times the gradients of the call before added", _plus_before, "dE/dW", is_factor=False),
)


def least_squares(at_0: Value, at_1: Value, observed: Array) -> float:
    """The c for which at_0 + c (at_1 - at_0) is nearest to what was observed, with each entry weighted by its
    tolerance. NaN if c has no effect.
    """
    moved, off = at_1.value - at_0.value, observed.reshape(at_0.shape) - at_0.value
    tolerance = np.maximum(at_0.tolerance, at_1.tolerance)
    least = np.min(tolerance, where=tolerance > 0, initial=np.inf)
    weight = 1 / np.where(tolerance > 0, tolerance, least if np.isfinite(least) else 1.0)
    moved, off = moved * weight, off * weight
    size = float(np.square(moved).sum())
    return float((moved * off).sum() / size) if size else float("nan")


@dataclass(frozen=True)
class Number:
    """What a factor may stand for: its value, a name that is the same for other sizes, and its text."""

    value: float
    name: str
    text: str


def rounded(c: float) -> Iterator[list[Number]]:
    """A number with one, two and three digits, as people write it, and then with all."""
    for digits in (1, 2, 3):
        yield [Number(float(f"{c:.{digits}g}"), "c", f"{c:.{digits}g}")]
    yield [Number(c, "c", f"{c:.6g}")]


def factors(c: float, structure: Structure, layer: int) -> Iterator[list[Number]]:
    """What a factor of about c in a layer may stand for, the nearest first; equal numbers come together."""
    due, widths, batch = "of what it should be", structure.network.widths, structure.batch
    found = [Number(-1.0, "-1", "with its sign turned"), Number(0.0, "0", "left at zero")]
    if batch:
        found += [
            Number(1 / batch, "1/B", f"1/{batch} {due}: a mean over the batch of {batch}"),
            Number(2 / batch, "2/B", f"2/{batch} {due}: a mean over the batch of {batch}, not halved"),
            Number(float(batch), "B", f"{batch} times what it should be, the size of the batch"),
            Number(1 / batch**2, "1/B^2", f"1/{batch**2} {due}: a mean over the batch of {batch}, taken twice"),
        ]
    roles = {"n_n": (widths[-1], "outputs"), "n_i": (widths[layer], "units"), "n_{i-1}": (widths[layer - 1], "inputs")}
    if layer < structure.network.depth:
        roles["n_{i+1}"] = widths[layer + 1], "units of the layer after"
    for role, (n, what) in roles.items():
        found.append(Number(1 / n, f"1/{role}", f"1/{n} {due}: a mean over {n} {what}"))
        found.append(Number(float(n), role, f"{n} times what it should be, the number of {what}"))
        if batch:
            over = f"a mean over {batch} rows of {n} {what}"
            found.append(Number(1 / (n * batch), f"1/(B {role})", f"1/{n * batch} {due}: {over}"))
            found.append(Number(2 / (n * batch), f"2/(B {role})", f"2/{n * batch} {due}: {over}, not halved"))
    simple = Fraction(c).limit_denominator(64)
    times = f"{simple} {due}" if abs(simple) < 1 else f"{simple} times what it should be"
    found.append(Number(float(simple), str(simple), times))
    by_value: dict[float, list[Number]] = {}
    for one in sorted(found, key=lambda one: abs(one.value - c)):
        by_value.setdefault(one.value, []).append(one)
    # A factor of 1 is no mistake, and one that prints as 1 says nothing.
    yield from [some for value, some in by_value.items() if value != 1][:3]
    if f"{c:.6g}" != "1":
        yield [Number(c, "c", f"{c:.6g} times what it should be")]
