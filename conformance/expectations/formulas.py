"""Formulas: what frameworks are known to compute instead of a step of the rule, with the rounding of their own formula.

A row of `FORMULAS` changes steps of the rule, as a mutant does. An expectation names it, with its parameters:

    formula = "softplus-threshold"
    parameters = { threshold = 20 }

A finding matches only if the answer lies within the tolerance of the formula's own value. So a formula needs its own
rounding error: what the framework's operations may give, and no more.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...reference import ACTIVATIONS, DTYPES, Array, base_of
from ...reference.steps import Changes, Made, Work, with_bias
from ...reference.value import Value, exact
from .flushing import flush_to_zero, widened
from .written import Bounded, evaluate, find_expression_problem, find_name_beside

Parameters = Mapping[str, Any]

KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "number": ("a number", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)),
    "format": (f"one of {', '.join(DTYPES)}", lambda v: v in tuple(DTYPES)),
    "expression": (
        'an expression of z and the activation\'s parameters, such as "z * tanh(log(1 + exp(z)))"',
        lambda v: not find_expression_problem(v),
    ),
}
"""The kinds of parameters: in words, and whether a value is of this kind."""


@dataclass(frozen=True)
class Formula:
    """One row. `states` completes "the framework computes ...". The formula changes layers with one of `activations`,
    or all layers if there are none. `parameters` gives the kind of each parameter, and `make` the changes from their
    values.
    """

    states: str
    make: Callable[[Parameters], Changes]
    activations: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    def applies_to(self, activation: str) -> bool:
        """Whether it may change a layer with this activation, whatever the values of its parameters."""
        return not self.activations or base_of(activation) in self.activations


def _softplus_threshold(parameters: Parameters) -> Changes:
    """f(z) = z and f'(z) = 1 where z > threshold. Nothing is rounded there."""
    threshold = float(parameters["threshold"])

    def beyond(w: Work, i: int, curved: Value, linear: Value) -> Value:
        z = w.z[i]
        chosen = linear.where(z.value > threshold, curved)
        # If z is uncertain, it may lie on the other side.
        near = np.abs(z.value - threshold) <= z.tolerance
        either: Array = np.where(near & (z.tolerance > 0), np.abs(linear.value - curved.value), 0.0)
        return widened(chosen, either) if either.any() else chosen

    def f(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return beyond(w, i, right(), with_bias(w, i, w.z[i], "post"))

    def slope(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return beyond(w, i, right(), exact(np.ones(w.z[i].shape), w.reading))

    return {"x": f, "d": slope}


def _hard_sigmoid_sixth(parameters: Parameters) -> Changes:
    """f' = 1/6 rounded to a format, between -3 and 3."""
    sixth = float(np.float64(1 / 6).astype(DTYPES[parameters["format"]].numpy))
    return {"d": lambda w, i, right: right() * (sixth * 6)}


def _hard_value_sixth(parameters: Parameters) -> Changes:
    """f times 6 and times 1/6 rounded to a format, everywhere: also where the clipped factor is 6."""
    sixth = float(np.float64(1 / 6).astype(DTYPES[parameters["format"]].numpy))

    def f(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return with_bias(w, i, w.z[i].f(w.name(i)) * (sixth * 6), "post")

    return {"x": f}


def _as_written(step: str, expression: str) -> Changes:
    """A step computed as an expression says. Its value replaces the rule's, and its rounding is added to the tolerance.

    The slope at a kink that the adapter declares stands: there an expression gives one of its sides.
    """

    def changed(w: Work, i: int, right: Callable[[], Value]) -> Value:
        z, due = w.z[i], right()
        row = ACTIVATIONS[w.name(i)]
        own = row.f(z.value) if step == "x" else row.derivative(z.value)
        found = evaluate(expression, Bounded(z.value, z.tolerance), row.parameters, w.format)
        at_kink = np.isin(z.value, [kink.point for kink in row.kinks]) if step == "d" else np.zeros(z.shape, bool)
        # Where the expression has no value, neither has the framework's answer, and no formula is asked.
        kept = at_kink | ~np.isfinite(found.value) | np.isnan(found.error)
        value = np.where(kept, due.value, due.value + (found.value - own))
        changed = replace(due, estimate=replace(due.estimate, value=value))
        return changed if w.reading is None else widened(changed, np.where(kept, 0.0, found.error))

    return {step: changed}


def _slope_from_expm1(parameters: Parameters) -> Changes:
    """f' = c (expm1(z) + 1) for c exp(z), where z < 0.

    expm1 near -1 has numbers that are u apart, so a faithful one is off by less than u there. The addition of 1 is then
    exact and keeps the error, and so does the factor c in front. The rest of the error is relative, as in exp(z).
    Measured on XLA: at most 1/2 u beyond 3 u exp(z).
    """

    def slope(w: Work, i: int, right: Callable[[], Value]) -> Value:
        z, d = w.z[i], right()
        if w.reading is None:
            return d
        steepest = float(ACTIVATIONS[w.name(i)].derivative(np.zeros(1))[0])  # c: the slope at 0, from the left
        return widened(d, np.where(z.value - z.tolerance < 0, w.reading.u * steepest, 0.0))

    return {"d": slope}


FORMULAS: Mapping[str, Formula] = {
    "softplus-threshold": Formula(
        "softplus as z, and its slope as 1, where z is above a threshold",
        _softplus_threshold,
        ("softplus",),
        {"threshold": "number"},
    ),
    "hard-sigmoid-sixth": Formula(
        "hard_sigmoid's slope as 1/6 rounded to a format",
        _hard_sigmoid_sixth,
        ("hard_sigmoid",),
        {"format": "format"},
    ),
    "hard-value-sixth": Formula(
        "hard_sigmoid and hard_swish with 1/6 rounded to a format",
        _hard_value_sixth,
        ("hard_sigmoid", "hard_swish"),
        {"format": "format"},
    ),
    "value-as-written": Formula(
        "f as the expression says, with the rounding of its operations",
        lambda parameters: _as_written("x", parameters["f"]),
        parameters={"f": "expression"},
    ),
    "slope-as-written": Formula(
        "f' as the expression says, with the rounding of its operations",
        lambda parameters: _as_written("d", parameters["slope"]),
        parameters={"slope": "expression"},
    ),
    "slope-from-expm1": Formula(
        "the slope of elu and its kin as expm1(z) + 1, which cancels", _slope_from_expm1, ("elu", "selu", "celu")
    ),
    "flush-to-zero": Formula(
        "0 for every result, and from every operand, below the normal range", lambda parameters: flush_to_zero()
    ),
}


def find_problem(name: str, parameters: Parameters, takes: Callable[[str], bool]) -> str:
    """What is wrong with a formula and its parameters in an entry whose activations `takes` accepts, and what to write;
    empty if nothing is.
    """
    if name not in FORMULAS:
        return f"formula {name!r} is unknown; known are {', '.join(FORMULAS)}"
    row = FORMULAS[name]
    due = ", ".join(row.parameters) or "none"
    for key, value in parameters.items():
        if key not in row.parameters:
            return f"formula {name} has no parameter {key!r}; it has {due}"
        kind, is_valid = KINDS[row.parameters[key]]
        if not is_valid(value):
            if row.parameters[key] == "expression":
                return f"parameter {key} of formula {name} is wrong: {find_expression_problem(value)}; give {kind}"
            return f"parameter {key} = {value!r} of formula {name} is wrong; give {kind}"
        if row.parameters[key] == "expression" and (problem := _find_unknown_name(value, takes)):
            return f"parameter {key} of formula {name} is wrong: {problem}"
    if missing := [key for key in row.parameters if key not in parameters]:
        return f"formula {name} needs parameters: {', '.join(missing)}; write parameters = {{ {missing[0]} = ... }}"
    if row.activations and not any(takes(activation) for activation in row.activations):
        return f"formula {name} is about {', '.join(row.activations)}; name one of them as activation, or none"
    return ""


def _find_unknown_name(expression: str, takes: Callable[[str], bool]) -> str:
    """What is wrong with the names in an expression, for the activations of an entry; empty if nothing is."""
    for activation, row in ACTIVATIONS.items():
        if takes(activation) and (found := find_name_beside(expression, ("z", *row.parameters))):
            name, at = found
            has = ", ".join(("z", *row.parameters))
            return f"{name}, at character {at}, is no name that {activation} has; it has {has}: name the activation"
    return ""


def changes_of(name: str, parameters: Parameters, takes: Callable[[str], bool]) -> Made:
    """The changes of a formula, made in the layers whose activation `takes` accepts."""
    row = FORMULAS[name]

    def is_made(w: Work, i: int) -> bool:
        return row.applies_to(w.name(i)) and takes(w.name(i))

    made: Changes = {
        step: (lambda w, i, right, change=change: change(w, i, right) if is_made(w, i) else right())
        for step, change in row.make(parameters).items()
    }
    return made, lambda i, n: True
