"""The mutants of the table as hypotheses: as they are, in some gradients, in some layers, and two at once."""

from collections.abc import Iterator
from itertools import combinations

from ....reference import ACTIVATIONS, Network
from ....reference.steps import Change, Changes, Made, with_bias
from ...mutants import MISTAKES, Mutant
from ..hypothesis import EVERYWHERE, PLACES, Hypothesis, everywhere, only_where


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
                where = f"{mistake}, in {place} alone"
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
