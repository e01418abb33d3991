"""Draws: the numbers of a case. They depend on the version of the numbers (`NUMBERS`) and on the case id only."""

import hashlib
from collections.abc import Sequence

import numpy as np

from ...reference import Array, Parameters, Structure, backpropagate
from .case import Case
from .memory import ODD, WAYS, arrange, first_way
from .regimes import REGIMES, Draw

NUMBERS = "3"
"""Raised when the same case id stands for other numbers than before."""

_KEY = "1"
"""A part of the generator's key. It stays when `NUMBERS` is raised, so that draws of unchanged regimes stay too."""

_TRIES = 16
_TURNS = 64
"""The most numbers that are tried until the inputs say what they should; an empty batch says the same always."""


def make_draws(cases: Sequence[Case]) -> Draw:
    """The stacked draws of cases that share a structure and a regime, in the structure's dtype.

    A draw that can show nothing (a dead network, an overflow) is drawn again, up to a fixed number of times. If no try
    is better, it is marked dead.
    """
    structure, regime = cases[0].structure, REGIMES[cases[0].regime]
    drawn = [_attempt(case, 0) for case in cases]
    unfit, mute = _trouble(structure, stacked(drawn))
    for attempt in range(1, _TRIES):
        again = [i for i in range(len(cases)) if unfit[i] or mute[i]]
        if not again or not structure.batch:
            break
        fresh = [_attempt(cases[i], attempt) for i in again]
        for i, new, bad, quiet in zip(again, fresh, *_trouble(structure, stacked(fresh)), strict=True):
            if unfit[i] or not bad:
                drawn[i], unfit[i], mute[i] = new, bad, quiet
    stack = stacked(drawn)
    dead = unfit | (mute & (not regime.dead_is_expected))
    return Draw(stack.parameters, stack.x, stack.y, dead & bool(structure.batch)).astype(structure.format.numpy)


def _attempt(case: Case, attempt: int) -> Draw:
    digest = hashlib.blake2b(f"{_KEY}/{case.id}/{attempt}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    regime, format_ = REGIMES[case.regime], case.structure.format.numpy
    drawn = regime.make_numbers(case.structure, case.draw, rng).astype(format_)
    for _ in range(_TURNS * regime.odd_arrays):
        # The inputs say how arrays lie in memory. So each array of a structure lies in every way in four draws.
        if first_way(drawn.x) == case.draw % WAYS:
            break
        drawn = regime.make_numbers(case.structure, case.draw, rng).astype(format_)
    # Rounded to the format under test, so that inputs carry no error, then widened for the oracle.
    return drawn.astype(np.dtype(np.float64))


def stacked(draws: Sequence[Draw]) -> Draw:
    """Draws of one structure as a stack: every array has one more leading axis."""

    def stack(*arrays: Array) -> Array:
        return np.stack(arrays)

    weights = tuple(map(stack, *(d.parameters.weights for d in draws)))
    biases = tuple(map(stack, *(d.parameters.biases for d in draws)))
    return Draw(
        Parameters(weights, biases),
        stack(*(d.x for d in draws)),
        stack(*(d.y for d in draws)),
        stack(*(d.dead for d in draws)),
    )


def _trouble(structure: Structure, stack: Draw) -> tuple[Array, Array]:
    """Two arrays with one entry a case: whether the draw is unfit (its regime says so, or it is near overflow), and
    whether some weight gradient is all zero.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        answer = backpropagate(structure.network, stack.parameters, stack.x, stack.y)
    largest = np.array([np.abs(g).max((-2, -1), initial=0) for g in answer.weight_gradients])
    activity = np.array([np.abs(x).max((-2, -1), initial=0) for x in (*answer.z, *answer.x)])
    # Where a layer has no units, gradients that are zero or empty are what a case is about.
    mute = (largest == 0).any(0) & (0 not in structure.network.widths)
    limit = structure.format.max / 64
    overflows = ~(largest < limit).all(0) | ~(activity < limit).all(0) | ~(answer.error < limit)
    return stack.dead | overflows, mute


def memory_of(regime: str) -> str | None:
    """How the arrays of a regime's calls lie in memory, as `arrange` takes it."""
    return ODD if REGIMES[regime].odd_arrays else None


def present_arrays(regime: str, parameters: Parameters, x: Array, y: Array) -> tuple[Parameters, Array, Array]:
    """Copies of the arrays as an adapter receives them. In a regime of odd arrays they are Fortran-ordered,
    non-contiguous, reversed or read-only, in turn. The inputs say which of these the first array is.
    """
    return arrange(memory_of(regime), parameters, x, y)


__all__ = ["NUMBERS", "REGIMES", "Draw", "make_draws", "memory_of", "present_arrays", "stacked"]
