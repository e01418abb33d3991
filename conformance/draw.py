"""Draws: the numbers put into a structure. Each regime is a function from a structure and a generator to a draw.

A draw is a function of the version of this module's numbers, the case id (structure, regime, seed, index) and nothing
else.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..reference import Array, Parameters, Structure, backpropagate
from .case import Case

NUMBERS = "1"
"""Raised when the same case id comes to mean other numbers."""

_TRIES = 16


@dataclass(frozen=True)
class Draw:
    """Parameters, inputs (B, n_0) and targets (B, n_n). As a stack, every array has one leading axis, a case an entry.

    `dead` marks, a case an entry, a draw that can show nothing: some weight gradient is all zero, or overflows.
    """

    parameters: Parameters
    x: Array
    y: Array
    dead: Array

    def __getitem__(self, i: int) -> "Draw":
        return Draw(_each(self.parameters, lambda a: a[i]), self.x[i], self.y[i], self.dead[i])

    def astype(self, dtype: np.dtype) -> "Draw":
        """The same numbers in another dtype."""
        return Draw(
            _each(self.parameters, lambda a: a.astype(dtype)), self.x.astype(dtype), self.y.astype(dtype), self.dead
        )


def _each(parameters: Parameters, change: Callable[[Array], Array]) -> Parameters:
    return Parameters(tuple(map(change, parameters.weights)), tuple(map(change, parameters.biases)))


def _normal(structure: Structure, rng: np.random.Generator) -> Draw:
    """Gaussian numbers, weights scaled by 1/sqrt(fan-in) and by a gain that differs from draw to draw."""
    network, batch = structure.network, structure.batch
    gain = 2.0 ** rng.integers(-1, 2)
    widths = network.widths
    weights = tuple(rng.normal(size=pair) * gain / pair[0] ** 0.5 for pair in itertools.pairwise(widths))
    biases = () if network.bias == "none" else tuple(rng.normal(size=n) / 2 for n in widths[1:])
    x, y = rng.normal(size=(batch, widths[0])), rng.normal(size=(batch, widths[-1]))
    return Draw(Parameters(weights, biases), x, y, np.zeros((), bool))


def _degenerate(structure: Structure, rng: np.random.Generator) -> Draw:
    """Plain, with all rows equal, or with half of the rows zero, in equal parts."""
    drawn = _normal(structure, rng)
    kind = rng.integers(3)
    x, y = drawn.x, drawn.y
    if kind == 1 and structure.batch:
        x, y = np.repeat(x[:1], structure.batch, 0), np.repeat(y[:1], structure.batch, 0)
    elif kind == 2:
        x = np.where(np.arange(structure.batch)[:, None] % 2 == 1, 0.0, x)
    return Draw(drawn.parameters, x, y, drawn.dead)


REGIMES: dict[str, Callable[[Structure, np.random.Generator], Draw]] = {
    "normal": _normal,
    "square": _normal,
    "degenerate": _degenerate,
    "strided": _normal,
    "layout": _normal,
}
"""The regimes by name; "layout" holds the probes that prove an adapter's declared weight layout before all else."""


def draw(cases: Sequence[Case]) -> Draw:
    """The stacked draws of cases that share a structure and a regime, in the structure's dtype.

    A draw that can show nothing (a dead network, an overflow) is drawn again, and marked dead when no try is better.
    """
    drawn = [_attempt(case, 0) for case in cases]
    dead = _dead(cases[0].structure, _stack(drawn))
    for attempt in range(1, _TRIES):
        again = [i for i in range(len(cases)) if dead[i]]
        if not again or not cases[0].structure.batch:
            break
        fresh = [_attempt(cases[i], attempt) for i in again]
        still = _dead(cases[0].structure, _stack(fresh))
        for i, new, bad in zip(again, fresh, still, strict=True):
            drawn[i], dead[i] = new, bad
    stack = _stack(drawn)
    dtype = cases[0].structure.format.numpy
    return Draw(stack.parameters, stack.x, stack.y, dead & bool(cases[0].structure.batch)).astype(dtype)


def _attempt(case: Case, attempt: int) -> Draw:
    digest = hashlib.blake2b(f"{NUMBERS}/{case.id}/{attempt}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    drawn = REGIMES[case.regime](case.structure, rng)
    # Rounded to the format under test, so that inputs carry no error, and widened again for the oracle.
    return drawn.astype(case.structure.format.numpy).astype(np.dtype(np.float64))


def _stack(draws: Sequence[Draw]) -> Draw:
    def stacked(*arrays: Array) -> Array:
        return np.stack(arrays)

    weights = tuple(map(stacked, *(d.parameters.weights for d in draws)))
    biases = tuple(map(stacked, *(d.parameters.biases for d in draws)))
    return Draw(
        Parameters(weights, biases),
        stacked(*(d.x for d in draws)),
        stacked(*(d.y for d in draws)),
        stacked(*(d.dead for d in draws)),
    )


def _dead(structure: Structure, stack: Draw) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        answer = backpropagate(structure.network, stack.parameters, stack.x, stack.y)
    largest = np.array([np.abs(g).max((-2, -1)) for g in answer.weight_gradients])
    activity = np.array([np.abs(x).max((-2, -1), initial=0) for x in (*answer.z, *answer.x)])
    limit = structure.format.max / 64
    return (largest == 0).any(0) | ~(largest < limit).all(0) | ~(activity < limit).all(0) | ~(answer.error < limit)


def present(regime: str, parameters: Parameters, x: Array, y: Array) -> tuple[Parameters, Array, Array]:
    """The arrays as an adapter is to meet them: in the strided regime non-contiguous, Fortran-ordered, reversed,
    read-only.
    """
    if regime != "strided":
        return parameters, x, y
    ways = (np.asfortranarray, _gapped, _reversed, _read_only)
    counter = iter(range(10_000))

    def odd(array: Array) -> Array:
        return ways[next(counter) % len(ways)](array)

    return _each(parameters, odd), odd(x), odd(y)


def _gapped(array: Array) -> Array:
    return np.repeat(array, 2, axis=-1)[..., ::2]


def _reversed(array: Array) -> Array:
    return array[..., ::-1].copy()[..., ::-1]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy
