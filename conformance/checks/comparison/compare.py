"""Comparison of observations with the rule, entry by entry, in units of the derived tolerance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import stack_arrays
from ....reference import Array, Structure
from ....reference.arithmetic import Arithmetic
from ....reference.propagation import Quantity, Shown, propagate
from ....reference.rounding import Conventions, Estimate, Reading, bound, deviation, without_nan
from ....reference.steps import Made
from ...cases.regimes import REGIMES, Draw
from ..verdict import Check, Grade
from .norms import Inputs, Norms, measure_norms, ratio_of_norms
from .tails import sharpen

_CHECK_OF: dict[str, Check] = {
    "z": "forward",
    "x": "forward",
    "E": "error",
    "k": "k_terms",
    "W": "weight_gradients",
    "b": "bias_gradients",
}
CONCLUSIVE_POWER = 10.0
"""Below this power the tolerance is more than a tenth of the tensor: the case could not have shown a mistake."""


Measure = Callable[[Structure, Draw, Mapping[str, Array], Quantity], Array | None]
"""Takes a structure, D draws as a stack, what was observed by name, and a quantity of the rule with its error. Returns
a row of sums for each draw, (D, ...), or None.
"""


@dataclass(frozen=True)
class Comparison:
    """One quantity of a stack of D observations, compared: arrays of shape (D,). `at` is a flat index into one tensor.

    `worst` is the largest error in units of its tolerance; `within_bound` says whether every error lies within the
    worst-case bound. `slack` is the absolute error of f (for an x) or f' (for a k) that would explain the entries above
    their tolerance if all else were right; it is infinite for other quantities. `norms` is the normwise reading; None
    if no entry exceeds its tolerance, since then the norm of the error does not exceed that of the tolerance either.
    `unbounded` says whether a tolerance is infinite, so that the rule says nothing of that entry.
    `jump` is what a kink allows at that entry beside rounding, to either side of `expected`; None if no kink is near.
    `sums` holds what `compare` was asked to measure, a row for each observation. `formulas` holds, for each
    observation, the ids of the formulas that explain a departure (formulas.py); it is empty if none was tried.
    """

    check: Check
    quantity: str
    symbol: str
    layer: int
    shape: tuple[int, ...]
    worst: Array
    at: Array
    power: Array
    observed: Array
    expected: Array
    tolerance: Array
    within_bound: Array
    slack: Array
    unbounded: Array
    norms: Norms | None = None
    jump: Array | None = None
    sums: Array | None = None
    formulas: tuple[tuple[str, ...], ...] = ()

    def grade(self, i: int) -> Grade:
        """The grade of observation `i`."""
        if self.worst[i] > 1:
            return "inaccurate" if self.within_bound[i] else "wrong"
        return "pass" if self.power[i] >= CONCLUSIVE_POWER else "inconclusive"


def compare(
    structure: Structure,
    stack: Draw,
    observed: Sequence[Observation],
    regime: str = "normal",
    conventions: Conventions | None = None,
    arithmetic: Arithmetic | None = None,
    changes: Sequence[Made] = (),
    measure: Measure | None = None,
) -> Iterator[Comparison]:
    """Compare every quantity of the observations with the rule, in the order of the computation.

    If z, x and k are shown, each step is compared from the framework's own previous value. `stack` and `observed` have
    one entry a case, and all observations show the same quantities. `conventions` are the slopes that the framework
    must have exactly at kinks, and `arithmetic` is what it declares about its products in this dtype. `changes` are
    steps of another rule to compare with. `measure` computes the sums of a comparison.

    In a regime where nothing rounds, that is true of the rule's own numbers. Those of another rule round, and so does
    what a framework computes from a value that departs, which may be expected.
    """
    views = stack_arrays(observed)

    def tolerances(which: Reading) -> list[Array]:
        return [
            tolerated(one.estimate, which) for one in steps_of(structure, stack, views, which, conventions, changes)
        ]

    reading, worst_case = readings(structure, regime, arithmetic, rounds=bool(changes))
    rounding = readings(structure, regime, arithmetic, rounds=True)
    most = cache(lambda: tolerances(worst_case))
    rounded, most_rounded = cache(lambda: tolerances(rounding[0])), cache(lambda: tolerances(rounding[1]))
    has_departed = np.zeros(len(stack.x), bool)
    computed = {("x", 0): stack.x.astype(np.float64)}
    for number, step in enumerate(steps_of(structure, stack, views, reading, conventions, changes)):
        values = views.get(step.name)
        if step.symbol in "zx":
            computed[step.symbol, step.layer] = step.estimate.value if values is None else values.astype(np.float64)
        targets = [] if values is None else [(step.name, values)]
        sums = None if measure is None or values is None else measure(structure, stack, views, step)
        if step.symbol == "x" and step.layer == structure.network.depth:
            # The outputs are the last x, shown or not, and both must be right.
            targets.append(("outputs", views["outputs"]))
        for name, value in targets:
            seen, usual = value.astype(np.float64), tolerated(step.estimate, reading)
            behind = (reading.u == 0) & has_departed.reshape(-1, *(1,) * (seen.ndim - 1))
            if behind.any():
                usual = np.where(behind, rounded()[number], usual)
            tolerance = usual
            if step.sharp is not None and f"z_{step.layer}" in views:
                activation = structure.network.activations[step.layer - 1]
                tolerance = sharpen(step, activation, computed["z", step.layer], seen, usual, reading)
            compared = _compared(structure, step, name, seen, tolerance, usual)
            if (compared.worst > 1).any():
                # The second reading costs as much again, and only a departure needs it and the norms.
                limit = np.where(behind, most_rounded()[number], most()[number]) if behind.any() else most()[number]
                within = departures(structure.format.max, step.estimate.value, seen, limit) <= 1
                ratio = departures(structure.format.max, step.estimate.value, seen, tolerance)
                inputs = Inputs(computed.get(("z", step.layer)), computed.get(("x", step.layer - 1)))
                norms = measure_norms(step, seen, ratio, reading, inputs)
                within_bound = within.reshape(len(within), -1).all(1)
                compared = replace(compared, within_bound=within_bound, norms=norms)
                has_departed = has_departed | (compared.worst > 1)
            yield compared if sums is None or name == "outputs" else replace(compared, sums=sums)


def readings(
    structure: Structure, regime: str, arithmetic: Arithmetic | None = None, rounds: bool = False
) -> tuple[Reading, Reading]:
    """The two readings of errors in a regime: as standard deviations, and as worst-case bounds. `arithmetic` is what
    the framework declares about its products in the structure's dtype. With `rounds`, the numbers are not those of the
    regime, and round where those do not.
    """
    known = REGIMES[regime]
    given = structure.format, known.rounding == "gradual", known.selects, arithmetic
    both = deviation(*given), bound(*given)
    if rounds or known.rounding != "exact" or not (arithmetic is None or arithmetic.is_usual):
        return both
    # Without any error nothing comes within reach of a kink: there is one right slope everywhere.
    return both[0].exact, both[1].exact


def tolerated(estimate: Estimate, reading: Reading) -> Array:
    """The largest errors that are no findings. For exact numbers this is half a unit in the last place, which is less
    than the distance of any two numbers of the format.
    """
    if reading.u > 0:
        return estimate.tolerance(reading)
    own = np.maximum(reading.format.u * np.abs(estimate.value), reading.format.subnormal)
    return own / 2 if estimate.jump is None else own / 2 + estimate.jump


def steps_of(
    structure: Structure,
    stack: Draw,
    views: dict[str, Array],
    reading: Reading,
    conventions: Conventions | None = None,
    changes: Sequence[Made] = (),
) -> Iterator[Quantity]:
    """Every quantity of the rule with its error, each step from the shown values of the previous one. `conventions` and
    `changes` are as in `compare`.
    """
    wide = stack.astype(np.dtype(np.float64))
    depth = structure.network.depth

    def shown(symbol: str) -> tuple[Array | None, ...] | None:
        return tuple(views.get(f"{symbol}_{i}") for i in range(1, depth + 1))

    # The outputs are always shown, and they are the last x: the residual starts from them.
    xs = shown("x") or ()
    given = Shown(z=shown("z"), x=(*xs[:-1], views["outputs"]), k=shown("k"))
    with np.errstate(over="ignore", invalid="ignore"):
        # A framework may show infinities; they are compared like other values.
        yield from propagate(structure.network, wide.parameters, wide.x, wide.y, reading, given, conventions, changes)


def _compared(
    structure: Structure, step: Quantity, name: str, observed: Array, tolerance: Array, usual: Array
) -> Comparison:
    """`usual` is the tolerance that the power is measured by."""
    value = step.estimate.value
    ratio = departures(structure.format.max, value, observed, tolerance)
    cases = ratio.shape[0]
    flat, shape, jump = ratio.reshape(cases, -1), observed.shape[1:], None
    if flat.shape[1] == 0:
        zeros = np.zeros(cases)
        worst, at, power, pick = zeros, zeros.astype(int), np.full(cases, np.inf), [zeros, zeros, zeros]
    else:
        at, rows = flat.argmax(1), np.arange(cases)
        pick = [array.reshape(cases, -1)[rows, at] for array in (observed, value, tolerance)]
        worst, power = flat[rows, at], compute_power(value, usual, step.estimate.jump)
        if step.estimate.jump is not None:
            jump = step.estimate.jump.reshape(cases, -1)[rows, at]
    return Comparison(
        check=_CHECK_OF[step.symbol],
        quantity=name,
        symbol=step.symbol,
        layer=step.layer,
        shape=shape,
        worst=worst,
        at=at,
        power=power,
        observed=pick[0],
        expected=pick[1],
        tolerance=pick[2],
        within_bound=worst <= 1,
        slack=_slack(step, np.abs(observed - value), ratio),
        unbounded=np.any((np.isfinite(value) & np.isinf(tolerance)).reshape(cases, -1), axis=1),
        jump=jump,
    )


def _slack(step: Quantity, error: Array, ratio: Array) -> Array:
    departs, cases = ratio > 1, ratio.shape[0]
    if not departs.any():
        return np.zeros(cases)
    if step.symbol not in "xk":
        return np.where(departs.reshape(cases, -1).any(1), np.inf, 0.0)
    times = np.ones(error.shape) if step.side is None else np.abs(step.side)
    jump = 0.0 if step.estimate.jump is None else step.estimate.jump
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        off = np.where(departs, (error - jump) / times, 0.0)
    return np.where(np.isnan(off), np.inf, off).reshape(cases, -1).max(1, initial=0.0)


def departures(most: float, value: Array, observed: Array, tolerance: Array) -> Array:
    """The error of each entry in units of its tolerance: 0 if any value is right, infinite for a NaN. `most` is the
    largest finite number of the format.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.abs(observed - value)
        ratio = np.where(error <= 0, 0.0, error / tolerance)
        # If the value itself leaves the format, an infinity of its sign is right.
        overflow = (np.abs(value) + tolerance >= most) & np.isinf(observed) & (np.sign(observed) == np.sign(value))
        return np.where(overflow | ~np.isfinite(value), 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def compute_power(value: Array, tolerance: Array, jump: Array | None) -> Array:
    """The norm of each tensor divided by the norm of its tolerance; infinite if the tolerance is zero.

    Entries at a kink, where more than one answer is right, are left out unless there are no others.
    """
    free = ~np.isfinite(value)
    # An infinite tolerance is left in: where it holds, nothing is checked.
    v, t = (np.where(free, 0.0, a).reshape(a.shape[0], -1) for a in (np.abs(value), without_nan(tolerance)))
    if jump is not None:
        free = jump.reshape(v.shape) > 0
        free &= ~free.all(1, keepdims=True)
        v, t = np.where(free, 0.0, v), np.where(free, 0.0, t)
    none = ~t.any(1)
    return np.where(none, np.inf, ratio_of_norms(v, t))
