"""The k-term rule with its rounding errors: the source of every tolerance.

For example, `product(a, b, reading)` takes two matrices with errors and returns their product with its error. Each step
of the rule has such a function here; `propagation` runs all of them in order.

One propagation serves both readings (`Reading`). With p = 1, errors are worst-case bounds and add linearly (running
error analysis; Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3). With p = 2, they are standard
deviations of independent errors, and their squares add (Higham and Mary 2019; Ipsen and Zhou, arXiv 1906.10465). Both
are the p-th root of a sum of p-th powers.

`Estimate.jump` holds what is not roundoff. If a pre-activation lies within its own error of a point where f' jumps,
every slope between the least and the greatest value of f' there is right (Clarke's subdifferential). The value is then
the middle of that interval and the jump half its length. Jumps always add linearly. If a pre-activation lies exactly
at the point, `Conventions` may fix one slope.

All computation is in float64, whatever format is under test.
"""

from collections.abc import Iterator, Mapping
from functools import reduce

import numpy as np

from .activations import Activation
from .arithmetic import Cut
from .error_model import SIGMAS, Estimate, Reading, bound, deviation, without_nan
from .network import Array

__all__ = [
    "SIGMAS",
    "Conventions",
    "Estimate",
    "Reading",
    "activation",
    "add_bias",
    "as_shown",
    "batch_sum",
    "bound",
    "derivative",
    "deviation",
    "hadamard",
    "product",
    "residual",
    "squared_error",
    "without_nan",
]

Conventions = Mapping[str, Mapping[float, float]]
"""The slope required exactly at a kink, by activation name and kink, such as {"relu": {0.0: 0.0}}.

At a kink that is not listed, every slope between the one-sided derivatives is right.
"""


def product(a: Estimate, b: Estimate, reading: Reading) -> Estimate:
    """a @ b, for `a` (..., m, n) and `b` (..., n, k)."""
    n = a.value.shape[-1]
    value = a.value @ b.value
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    error_a, error_b = (None if side.once else side.error for side in (a, b))
    rounded = reading.times(a.once + b.once) * reading.u if a.once or b.once else 0.0
    own = reading.sums(reading.product(size_a, size_b), value, n, rounded) + reading.times(n) * reading.underflow_acc
    if reading.chops:
        own = reading.both(own, _chopped(size_a, size_b, value, reading))
    if reading.is_wide:
        own = reading.both(own, reading.u * np.abs(value) + reading.underflow)
    if reading.selects and (_selects_entries(a.value) or _selects_entries(b.value)):
        terms = (a.value != 0).astype(float) @ (b.value != 0).astype(float)
        # A selected entry below the normal range may still be flushed. A shown factor may have been flushed already,
        # so there even an entry of 0 may have lost something.
        size = np.abs(value)
        lost = size < 2 * reading.format.tiny if a.once or b.once else (size < reading.format.tiny) & (size > 0)
        selected = rounded * size + np.where(lost, reading.underflow, 0.0)
        own = np.where(terms <= 1, selected, own)
    error = reading.add(
        own,
        None if reading.cut is None else _cut(a, b, reading.cut, reading),
        _lost_when_shown(a, size_b, -2, reading),
        _lost_when_shown(b, size_a, -1, reading),
        None if error_a is None else reading.product(error_a, size_b),
        None if error_b is None else reading.product(size_a, error_b),
        None if error_a is None or error_b is None else reading.product(error_a, error_b),
    )
    jump = _sum(
        None if a.jump is None else a.jump @ size_b,
        None if b.jump is None else size_a @ b.jump,
        None if a.jump is None or b.jump is None else a.jump @ b.jump,
        reading.one_sided(value, n) if n > 1 else None,
    )
    return Estimate(value, error, jump, terms=n)


def _lost_when_shown(side: Estimate, other: Array, axis: int, reading: Reading) -> Array | None:
    """What a shown factor that is below the normal range, or 0, may have lost when it was stored, times the other
    factor, in every entry of its row or column (`axis` is the inner dimension of the other factor); None if there is no
    such factor.

    u times the value covers the rounding of normal numbers only. A framework may keep 4e-45 where it shows 0, and
    multiply it by 1000.
    """
    if not side.once or not (np.abs(side.value) < 2 * reading.format.tiny).any():
        return None
    return reading.underflow * reading.norm(other, axis)


