"""Values that the steps of the rule compute with: arrays in float64 and, with a reading, the error that each carries.

A formula written with the operators of `Value` serves two purposes. Without a reading it computes numbers alone: a
mutant plants these in a framework's answer. With a reading it computes their tolerance too, by the same analysis for
the rule and for a mistake.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import rounding as r
from .activations import ACTIVATIONS
from .dtypes import DType
from .error_model import Estimate, Reading
from .network import Array

Scalar = float | int | Array


@dataclass(frozen=True, eq=False)
class Value:
    """A stack of matrices (..., rows, columns) with their errors, which add as `reading` says. Without a reading,
    values alone.
    """

    estimate: Estimate
    reading: Reading | None = None

    @property
    def value(self) -> Array:
        """The values, float64."""
        return self.estimate.value

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., rows, columns)."""
        return self.value.shape

    @property
    def tolerance(self) -> Array:
        """The largest distance from the value that its errors explain; zeros without a reading."""
        return np.zeros_like(self.value) if self.reading is None else self.estimate.tolerance(self.reading)

    @property
    def mT(self) -> "Value":
        """Each matrix transposed."""
        return self.moved(lambda a: a.mT)

    def without_jumps(self) -> "Value":
        """The same without the jumps of slopes at kinks."""
        return replace(self, estimate=replace(self.estimate, jump=None))

    def moved(self, move: Callable[[Array], Array]) -> "Value":
        """Entries moved or left out, by a function that does the same to values, errors and jumps."""
        error, jump = (None if a is None else move(a) for a in (self.estimate.error, self.estimate.jump))
        return replace(self, estimate=Estimate(move(self.value), error, jump, self.estimate.once, self.estimate.terms))

    def __getitem__(self, index: tuple) -> "Value":
        return self.moved(lambda a: a[index])

    def reshape(self, rows: int, columns: int) -> "Value":
        """The same entries, read row by row, as other matrices. Raises ValueError if they do not fit."""
        return self.moved(lambda a: a.reshape(len(a), rows, columns))

    def __matmul__(self, other: "Value") -> "Value":
        if self.reading is None:
            return Value(Estimate(self.value @ other.value))
        reading = _joint(self.reading, other.reading)
        return Value(r.product(self.estimate, other.estimate, reading), reading)

    def __mul__(self, other: "Value | Scalar") -> "Value":
        if not isinstance(other, Value):
            other = exact(np.broadcast_to(np.asarray(other, float), self.shape), self.reading)
        if self.reading is None:
            return Value(Estimate(self.value * other.value))
        reading = _joint(self.reading, other.reading)
        return Value(r.hadamard(self.estimate, other.estimate, reading), reading)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Scalar) -> "Value":
        return self * (1 / np.asarray(divisor, float))

    def __neg__(self) -> "Value":
        return self.moved(lambda a: a) if not self.value.size else self * -1.0

    def __add__(self, other: "Value | Scalar") -> "Value":
        if not isinstance(other, Value):
            other = exact(np.broadcast_to(np.asarray(other, float), self.shape), self.reading)
        value = self.value + other.value
        reading = self.reading
        if reading is None:
            return Value(Estimate(value))
        own = reading.u * np.abs(value) + reading.underflow
        jumps = [jump for jump in (self.estimate.jump, other.estimate.jump) if jump is not None]
        error = reading.add(self.estimate.error, other.estimate.error, own)
        return Value(Estimate(value, error, sum(jumps[1:], jumps[0]) if jumps else None), reading)

    __radd__ = __add__

    def __sub__(self, other: "Value | Scalar") -> "Value":
        return self + (-other if isinstance(other, Value) else -np.asarray(other, float))

    def plus_bias(self, bias: "Value") -> "Value":
        """The sum with an exact bias (..., 1, columns), added to each row."""
        if self.reading is None:
            return Value(Estimate(self.value + bias.value))
        return Value(r.add_bias(self.estimate, bias.value[..., 0, :], self.reading), self.reading)

    def minus_target(self, y: "Value") -> "Value":
        """The residual x - y, for an exact y, with the reading of the backward pass."""
        if self.reading is None:
            return Value(Estimate(self.value - y.value))
        backward = self.reading.of_mean(self.shape[-2] * self.shape[-1])
        return Value(r.residual(self.estimate, y.value, backward), backward)

    def squared_error(self) -> "Value":
        """E = 1/2 sum r**2 of a residual r, as a matrix of one entry (..., 1, 1)."""
        if self.reading is None:
            return Value(Estimate((np.square(self.value).sum((-2, -1)) / 2)[..., None, None]))
        summed = Value(r.squared_error(self.estimate, self.reading), self.reading)
        return summed.moved(lambda a: a[..., None, None])

    def rows(self) -> "Value":
        """The sum over the rows, (..., 1, columns)."""
        ones = np.ones((*self.shape[:-2], 1, self.shape[-2]))
        return exact(ones, self.reading) @ self

    def columns(self) -> "Value":
        """The sum over the columns, (..., rows, 1)."""
        return self.mT.rows().mT

    def like(self, other: "Value") -> "Value":
        """Repeated to the shape of another value, if rows or columns are 1."""
        return self.moved(lambda a: np.broadcast_to(a, other.shape))

    def where(self, chosen: Array, other: "Value") -> "Value":
        """Its own entries where `chosen` is true, and those of the other value elsewhere."""

        def merged(a: Array | None, b: Array | None) -> Array | None:
            return (
                None if a is None and b is None else np.where(chosen, 0.0 if a is None else a, 0.0 if b is None else b)
            )

        mine, others = self.estimate, other.estimate
        value = np.where(chosen, mine.value, others.value)
        return replace(self, estimate=Estimate(value, merged(mine.error, others.error), merged(mine.jump, others.jump)))

    def through(self, change: Callable[[Array], Array], slope: float = 1.0) -> "Value":
        """A function of each entry that is exact except for one rounding, and nowhere steeper than `slope`."""
        value = change(self.value)
        reading = self.reading
        if reading is None:
            return Value(Estimate(value))
        error = None if self.estimate.error is None else slope * self.estimate.error
        jump = None if self.estimate.jump is None else slope * self.estimate.jump
        return Value(Estimate(value, reading.add(error, reading.u * np.abs(value)), jump), reading)

    def narrowed(self, format: DType) -> "Value":
        """Rounded to a narrower format. A value within its error of the middle between two numbers may round to either;
        this is a jump.
        """

        def rounded(a: Array) -> Array:
            with np.errstate(over="ignore"):
                return a.astype(format.numpy).astype(np.float64)

        value = rounded(self.value)
        if self.reading is None:
            return Value(Estimate(value))
        reach = self.tolerance
        jump = np.maximum(rounded(self.value + reach) - value, value - rounded(self.value - reach))
        return Value(Estimate(value, self.estimate.error, jump), self.reading)

    def shown_as(self, array: Array) -> "Value":
        """The array that a framework shows for it, with the error of one rounding."""
        own = array.astype(np.float64).reshape(self.shape)
        if self.reading is None:
            return Value(Estimate(own))
        return Value(r.as_shown(own, self.estimate, self.reading), self.reading)

    def f(self, name: str) -> "Value":
        """An activation of each entry."""
        row = ACTIVATIONS[name]
        if self.reading is None:
            return Value(Estimate(row.f(self.value)))
        return Value(r.activation(row, self.estimate, self.reading), self.reading)

    def slope(self, name: str, at_kinks: Mapping[float, float] | None = None) -> "Value":
        """An activation's derivative at each entry; `at_kinks` are the slopes declared exactly at kinks."""
        row = ACTIVATIONS[name]
        if self.reading is None:
            slopes = row.derivative(self.value)
            for point, slope in (at_kinks or {}).items():
                slopes = np.where(self.value == point, slope, slopes)
            return Value(Estimate(slopes))
        return Value(r.derivative(row, self.estimate, self.reading, at_kinks), self.reading)


def _joint(a: Reading, b: Reading | None) -> Reading:
    """The reading of a step with two values: the one that allows for more underflow, which is a backward pass's."""
    return a if b is None or b.underflow <= a.underflow else b


def exact(value: Array, reading: Reading | None) -> Value:
    """A value that carries no error."""
    return Value(Estimate(value), reading)
