"""Which tensors of a layer have errors of their own, and which only repeat those of another step.

Bias and spread are judged from many tensors, whose errors are taken as independent. A step on the same batch, with
weights that changed by less than their format holds, repeats the errors of the step before: it says nothing new, and
many such steps would make any error look certain.
"""

from collections.abc import Sequence

import numpy as np

from .....reference import Array

MOST_SHOWN = 256
"""The entries of a tensor whose errors are compared."""
_LEAST_LIKENESS = 0.5
"""From this correlation on, errors are taken as repeated. Of independent ones it is 0 ± 1/√n for n entries."""
_SIGMAS = 5.0
_FEW = 12
"""Of fewer entries, errors are repeated only if they are the same numbers."""


def show_errors(errors: Array, signs: Array) -> Array:
    """Errors (n,) in σ as a vector of length 1, to be compared with those of the same entries of another step; zeros if
    there are none. A few errors are shown as they are.

    `signs` (n,) are those of the values. The mean error, and the mean away from zero, are taken out: a bias shows in
    every step, and must not make steps look like repetitions.
    """
    if errors.size < _FEW:
        return errors
    basis = np.stack([np.ones_like(signs), signs], axis=1)
    rest = errors - basis @ np.linalg.lstsq(basis, errors, rcond=None)[0]
    length = float(np.linalg.norm(rest))
    return rest / length if length > 1e-9 * float(np.linalg.norm(errors)) else np.zeros_like(rest)


def find_repeated(shown: Sequence[Array]) -> list[bool]:
    """For each of some tensors whether its errors repeat those of one before it that does not."""
    kept: dict[int, list[Array]] = {}
    found = []
    for one in shown:
        others = kept.setdefault(one.size, [])
        if one.size < _FEW:
            found.append(bool(one.any()) and any(np.array_equal(one, other) for other in others))
        else:
            # The fewer entries, the larger a correlation may be by chance.
            limit = max(_LEAST_LIKENESS, min(0.99, _SIGMAS / one.size**0.5))
            found.append(bool(others) and bool((np.stack(others) @ one).max() > limit))
        if not found[-1]:
            others.append(one)
    return found
