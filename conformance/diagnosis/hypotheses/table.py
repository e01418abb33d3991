"""The known mistakes that failing answers are compared with, in stages: the simplest first."""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

import numpy as np

from ....reference import ACTIVATIONS, Network
from ....reference.steps import Change, Changes, Made, with_bias
from ....reference.value import Value
from ...mutants import MISTAKES, Mutant
from ..hypothesis import EVERYWHERE, PLACES, STEP_OF, Hypothesis, Takes, everywhere, only_where
from ..question import Question
from .activations import AT_ZERO, of_one_activation
from .families import FAMILIES, Family, Formula, formulas, least_squares
from .formats import FORMATS, of_a_twin_in_another_dtype, of_parts
from .losses import LOSSES, of_clipped_gradients, of_clipped_k, of_each_norm, of_huber, of_norm
from .machinery import STALE, of_a_twin, of_other_inputs

_AT_A_PLACE = {"stopped-after-last": "no gradient passed back to"}
"""What completes "the rule with ...", before the place, where a mistake's own words do not fit one place only."""


# The mutants of the table: as they are, in some gradients, in some layers, and two at once.


def known() -> tuple[Hypothesis, ...]:
    """Each mutant of the table that changes the rule."""
    return tuple(Hypothesis(m.name, m.mistake, ((m.changes, m.takes),)) for m in MISTAKES if m.changes)


def of_one_gradient() -> Iterator[Hypothesis]:
    """Each mistake that changes the gradients of weights and biases equally, made in one of the two only."""
    for m in MISTAKES:
        for step, kind in (("W", "weights"), ("b", "biases")) if {"W", "b"} <= set(m.changes) else ():
            yield Hypothesis(
                f"{m.name}@{kind}", f"{m.mistake}, of {kind} alone", (({step: m.changes[step]}, m.takes),),
                is_variant=True,
            )  # fmt: skip


def in_some_layers(network: Network, activation: str, more: tuple[Hypothesis, ...] = ()) -> Iterator[Hypothesis]:
    """Each mistake of every layer, and of `more`, made in some layers only: at a place, or where the activation is the
    one in whose layer the failure begins.
    """
    rows = [(m.name, m.mistake, m.changes) for m in MISTAKES if m.changes and m.place == "every layer"]
    rows += [(h.name, h.mistake, changes) for h in more for changes, takes in h.mistakes if takes is EVERYWHERE]
    for name, mistake, changes in rows:
        if {"E", "r"} & set(changes):
            continue
        if network.depth > 1:
            for place, takes in PLACES.items():
                where = f"{_AT_A_PLACE[name]} {place}" if name in _AT_A_PLACE else f"{mistake}, in {place} alone"
                yield Hypothesis(f"{name}@{place.replace(' ', '-')}", where, ((changes, takes),), is_variant=True)
        if set(network.activations) != {activation}:
            where = f"{mistake}, where the activation is {activation}"
            restricted = (only_where(changes, activation), EVERYWHERE)
            yield Hypothesis(f"{name}@{activation}", where, (restricted,), is_variant=True)


def of_other_activations(own: str) -> Iterator[Hypothesis]:
    """Another activation's f or f' where one is due."""
    for name in ACTIVATIONS:
        if name != own:
            slope: Changes = only_where({"d": _slope_of(name)}, own)
            both: Changes = only_where({"x": _f_of(name), "d": _slope_of(name)}, own)
            front: Changes = only_where({"x": _f_of(name)}, own)
            yield everywhere(f"slope-of-other@{name}-for-{own}", f"{name}'s f' for {own}'s", slope)
            yield everywhere(
                f"other-activation@{name}-for-{own}", f"{name} in place of {own}, in both directions", both
            )
            yield everywhere(f"f-of-other@{name}-for-{own}", f"{name}'s f for {own}'s", front)


def _slope_of(name: str) -> Change:
    return lambda w, i, right: w.z[i].slope(name)


def _f_of(name: str) -> Change:
    return lambda w, i, right: with_bias(w, i, w.z[i].f(name), "post")


def pairs() -> Iterator[Hypothesis]:
    """Two of the most common mistakes at once."""
    for a, b in combinations([m for m in MISTAKES if m.is_common], 2):
        yield Hypothesis(f"{a.name} + {b.name}", f"{a.mistake}, and {b.mistake}", (_made(a), _made(b)), is_variant=True)


def _made(mutant: Mutant) -> Made:
    return mutant.changes, mutant.takes


# Stages.

PLAIN: tuple[Hypothesis, ...] = (*known(), *STALE, *LOSSES, *AT_ZERO, *FORMATS)
"""The mistakes that have one form for all networks."""

_SYMBOLS = {**STEP_OF, "k": "drsk"}
_RANKS = {step: rank for rank, steps in enumerate(("zx", "E", "drsk", "W", "b")) for step in steps}
"""The order in which the steps of the rule are seen in an answer."""


