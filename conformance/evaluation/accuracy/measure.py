"""Measuring one activation: f and f' as an adapter computes them at many numbers, compared with 50-digit values.

The networks are such that z is exact: one layer of width 1 with W = 1, or one row a point (`_Form`). Errors have two
units: ulp of the true value; and the unit roundoff times the terms of the activation's row in the table, which is the
unit of the row's `f_ulps` and `slope_ulps`. Needs mpmath.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....reference import Activation, Array, DType, Network, Parameters, Structure
from ...cases.description import Description
from ...runners.runner import Runner
from .exact import Truth, precision

COLUMN, ONE_HOT = 4096, 256
"""Points a call. They are powers of two, so that a loss that is scaled by a mean stays exact."""

_LEAST, _MOST = -3, 10
_DENSER = 7
_CURVE = (-12, 10)
"""The binades of z that a curve shows: the exponents of its ends."""


def choose_points(row: Activation, dtype: DType, samples: int, seed: int) -> Array:
    """The arguments to measure at, ascending, as float64.

    For a 16-bit format these are all finite numbers. For a wider one, they are the two ends of every binade of both
    signs, subnormal ones included, and 2**samples numbers between them, or 2**7 times as many where |z| is from 1/8 to
    1024 and activations change most; and zero, the row's kinks and turning points, and the numbers next to these.
    """
    if dtype.numpy.itemsize == 2:
        with np.errstate(invalid="ignore"):
            every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy).astype(np.float64)
        return np.unique(every[np.isfinite(every)])
    digest = hashlib.blake2b(f"ulp/{dtype.name}/{seed}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    sizes = np.concatenate([_sample_binade(dtype, field, samples, rng) for field in _find_fields(dtype)])
    magnitudes = sizes.view(dtype.numpy).astype(np.float64)
    special = np.array([0.0, *(kink.point for kink in row.kinks), *row.turning], dtype.numpy)
    special = np.concatenate([special, *(np.nextafter(special, dtype.numpy.type(end)) for end in (np.inf, -np.inf))])
    return np.unique(np.concatenate([magnitudes, -magnitudes, special.astype(np.float64)]))


def _find_fields(dtype: DType) -> range:
    """The binades in ascending order, as exponent fields. Numbers below 1 stand for subnormal binades, one for each
    leading bit.
    """
    return range(1 - (precision(dtype) - 1), 2 ** (8 * dtype.numpy.itemsize - precision(dtype)) - 1)


def _sample_binade(dtype: DType, field: int, samples: int, rng: np.random.Generator) -> Array:
    """The bits of a binade's first and last number, and of random numbers from the first to the last."""
    unsigned = np.dtype(f"u{dtype.numpy.itemsize}")
    width = precision(dtype) - 1
    bias = 2 ** (8 * dtype.numpy.itemsize - width - 2) - 1
    count = 2 ** (samples + (_DENSER if _LEAST <= field - bias < _MOST else 0))
    if field >= 1:
        first, last = field << width, (field + 1 << width) - 1
    else:
        first, last = 1 << (width + field - 1), (2 << (width + field - 1)) - 1
    between = rng.integers(first, last, count, unsigned, endpoint=True)
    return np.concatenate([np.array([first, last], unsigned), between])


class NotMeasurable(Exception):
    """An adapter answered, but nothing can be measured from its answer. The message is one line."""


