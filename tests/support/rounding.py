"""Formats, readings, and departures in units of a tolerance, for the tests of rounding errors."""

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, DTYPES, Array, DType
from kterm.reference.rounding import Estimate, Reading, bound, deviation

F32, F64 = DTYPES["f32"], DTYPES["f64"]
WIDER = np.finfo(np.longdouble).nmant > 52
needs_longdouble = pytest.mark.skipif(not WIDER, reason="longdouble is no wider than float64 here")
FORMATS = [pytest.param(F32, id="f32"), pytest.param(F64, id="f64", marks=needs_longdouble)]
ROWS = list(ACTIVATIONS.values())
BLIND = 0.05
"""If a typical tensor's largest error is below this many standard deviations, the deviation is too large."""


def rounded(values: Array, format_: DType) -> Array:
    """The nearest numbers of the format, as float64."""
    return values.astype(format_.numpy).astype(np.float64)


def inherited(values: Array, reading: Reading) -> Estimate:
    """The estimate of values that a framework has rounded to the format."""
    return Estimate(values, reading.u * np.abs(values))


def held(values: Array, f: DType, rng: np.random.Generator) -> Array:
    """`values` as a framework has them: rounded to the format.

    In float64 the oracle's own values are rounded too, so each number may also be one of the neighbours.
    """
    near = values.astype(f.numpy)
    return near if f is F32 else np.nextafter(near, rng.choice([-np.inf, np.inf], values.shape) * near)


def excess(estimate: Estimate, computed: Array, reading: Reading) -> Array:
    """Departures in units of the tolerance, elementwise; 0 where the values are equal."""
    departure = np.abs(computed.astype(np.longdouble) - estimate.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(departure == 0, 0, departure / estimate.tolerance(reading)).astype(np.float64)


READINGS = [
    pytest.param(reading(f), id=f"{reading.__name__}-{f.name}") for reading in (bound, deviation) for f in (F32, F64)
]
