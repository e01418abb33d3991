"""The normwise reading of a comparison: the norm of the error of a tensor against the norm of its tolerance.

The tolerance of an entry is κσ + J (docs/tolerances.md). The normwise error of an entry is how far it lies outside the
values within J, which are all right, and its normwise tolerance is κ times the larger of σ and of one rounding of
the entry. A tensor within tolerance componentwise is therefore within tolerance normwise, and a jump hides nothing.
"""

from dataclasses import dataclass

import numpy as np

from ....reference import Array
from ....reference.propagation import Quantity
from ....reference.rounding import Reading

_SYMBOLS_WITH_Z = "xk"


@dataclass(frozen=True)
class Norms:
    """The normwise reading of one quantity of D observations, with arrays of shape (D,) and (D, 2).

    `normwise` is the norm of the error in units of the norm of the tolerance, and `relative` in units of the norm of
    the tensor; both are infinite if that norm is 0 and the error is not. `region` holds the least and the greatest
    pre-activation of the entries above their tolerance; NaN if there are none, or if no pre-activation belongs to an
    entry.
    """

    normwise: Array
    relative: Array
    region: Array

    def region_of(self, i: int) -> tuple[float, float] | None:
        """The region of observation `i`; None if it has none."""
        low, high = (float(end) for end in self.region[i])
        return None if np.isnan(low) else (low, high)


@dataclass(frozen=True)
class Inputs:
    """The values that a quantity was computed from, as the framework shows them, else as the rule has them: z_i (D, B,
    n_i) and x_{i-1} (D, B, n_{i-1}) of its layer; None for E, which has no layer.
    """

    z: Array | None = None
    x: Array | None = None


def measure_norms(step: Quantity, observed: Array, ratio: Array, reading: Reading, inputs: Inputs) -> Norms:
    """The normwise reading of `observed` (D, ...) against a quantity of the rule.

    `ratio` is the error of each entry in units of its tolerance; where it is 0, the entry is right. `reading` is the
    reading of the quantity's errors.
    """
    value = step.estimate.value
    error, tolerance = _normwise_entries(step, observed, ratio, reading)
    size = np.where(np.isfinite(value), value, 0.0)
    return Norms(ratio_of_norms(error, tolerance), ratio_of_norms(error, size), _region(step, ratio > 1, inputs))


def _normwise_entries(step: Quantity, observed: Array, ratio: Array, reading: Reading) -> tuple[Array, Array]:
    """Normwise error and tolerance of each entry; an entry for which any value is right has neither."""
    value, jump = step.estimate.value, step.estimate.jump
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(observed - value)
        error = np.where(ratio == 0, 0.0, error if jump is None else np.maximum(error - jump, 0.0))
        # A sum that rounds nothing has σ = 0. Its norm is still known to one rounding only: the reading asks how large
        # an error is, and not whether the sum was exact.
        sigma = np.maximum(reading.format.u * np.abs(value), reading.format.subnormal)
        if step.estimate.error is not None:
            sigma = np.maximum(sigma, step.estimate.error)
        free = ~np.isfinite(value) | np.isinf(sigma) | (np.isinf(observed) & (ratio == 0))
        return error, np.where(free, 0.0, reading.kappa * sigma)


def ratio_of_norms(a: Array, b: Array) -> Array:
    """The 2-norm of each tensor of a stack `a` (D, ...) divided by that of `b`, without overflow in between.

    It is 0 if the first norm is 0, and infinite if only the second is, or if `a` holds a NaN or an infinity.
    """
    (norm_a, scale_a), (norm_b, scale_b) = (_scaled_norm(np.abs(array).reshape(len(array), -1)) for array in (a, b))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = norm_a / norm_b * (scale_a / scale_b)
    return np.where(norm_a == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


def _scaled_norm(a: Array) -> tuple[Array, Array]:
    """Norm and scale of each row of nonnegative numbers: their product is its 2-norm."""
    scale = np.maximum(a.max(1, initial=0.0), np.finfo(np.float64).tiny)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.square(a / scale[:, None]).sum(1)), scale


def _region(step: Quantity, departs: Array, inputs: Inputs) -> Array:
    """The least and the greatest z of the entries that depart, (D, 2).

    An entry of x_i or k_i belongs to that of z_i. An entry (j, k) of dE/dW_i belongs to z_i[b, k] if each row b of
    x_{i-1} selects one row of W_i, and row b selects j.
    """
    none = np.full((len(departs), 2), np.nan)
    if inputs.z is None:
        return none
    if step.symbol in _SYMBOLS_WITH_Z:
        mask = departs
    elif step.symbol == "W" and inputs.x is not None:
        ones, zeros = (np.equal(inputs.x, n) for n in (1, 0))
        selects = ((ones | zeros).all(2) & (ones.sum(2) == 1)).all(1).reshape(-1, 1, 1)
        mask = (ones.astype(float) @ departs.astype(float) > 0) & selects
    else:
        return none
    if not mask.size:
        return none
    flat, z = mask.reshape(len(mask), -1), inputs.z.reshape(len(mask), -1)
    low, high = np.where(flat, z, np.inf).min(1), np.where(flat, z, -np.inf).max(1)
    return np.where(flat.any(1, keepdims=True), np.stack([low, high], 1), np.nan)