@dataclass(frozen=True)
class _Form:
    """The network with which one activation is measured, `rows` points a call.

    With `one_hot`, x = I and W_1 holds the points, so that dE/dW_1 is the column k_1 where k is not shown; otherwise x
    holds the points and W_1 = 1. With `unit`, there is a second layer: the identity with W_2 = 2**-t and y = -2**t. Its
    residual rounds to 2**t whatever f(z) is, so that dE/df(z) = 1 and k_1 = f'(z).
    """

    name: str
    dtype: DType
    rows: int
    one_hot: bool
    unit: bool
    bias: str

    def structure(self) -> Structure:
        widths = (self.rows if self.one_hot else 1, 1, *((1,) if self.unit else ()))
        names = (self.name, *(("identity",) if self.unit else ()))
        return Structure(Network(widths, names, self.bias), self.rows, self.dtype.name)  # pyright: ignore[reportArgumentType]

    def call(self, runner: Runner, z: Array, y: Array) -> Observation:
        """Call the program for `rows` points and their targets. Raises NotMeasurable where it shows a z_1 that is not
        z.
        """
        number = self.dtype.numpy.type
        z, one = z.astype(self.dtype.numpy)[:, None], np.ones((1, 1), self.dtype.numpy)
        x, weights = (np.eye(self.rows, dtype=self.dtype.numpy), [z]) if self.one_hot else (z, [one])
        if self.unit:
            weights.append(one * number(2.0**-self.shift))
        biases = () if self.bias == "none" else (np.zeros(1, self.dtype.numpy),) * len(weights)
        answer = runner.call("normal", Parameters(tuple(weights), biases), x, y.astype(self.dtype.numpy)[:, None])
        if answer.observation is None or answer.dtype_problem:
            raise NotMeasurable(answer.all_problems[0])
        shown = answer.observation.z
        if shown is not None and not ((shown[0] == z) | ((np.abs(z) < self.dtype.tiny) & (shown[0] == 0))).all():
            raise NotMeasurable(
                "z_1 is not x_0 W_1 for W_1 = 1: products are rounded to fewer digits than the dtype has"
            )
        return answer.observation

    @property
    def shift(self) -> int:
        """The least t for which 2**t + f(z) 2**-t rounds to 2**t for every finite f(z), if 2**-t is a normal number."""
        p = -int(np.log2(self.dtype.u_acc))
        least = -(-(int(np.frexp(self.dtype.max)[1]) + p + 1) // 2)
        return min(least, -int(np.log2(self.dtype.tiny)))


def ask_adapter(runner: Runner, declared: Description, name: str, dtype: DType, z: Array) -> tuple[Array, Array]:
    """f and f' at each of z, as float64. Where f is not finite, f' is NaN, since k does not show it there.

    Raises NoAnswer and NotMeasurable.
    """
    form = _Form(name, dtype, COLUMN, False, False, declared.biases[0])
    runner.build(form.structure())
    answers = [form.call(runner, part, np.zeros(form.rows)) for part in _split(z, form.rows)]
    f = np.concatenate([answer.outputs[:, 0] for answer in answers]).astype(np.float64)[: z.size]
    shows = answers[0].k is not None
    form = replace(form, unit="identity" in declared.activations, one_hot=not shows, rows=COLUMN if shows else ONE_HOT)
    runner.build(form.structure())
    # Where f is not finite, z is replaced by 1, so that no NaN enters the sums over the batch.
    finite = np.isfinite(f)
    y, r = np.full(z.size, -(2.0**form.shift)), np.ones(z.size)
    if not form.unit:
        y, r = _choose_targets(np.where(finite, f, 0.0), dtype)
    batches = zip(_split(np.where(finite, z, 1.0), form.rows), _split(y, form.rows), strict=True)
    k = np.concatenate([_find_k(form, runner, *batch) for batch in batches]).astype(np.float64)[: z.size]
    return f, np.where(finite, k / r, np.nan)


def _split(values: Array, rows: int) -> list[Array]:
    """Split into parts of `rows` values; the last part is filled up with ones."""
    filled = np.concatenate([values, np.ones(-values.size % rows)])
    return list(filled.reshape(-1, rows))


def _choose_targets(outputs: Array, dtype: DType) -> tuple[Array, Array]:
    """Targets, and the residuals to them in the dtype's own arithmetic. The residuals are powers of two near max(1,
    |x_n|) with the sign of x_n, so that k_n / r is f' without another rounding.
    """
    size = np.exp2(np.frexp(np.maximum(np.abs(outputs), 1))[1] - 1.0)
    given = outputs.astype(dtype.numpy)
    y = given - np.copysign(size, outputs).astype(dtype.numpy)
    return y.astype(np.float64), (given - y).astype(np.float64)


def _find_k(form: _Form, runner: Runner, z: Array, y: Array) -> Array:
    """k_1 of one batch."""
    if form.one_hot:
        return _find_k_from_gradient(form, runner, z, y, np.ones(form.rows, bool))
    shown = form.call(runner, z, y).k
    if shown is None:
        raise NotMeasurable("k was shown for one structure and not for another")
    return shown[0][:, 0]


def _find_k_from_gradient(form: _Form, runner: Runner, z: Array, y: Array, wanted: Array) -> Array:
    """k_1 from dE/dW_1, at the points that are `wanted`. The sums in dE/dW_1 hold 0 k_j for every j, so that one k that
    is not finite makes all of them NaN. The batch is then halved, with 1 for the points that are left out, until each k
    that is not finite is alone.
    """
    k = form.call(runner, np.where(wanted, z, 1.0), y).weight_gradients[0][:, 0]
    place = np.flatnonzero(wanted)
    if place.size == 1 or np.isfinite(k[wanted].astype(np.float64)).all():
        return k
    half = wanted & (np.arange(wanted.size) < place[place.size // 2])
    return np.where(half, *(_find_k_from_gradient(form, runner, z, y, part) for part in (half, wanted & ~half)))


@dataclass(frozen=True)
class Measurement:
    """The errors of one function, f or f', of one activation in one dtype.

    `worst`, `median` and `most` (the 99 % quantile) are in ulp, over the points where z, the true value and the values
    that it is computed from are in the normal range; `apart` counts the other points. `units` is the worst error over
    all points in units of u times the row's terms, after the allowed underflow is subtracted; `stated` is the row's
    figure for it, and `given` and `true` are f or f' at `units_at`. `flushed` counts zeros for values that the format
    can hold, `nans` counts NaNs, and `infinities` counts infinities for finite values that an error within the row's
    does not explain; `nan_at` and `infinity_at` are the points nearest to 0 where these occur. `curve` has [z, ulp] of
    the largest error of each sign and half binade of z from 2**-12 to 2**10, ascending.
    """

    activation: str
    dtype: str
    function: str
    points: int
    worst: float
    worst_at: float
    median: float
    most: float
    units: float
    units_at: float
    stated: float
    given: float
    true: float
    apart: int
    flushed: int
    nans: int
    nan_at: float | None
    infinities: int
    infinity_at: float | None
    curve: tuple[tuple[float, float], ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether no error is larger than the row's, and no NaN and no infinity stands for a finite value."""
        return self.units <= self.stated and not self.nans and not self.infinities


def measure_errors(row: Activation, dtype: DType, slope: bool, z: Array, given: Array, true: Truth) -> Measurement:
    """Compare what an adapter gave for f, or for f' where `slope`, with the true values. `z` is ascending and contains
    0; all arrays have its shape.
    """
    with np.errstate(all="ignore"):
        terms, stated = (row.slope_terms(z), row.slope_ulps) if slope else (row.f_terms(z), row.f_ulps)
        ulps, place = _compute_ulps(row, dtype, slope, z, given, true)
        size = np.abs(true.rounded())
        nonzero = size > dtype.subnormal / 2  # rounds to a number other than 0
        gain = _compute_gain(row, dtype, z, nonzero & (size < dtype.tiny)) if stated else np.ones_like(z)
        # The factor 2 allows for a value that was rounded before it was flushed.
        apart = _is_subnormal(z, dtype) | ((size < 2 * gain * dtype.tiny) & (true.sign != 0))
        units = _compute_units(ulps, place, dtype, terms, np.where(apart & (stated > 0), gain, 0.0))
    nan, infinite = np.isnan(given), np.isinf(given) & ~(units <= stated)
    usual = ~(nan | infinite | apart)
    worst, most = _find_largest(ulps, usual), _find_largest(units, ~(nan | infinite))
    spread = np.quantile(ulps[usual], (0.5, 0.99)) if usual.any() else (np.nan, np.nan)
    return Measurement(
        activation=row.name,
        dtype=dtype.name,
        function="f'" if slope else "f",
        points=z.size,
        worst=float(ulps[worst]),
        worst_at=float(z[worst]),
        median=float(spread[0]),
        most=float(spread[1]),
        units=float(units[most]),
        units_at=float(z[most]),
        stated=float(stated),
        given=float(given[most]),
        true=float(true.rounded()[most]),
        apart=int(apart.sum()),
        flushed=int((apart & nonzero & (given == 0)).sum()),
        nans=int(nan.sum()),
        nan_at=_find_nearest(z, nan),
        infinities=int(infinite.sum()),
        infinity_at=_find_nearest(z, infinite),
        curve=_make_curve(z, ulps, usual),
    )


def _make_curve(z: Array, ulps: Array, usual: Array) -> tuple[tuple[float, float], ...]:
    """[z, ulp] of the largest error in each half binade of each sign."""
    low, high = _CURVE
    at = np.flatnonzero(usual & (np.abs(z) >= 2.0**low) & (np.abs(z) < 2.0**high))
    place = np.copysign(np.floor(2 * np.log2(np.abs(z[at]))) - 2 * low + 1, z[at])
    worst = [max(at[place == one], key=lambda i: ulps[i]) for one in np.unique(place)]
    return tuple(sorted((float(z[i]), float(f"{ulps[i]:.3g}")) for i in worst))


def _compute_ulps(
    row: Activation, dtype: DType, slope: bool, z: Array, given: Array, true: Truth
) -> tuple[Array, Array]:
    """Errors in ulp, and the exponents of one ulp. The error is 0 for what is as right as the true value: an infinity
    where the true value overflows; anything between the one-sided derivatives where f' jumps; and f(0) or f'(0) where z
    is subnormal and may have been flushed.
    """
    ulps, place = true.ulps(given, dtype), true.place(dtype)
    ulps = np.where(true.overflows(dtype) & (given == true.sign * np.inf), 0.0, ulps)
    low = _is_subnormal(z, dtype)
    (zero,) = np.flatnonzero(z == 0)
    at_zero = true[np.full(z.size, zero)]
    ulps = np.where(low, np.minimum(ulps, np.ldexp(at_zero.ulps(given, dtype), at_zero.place(dtype) - place)), ulps)
    for kink in row.kinks if slope else ():
        ends = sorted((kink.left, kink.right))
        outside = np.maximum(np.maximum(ends[0] - given, given - ends[1]), 0)
        near = (np.abs(z - kink.point) <= kink.blur * dtype.u) | (low & (kink.point == 0))
        near &= outside <= np.ldexp(ulps, place)
        nearest = np.where(given > ends[1], ends[1], ends[0])
        there = np.maximum(np.frexp(nearest)[1] - precision(dtype), int(np.log2(dtype.subnormal)))
        ulps, place = np.where(near, np.ldexp(outside, -there), ulps), np.where(near, there, place)
    return ulps, place


def _is_subnormal(z: Array, dtype: DType) -> Array:
    return (np.abs(z) < dtype.tiny) & (z != 0)


def _compute_gain(row: Activation, dtype: DType, z: Array, tail: Array) -> Array:
    """The row's `underflow_gain`, which grows with |z|, limited to its largest value where f or f' is subnormal:
    further out they are 0, and nothing can be lost.
    """
    gain = row.underflow_gain(z)
    return np.minimum(gain, np.max(gain, where=tail & ~_is_subnormal(z, dtype), initial=np.min(gain)))


def _compute_units(ulps: Array, place: Array, dtype: DType, terms: Array, gain: Array) -> Array:
    """Errors in units of u times the terms, after `gain` times the smallest normal number is subtracted."""
    p = precision(dtype)
    over = np.maximum(np.ldexp(ulps, place + p) - np.ldexp(gain * dtype.tiny, p), 0)
    return np.where(over > 0, over / terms, 0.0)


def _find_largest(values: Array, counted: Array) -> int:
    """The index of the largest of the counted values."""
    return int(np.argmax(np.where(counted, values, -1)))


def _find_nearest(z: Array, where: Array) -> float | None:
    return float(z[np.argmin(np.where(where, np.abs(z), np.inf))]) if where.any() else None