def _chopped(size_a: Array, size_b: Array, value: Array, reading: Reading) -> Array:
    """The mean error of a sum of n products that is rounded toward zero at each step, as a root mean square.

    A step loses between 0 and 2 u of its partial sum s_j, so u |s_j| in the mean, always toward zero. The losses add to
    u sum_j |s_j|. Partial sums of random signs wander: the mean of (sum_j |s_j|)**2 is at most n sum_j s_j**2, which is
    n**2/2 times the squares of the terms. Partial sums that rise evenly to the result z add up to n |z| / 2.
    """
    if reading.p == 1:
        return np.zeros_like(value)  # `accumulation` has it
    wandering = reading.product(size_a, size_b) / 2**0.5
    return size_a.shape[-1] * reading.u_acc * np.hypot(wandering, np.abs(value) / 2)


def _cut(a: Estimate, b: Estimate, cut: Cut, reading: Reading) -> Array:
    """The error of a @ b from factors that are rounded to a narrower format, or to a sum of terms in it.

    The errors of different entries are independent. Rounding toward zero has twice the bound, and a mean: each factor
    shrinks by u on average, and so does the product.
    """
    lost_a, lost_b = (cut.lost(side.value, _is_known(side)) for side in (a, b))
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    own = [reading.product(lost_a, size_b), reading.product(size_a, lost_b), reading.product(lost_a, lost_b)]
    if cut.terms > 1:
        # Products of terms of low order are dropped: terms - 1 of the largest size, of two factors with several terms.
        many_a, many_b = (np.where(cut.fits(s.value, 1) & _is_known(s), 0.0, np.abs(s.value)) for s in (a, b))
        own.append(reading.times(cut.terms - 1) * cut.u * reading.product(many_a, many_b))
    total = reduce(reading.both, own)
    if not cut.chops:
        return total
    if reading.p == 1:
        return 2 * total
    return reading.both(
        total, np.abs((np.sign(a.value) * lost_a) @ b.value) + np.abs(a.value @ (np.sign(b.value) * lost_b))
    )


def _is_known(side: Estimate) -> Array | bool:
    """Elementwise: whether the framework has exactly this number as a factor. A shown value is one that it has."""
    return side.once or side.error is None or side.error == 0


def _selects_entries(a: Array) -> bool:
    """Whether all entries are 0 or 1, so that a product with this matrix selects or adds entries of the other."""
    return bool(((a == 0) | (a == 1)).all())


def _sum(*terms: Array | None) -> Array | None:
    present = [term for term in terms if term is not None]
    return reduce(np.add, present) if present else None


def add_bias(a: Estimate, bias: Array, reading: Reading) -> Estimate:
    """a + bias, for `a` (..., B, width) and an exact bias (..., width). If `a` is a sum of products, the bias is one
    more term of it: the sum may end with the bias, or start at it.
    """
    added = bias[..., None, :]
    value = a.value + added
    own = reading.u * np.abs(value) + reading.underflow
    if a.terms:
        own = reading.both(own, reading.bias_first(a.error, added, value, a.terms))
    if reading.selects:
        exact = (value - added == a.value) & (value - a.value == added) & _is_exact(value, reading)
        # What is added to a sum with an error is rounded in a framework, whose sum is another number. A sum without an
        # error has at most one term that is not zero, so that nothing is rounded in any order.
        if a.error is not None:
            exact &= (a.error == 0) | (added == 0)
        own = np.where(exact, 0.0, own)
    again = _lost_again(a, reading) if a.terms <= 1 else None
    return Estimate(value, reading.add(a.error, own), a.jump, terms=a.terms and a.terms + 1, again=again)


def _lost_again(a: Estimate, reading: Reading) -> Array | None:
    """How far an operand of the next step may lie from `a` if it is computed once more: by its own rounding, and by
    those before it. None where nothing rounds.
    """
    if a.error is None:
        return None
    return reading.add(np.where(a.error == 0, 0.0, reading.u * np.abs(a.value)), a.again)


def _is_exact(value: Array, reading: Reading) -> Array:
    """Elementwise: whether a value is representable in the format."""
    with np.errstate(over="ignore"):
        return value.astype(reading.format.numpy).astype(np.float64) == value


def _reach(z: Estimate, reading: Reading) -> Array | None:
    """How far the framework's z may lie from `z.value`; None if z has neither error nor jump."""
    spread = None if z.error is None else reading.kappa * z.error
    total = _sum(spread, z.jump)
    return None if total is None else without_nan(total)