def stages(question: Question) -> Iterator[Iterable[list[Hypothesis]]]:
    """The hypotheses about a question, in stages. Each stage is a series of lists; what comes in one list competes."""
    possible = steps_before(question)

    def kept(some: Iterable[Hypothesis]) -> list[list[Hypothesis]]:
        return [[one for one in some if one.steps & possible]]

    network, own = question.structure.network, question.activation
    others = of_other_inputs(question.earlier is not None, question.regime)
    yield [
        *kept((*PLAIN, *of_one_gradient(), *of_a_twin(network), *others)),
        *([one] for one in (*of_parts(), *of_a_twin_in_another_dtype()) if one.steps & possible),
    ]
    yield with_limits(question)
    yield fitted(question)
    yield kept((*in_some_layers(network, own, STALE), *of_other_activations(own), *of_one_activation(own)))
    yield kept(pairs())


def steps_before(question: Question) -> set[str]:
    """The steps in which a mistake must be made to be seen first in the quantity that departs first.

    If x, z and k are shown, these are the steps between it and the quantity shown before it. If not, they are all steps
    whose own results are hidden.
    """
    symbol = question.first.partition("_")[0]
    own = set(_SYMBOLS[symbol])
    shown = {name.partition("_")[0] for name in question.observed}
    if symbol == "outputs" or symbol == "x":
        return own | ({"z"} if "z" not in shown else set())
    if symbol in ("dE/dW", "dE/db") and "k" not in shown:
        return own | set("drsk") | ({"z", "x"} if "x" not in shown else set())
    if symbol == "k" and "x" not in shown:
        return own | {"z", "x"}
    return own


def first_rank(hypothesis: Hypothesis) -> int:
    """The place, in the order of the computation, of the first step that a hypothesis changes."""
    return min(_RANKS[step] for step in hypothesis.steps)


def rank_of(question: Question) -> int:
    """The place of the quantity that departs first."""
    return _RANKS[_SYMBOLS[question.first.partition("_")[0]][0]]


# Numbers that are read from the answers.


_MISFIT = 4.0
"""How far, in tolerances, the best number may leave the quantity from which it is read, to be tried at all."""


def fitted(question: Question) -> Iterator[list[Hypothesis]]:
    """For each family and place, the mistakes whose number agrees with the first call of a question to a hundredth, the
    simplest first. Those with a meaning come together; then the number itself with few digits and with all.
    """
    one = question.part([0])
    depth, layer, possible = question.structure.network.depth, question.layer, steps_before(question)
    for family in FAMILIES:
        read = _read(family, one)
        if read is None or family.step not in possible:
            continue
        for place, takes in {"": EVERYWHERE, **(PLACES if family.has_places and depth > 1 else {})}.items():
            if place and not takes(layer, depth):
                continue
            found, misfit = _number(one, family, read, takes)
            if np.isfinite(found) and misfit <= _MISFIT and not (family.is_factor and f"{found:.9g}" == "1"):
                yield [
                    family.hypothesis(formula, place, takes)
                    for formula in formulas(found, family, one.right, layer if family.has_places else depth)
                ]


def _read(family: Family, question: Question) -> str | None:
    symbols = {name.partition("_")[0]: name for name in (question.first,)}
    return next((symbols[symbol] for symbol in family.reads if symbol in symbols), None)


def _number(question: Question, family: Family, read: str, takes: Takes) -> tuple[float, float]:
    def given(c: float) -> Value:
        hypothesis = family.hypothesis(Formula("", "", lambda w, i: c), "", takes)
        return question.compute(hypothesis, True).given[read]

    with np.errstate(all="ignore"):
        return least_squares(given(0.0), given(1.0), question.observed[read])


def with_limits(question: Question) -> Iterator[list[Hypothesis]]:
    """Limits that are read from the answers: of a Huber loss, and of clipping by value and by norm. A limit is the
    largest number, or norm, that is seen; it counts as fitted.
    """
    gradients = [a for name, a in question.observed.items() if name.startswith("dE/dW")]
    both = [a for name, a in question.observed.items() if name.startswith("dE/d")]
    calls = len(question.stack.x)
    with np.errstate(all="ignore"):
        if question.first.startswith("k_") and question.layer == question.structure.network.depth:
            d, k = question.right.d[question.layer].value, question.observed[question.first]
            ratio = np.abs(k / d)[np.abs(d) > 1e-3]
            yield from _limited(float(np.max(ratio, initial=0.0)), of_huber)
        if question.first.startswith("k_"):
            yield from _limited(float(np.abs(question.observed[question.first]).max(initial=0.0)), of_clipped_k)
        if question.first.startswith("dE/d"):
            largest = max(float(np.abs(a).max(initial=0.0)) for a in gradients)
            yield from _limited(largest, of_clipped_gradients)
            norms = np.sqrt(sum(np.square(a).reshape(calls, -1).sum(1) for a in both))
            yield from _limited(float(np.max(norms, initial=0.0)), of_norm)
            own = question.observed[question.first].reshape(calls, -1)
            yield from _limited(float(np.sqrt(np.square(own).sum(1)).max(initial=0.0)), of_each_norm)


def _limited(limit: float, rows: Callable[[float], Iterator[Hypothesis]]) -> Iterator[list[Hypothesis]]:
    if 0 < limit < np.inf:
        numbers = dict.fromkeys(float(f"{limit:.{digits}g}") for digits in (1, 2, 3, 6))
        yield [one for c in (*numbers, limit) for one in rows(c)]
