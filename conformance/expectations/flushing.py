"""Flushing to zero: the rule on a processor that has no numbers below the normal range.

For example, 2**-70 * 2**-70 in float32 is 2**-140, below the smallest normal number 2**-126, and XLA on CPU gives 0. It
sets the processor to flush: every result of an operation that is below the normal range is 0, and so is every such
operand. Measured on XLA's CPU backend, compiled and op by op, this holds for products, sums, matrix products and
comparisons in f64, f32 and bf16. In f16 it does not, since XLA computes f16 in f32, where these numbers are normal.

What a step may lose is bounded from its own operands:

- an operand below the normal range: its share of the result;
- a term of a sum that is below the normal range: the term;
- a partial sum: less than the smallest normal number for each addition, if the terms have both signs. Partial sums of
  one sign only grow, so that all they lose is terms below the normal range.

A fused multiply-add rounds only the sum, so a term may be kept as well as lost. What is lost of a positive term lowers
the sum, and what is lost of a negative one raises it: E, a sum of squares, is never too large. These bounds add
linearly and are not multiplied by λ. Operands that are normal numbers, with normal products of one sign, lose nothing.
Last, a result that is surely below the normal range is exactly 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...reference import ACTIVATIONS, DTYPES, Array
from ...reference.error_model import Estimate
from ...reference.steps import Changes, Work
from ...reference.value import Value, exact


@dataclass(frozen=True)
class Lost:
    """By how much what is lost may lower and raise each entry of a result."""

    lowers: Array
    raises: Array

    def __add__(self, other: "Lost") -> "Lost":
        return Lost(self.lowers + other.lowers, self.raises + other.raises)

    def __neg__(self) -> "Lost":
        return Lost(self.raises, self.lowers)


def flush_to_zero() -> Changes:
    """Every step of the rule with flushed results and operands."""
    return {
        "z": _pre_activation,
        "x": _activation,
        "E": _error,
        "d": _slope,
        "r": _residual,
        "s": lambda w, i, right: _flush(w, right(), lost_in_product(w.k[i + 1], w.weights[i + 1].mT, _inside(w))),
        "k": lambda w, i, right: _flush(w, right(), _lost_in_hadamard(w.s[i], w.d[i], w.format.tiny)),
        "W": lambda w, i, right: _flush(w, right(), lost_in_product(w.x[i - 1].mT, w.k[i], _inside(w))),
        "b": _bias_gradient,
    }


def _pre_activation(w: Work, i: int, right: Callable[[], Value]) -> Value:
    lost = lost_in_product(w.x[i - 1], w.weights[i], _inside(w))
    if w.network.bias == "pre":
        lost += _lost_in_terms(w.x[i - 1] @ w.weights[i], w.format.tiny)
        lost += _lost_in_terms(w.biases[i], w.format.tiny)
    return _flush(w, right(), lost)


def _activation(w: Work, i: int, right: Callable[[], Value]) -> Value:
    row, z = ACTIVATIONS[w.name(i)], w.z[i]
    at_zero = [row.derivative(np.zeros(1))[0], *(side for k in row.kinks if k.point == 0 for side in (k.left, k.right))]
    steepest = np.maximum(np.abs(row.derivative(z.value)), np.max(np.abs(at_zero)))
    either = steepest * _size_lost(z, w.format.tiny) + _lost_inside(w, i)
    lost = Lost(either, either)
    if w.network.bias == "post":
        lost += _lost_in_terms(z.f(w.name(i)), w.format.tiny) + _lost_in_terms(w.biases[i], w.format.tiny)
    return _flush(w, right(), lost)


def _error(w: Work, i: int, right: Callable[[], Value]) -> Value:
    # In any order of the sum: all squares in one row. The halving may come first.
    r = w.x[i].minus_target(w.y).moved(lambda a: a.reshape(*a.shape[:-2], 1, -1))
    return _flush(w, right(), lost_in_product(r, r.mT, 2 * w.format.tiny, is_square=True))


def _slope(w: Work, i: int, right: Callable[[], Value]) -> Value:
    lost = _size_lost(w.z[i], w.format.tiny)
    d = right()
    if w.reading is not None and lost.any():
        # The slope may be that of z or of 0.
        d = widened(w.z[i], lost).slope(w.name(i), w.conventions.get(w.name(i)))
    inside = np.broadcast_to(_lost_inside(w, i), d.shape)
    return _flush(w, d, Lost(inside, inside))


def _residual(w: Work, i: int, right: Callable[[], Value]) -> Value:
    tiny = w.format.tiny
    return _flush(w, right(), _lost_in_terms(w.x[i], tiny) + -_lost_in_terms(w.y, tiny))


def _bias_gradient(w: Work, i: int, right: Callable[[], Value]) -> Value:
    rows = w.k[i] if w.network.bias == "pre" else w.s[i]
    ones = exact(np.ones((*rows.shape[:-2], 1, rows.shape[-2])), w.reading)
    return _flush(w, right(), lost_in_product(ones, rows, _inside(w)))


def _inside(w: Work) -> float:
    """The smallest normal number of the accumulator inside a product."""
    return DTYPES["f32"].tiny if w.format.is_narrow else w.format.tiny


def _lost_inside(w: Work, i: int) -> Array | float:
    """What a formula of f or f' may lose in its intermediate results."""
    row = ACTIVATIONS[w.name(i)]
    return 0.0 if row.piecewise_linear else w.format.tiny * row.underflow_gain(w.z[i].value)