def _turns(row: Activation, left: Array, right: Array) -> Iterator[tuple[Array, float | Array]]:
    """Where f' turns between `left` and `right`: for each turn, elementwise whether it lies there, and its f'."""
    for point in row.turning:
        if row.turning_period is None:
            yield (left <= point) & (point <= right), float(row.derivative(np.asarray(point)))
            continue
        # The first two at or after `left`: a maximum and a minimum. An interval of two periods has both, also where
        # numbers are so large that their place is lost in rounding.
        period = row.turning_period
        index = np.ceil((left - point) / period)
        turns = [float(row.derivative(np.asarray(point + number * period))) for number in (0, 1)]
        for number in (0, 1):
            inside = (point + period * (index + number) <= right) | (right - left >= 2 * period)
            yield inside, np.where((index % 2 + number) % 2 == 0, *turns)


def _slope_range(row: Activation, z: Array, reach: Array | None, reading: Reading) -> tuple[Array, Array, Array]:
    """The least and the greatest value of f' within `reach` of z, and whether f' jumps there: three arrays shaped as z.

    The range is exact, not sampled. Its ends are values of f' at z, at an end of the interval, where f' turns, or at a
    kink.
    """
    middle = row.derivative(z)
    low = high = middle
    left = right = z
    if reach is not None:
        # The computed ends are rounded, so each moves out to the next float64. An exact z keeps its place.
        # The framework's z is in the format, also where nothing else is known of it.
        most = reading.format.max
        left = np.where(reach > 0, np.minimum(z, np.maximum(np.nextafter(z - reach, -np.inf), -most)), z)
        right = np.where(reach > 0, np.maximum(z, np.minimum(np.nextafter(z + reach, np.inf), most)), z)
        ends = (row.derivative(left), row.derivative(right))
        low, high = np.minimum(low, np.minimum(*ends)), np.maximum(high, np.maximum(*ends))
        for inside, extreme in _turns(row, left, right):
            low = np.where(inside, np.minimum(low, extreme), low)
            high = np.where(inside, np.maximum(high, extreme), high)
    jumps = np.zeros(z.shape, bool)
    for kink in row.kinks:
        blur = kink.blur * reading.u
        inside = (left <= kink.point + blur) & (kink.point - blur <= right)
        low = np.where(inside, np.minimum(low, min(kink.left, kink.right)), low)
        high = np.where(inside, np.maximum(high, max(kink.left, kink.right)), high)
        jumps |= inside
    return low, high, jumps


def _underflow_error(row: Activation, z: Array, reading: Reading, ulps: float) -> Array | float:
    """The error of the formula if an intermediate result underflows. It is 0 for a formula that rounds nothing."""
    return reading.underflow_f * row.underflow_gain(z) if ulps else 0.0


def activation(row: Activation, z: Estimate, reading: Reading) -> Estimate:
    """f(z), elementwise: the error of z times the steepest slope in reach, plus the error of the formula."""
    value = row.f(z.value)
    error = row.f_ulps * reading.u * row.f_terms(z.value) + _underflow_error(row, z.value, reading, row.f_ulps)
    reach = _reach(z, reading)
    jump: Array | None = None
    again: Array | None = None
    if reach is not None:
        low, high, _ = _slope_range(row, z.value, reach, reading)
        steepest = np.maximum(np.abs(low), np.abs(high))
        lost = _lost_again(z, reading)
        again = None if lost is None else steepest * lost
        error = reading.add(error, None if z.error is None else steepest * z.error)
        jump = None if z.jump is None else steepest * z.jump
    for kink in row.kinks:
        if kink.jump:
            blur = kink.blur * reading.u
            near = np.abs(z.value - kink.point) <= (0.0 if reach is None else reach) + blur
            # An exact z at the point has the value that the definition gives. Only an uncertain z may cross over, or
            # one near a point that the framework has rounded.
            jump = _sum(jump, np.where(near & (reach is not None or blur > 0), kink.jump + blur, 0.0))
    return Estimate(value, error, jump, again=again)


def derivative(
    row: Activation, z: Estimate, reading: Reading, at_kinks: Mapping[float, float] | None = None
) -> Estimate:
    """f'(z), elementwise: how far f' changes within reach of z, plus the error of the formula.

    `at_kinks` maps a kink to the slope required there. It applies only to a z that lies exactly at the kink and has no
    error.
    """
    reach = _reach(z, reading)
    value = row.derivative(z.value)
    low, high, jumps = _slope_range(row, z.value, reach, reading)
    if z.jump is not None:
        jumps |= z.jump > 0
    terms = row.slope_terms(z.value)
    for point, slope in (at_kinks or {}).items():
        fixed = z.value == point if reach is None else (z.value == point) & (reach == 0)
        if fixed.any():
            value, low, high = (np.where(fixed, slope, values) for values in (value, low, high))
            terms = np.where(fixed, np.maximum(terms, abs(slope)), terms)
    formula = row.slope_ulps * reading.u * terms
    formula = formula + _underflow_error(row, z.value, reading, row.slope_ulps)
    # The range covers kappa errors of z, so one error of f' is its kappa-th part.
    change = None if reach is None else np.where(jumps, 0.0, np.maximum(high - value, value - low) / reading.kappa)
    if not jumps.any():
        return Estimate(value, reading.add(formula, change))
    middle, half = np.where(jumps, (low + high) / 2, value), np.where(jumps, (high - low) / 2, 0.0)
    return Estimate(middle, reading.add(formula, change), half)


def residual(x: Estimate, y: Array, reading: Reading) -> Estimate:
    """x - y, for an exact y. It has three roundings: the difference, the scaling of a loss to a mean, and back to E."""
    value = x.value - y
    return Estimate(
        value, reading.add(x.error, reading.times(3) * reading.u * np.abs(value) + reading.underflow), x.jump
    )


def squared_error(r: Estimate, reading: Reading) -> Estimate:
    """E = 1/2 sum r**2, for `r` (..., B, width); one number for each batch, shape (...)."""
    n = r.value.shape[-1] * r.value.shape[-2]
    square, ones = np.square(r.value), np.ones((n, 1))
    value = square.sum((-2, -1)) / 2

    def summed(each: Array) -> Array:
        return reading.product(each.reshape(*value.shape, 1, n), ones)[..., 0, 0] / 2

    inherited = None if r.error is None else summed(2 * np.abs(r.value) * r.error + np.square(r.error))
    own = reading.of_sums.sums(summed(square), value, n) + reading.times(4) * reading.u * value
    own = own + reading.times(n) * reading.underflow
    jump = None if r.jump is None else (np.abs(r.value) * r.jump + np.square(r.jump) / 2).sum((-2, -1))
    return Estimate(value, reading.add(inherited, own), jump)


def hadamard(s: Estimate, d: Estimate, reading: Reading) -> Estimate:
    """s ∘ d, elementwise, for two estimates of one shape."""
    value, size_s, size_d = s.value * d.value, np.abs(s.value), np.abs(d.value)
    error = reading.add(
        reading.u * np.abs(value) + reading.underflow,
        None if s.error is None else s.error * size_d,
        None if d.error is None else size_s * d.error,
        None if s.error is None or d.error is None else s.error * d.error,
    )
    jump = _sum(
        None if s.jump is None else s.jump * size_d,
        None if d.jump is None else (size_s if s.error is None else size_s + reading.kappa * s.error) * d.jump,
        None if s.jump is None or d.jump is None else s.jump * d.jump,
    )
    return Estimate(value, error, jump)


def batch_sum(a: Estimate, reading: Reading) -> Estimate:
    """The sum over the rows of a batch, (..., B, width) to (..., width): a product with a row of ones."""
    ones = Estimate(np.ones((*a.value.shape[:-2], 1, a.value.shape[-2])))
    total = product(ones, a, reading.of_sums)
    error, jump = (None if part is None else part[..., 0, :] for part in (total.error, total.jump))
    return Estimate(total.value[..., 0, :], error, jump)


def as_shown(value: Array, computed: Estimate, reading: Reading) -> Estimate:
    """The estimate to continue from when a framework shows `value` where the oracle has `computed`."""
    # The value that a compiled program returns is rounded, but the one it continues with need not be. It may keep a
    # wider value, or contract a product and the sum that follows into one fused multiply-add. It may also compute the
    # value once more where it is used, and leave out there a rounding that it did not leave out before, such as that of
    # the product in z sigmoid(z) + b. Where the sum cancels, this is far more than a rounding of the sum.
    rounded = reading.u * np.abs(value) + reading.underflow
    again = None if computed.again is None or not computed.again.any() else computed.again
    error = rounded if again is None else reading.both(rounded, again)
    if not reading.selects or computed.error is None:
        return Estimate(value, error, once=again is None, again=again)
    # An entry that was computed without rounding has no wider form. Draws of one stack differ in which entries these
    # are.
    exact = (computed.error == 0) & (value == computed.value)
    if exact.all():
        return Estimate(value)
    return Estimate(value, np.where(exact, 0.0, error), once=again is None and not exact.any(), again=again)