def lost_in_product(a: Value, b: Value, tiny: float, is_square: bool = False) -> Lost:
    """What the entries of a @ b may lose, for `a` (..., m, n) and `b` (..., n, k), as arrays (..., m, k). `is_square`
    says that no term is negative, whatever the errors of its factors.
    """
    (low_a, high_a), (low_b, high_b) = _sizes(a), _sizes(b)
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    counts, total, lowers, raises, rising, falling = (np.zeros(shape) for _ in range(6))
    for j in range(a.shape[-1]):  # one term of every sum at a time; all at once would take n times the memory
        column, row = np.s_[..., j, None], np.s_[..., j, None, :]
        low, high = low_a[column] * low_b[row], high_a[column] * high_b[row]
        sign = np.sign(a.value[column]) * np.sign(b.value[row])
        is_uncertain = (low == 0) & (high > 0) & (not is_square)
        is_lost = (low_a[column] < tiny) | (low_b[row] < tiny)
        lost = np.where(is_lost, high, np.where(low < tiny, np.minimum(high, tiny), 0.0))
        may_rise, may_fall = (sign > 0) | is_uncertain, (sign < 0) | is_uncertain
        lowers, raises = lowers + np.where(may_rise, lost, 0.0), raises + np.where(may_fall, lost, 0.0)
        rising, falling = rising + may_rise, falling + may_fall
        counts, total = counts + (high > 0), total + high
    has_both_signs = (rising > 0) & (falling > 0)
    in_sums = np.where(has_both_signs, np.minimum(np.maximum(counts - 1, 0) * tiny, total), 0.0)
    return Lost(lowers + in_sums, raises + in_sums)


def _lost_in_hadamard(s: Value, d: Value, tiny: float) -> Lost:
    (low_s, high_s), (low_d, high_d) = _sizes(s), _sizes(d)
    lost = np.where((low_s < tiny) | (low_d < tiny), high_s * high_d, 0.0)
    return _toward_zero(lost, np.sign(s.value) * np.sign(d.value), (low_s == 0) | (low_d == 0))


def _lost_in_terms(value: Value, tiny: float) -> Lost:
    """What a sum loses if each entry of one of its terms counts as 0 below the normal range."""
    return _toward_zero(_size_lost(value, tiny), np.sign(value.value), _sizes(value)[0] == 0)


def _toward_zero(lost: Array, sign: Array, is_uncertain: Array) -> Lost:
    return Lost(np.where((sign > 0) | is_uncertain, lost, 0.0), np.where((sign < 0) | is_uncertain, lost, 0.0))


def _size_lost(value: Value, tiny: float) -> Array:
    """How much of each entry itself is lost if it counts as 0 below the normal range."""
    low, high = _sizes(value)
    return np.where(low < tiny, np.minimum(high, tiny), 0.0)


def _sizes(value: Value) -> tuple[Array, Array]:
    """The least and the greatest size that each entry may have in the framework."""
    size, reach = np.abs(value.value), value.tolerance
    if value.estimate.once:
        # A zero that is shown is zero: what was flushed is gone.
        reach = np.where(size == 0, 0.0, reach)
    return np.maximum(size - reach, 0.0), size + reach


def widened(value: Value, by: Array) -> Value:
    """The value with more of what adds linearly and is not roundoff."""
    jump = by if value.estimate.jump is None else value.estimate.jump + by
    return replace(value, estimate=replace(value.estimate, jump=jump))


def _flush(w: Work, value: Value, lost: Lost) -> Value:
    """A result from which something may have been lost, and which is 0 below the normal range."""
    tiny = w.format.tiny
    if value.reading is None:
        return Value(Estimate(np.where(np.abs(value.value) < tiny, 0.0, value.value)))
    # The middle of what it may be, and half the width.
    middle, half = value.value + (lost.raises - lost.lowers) / 2, (lost.raises + lost.lowers) / 2
    size, reach = np.abs(middle), value.tolerance + half
    is_zero, may_be_zero = size + reach < tiny, size - reach < tiny
    # A result of 0 is right where the result may be below the normal range.
    jump = half + np.where(may_be_zero, np.maximum(size - reach, 0.0), 0.0)
    moved = replace(value, estimate=replace(value.estimate, value=middle))
    return exact(np.zeros(value.shape), value.reading).where(is_zero, widened(moved, jump))
