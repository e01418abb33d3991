"""Simpler numbers: those of a failing call, made 0, 1 or short, as long as it goes on failing.

First whole arrays, then what is left of them in halves, quarters and so on down to single entries made zero (as delta
debugging does: Zeller and Hildebrandt, IEEE TSE 28(2), 2002), then single entries in fewer digits.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ....reference import ACTIVATIONS, Array, Parameters, Structure, forward
from ...cases.exact_numbers import exact
from ...cases.regimes import REGIMES, Draw
from ..scripts.literals import number

_PASSES = 3

Fails = Callable[[Draw], bool]


def simplified(structure: Structure, regime: str, stack: Draw, fails: Fails) -> Iterator[Draw]:
    """Ever simpler stacks of numbers that still fail, each a step from the one before. What `fails` raises is let
    through.

    A step is not asked for where it would take from the numbers what their regime is about: where numbers are exact
    they stay exact in any order of summation, and a pre-activation that is at no kink is not moved to one, where
    another slope may be right.
    """
    search = _Search(structure, regime, stack, fails)
    for _ in range(_PASSES):
        before = search.current
        for step in (search.whole, search.sparse, search.short):
            yield from step()
        if search.current is before:
            return


class _Search:
    """The arrays of the simplest stack so far, and what is asked of another."""

    def __init__(self, structure: Structure, regime: str, stack: Draw, fails: Fails) -> None:
        self._structure, self._fails = structure, fails
        self._dtype = structure.format.numpy
        self._is_exact = REGIMES[regime].rounding == "exact"
        self._at_kinks = _at_kinks(structure, stack)
        self.current = stack

    def whole(self) -> Iterator[Draw]:
        """Whole arrays of one kind of number."""
        for i in range(len(_arrays(self.current))):
            array = self._array(i)
            for simpler in (np.zeros_like(array), np.ones_like(array), *(make(array) for make in _SIMPLER)):
                if self._accepts(i, simpler):
                    yield self.current
                    break

    def sparse(self) -> Iterator[Draw]:
        """Parts of arrays zero: halves first, and entries last."""
        for i, array in enumerate(_arrays(self.current)):
            parts = 2
            while parts < 2 * array.size:
                for some in np.array_split(np.arange(array.size), min(parts, array.size)):
                    simpler = self._array(i)
                    simpler.flat[some] = 0
                    if self._accepts(i, simpler):
                        yield self.current
                parts *= 2

    def short(self) -> Iterator[Draw]:
        """Single entries in fewer digits."""
        for i, array in enumerate(_arrays(self.current)):
            for j in range(array.size):
                for make in (np.ones_like, *_SIMPLER):
                    simpler = self._array(i)
                    simpler.flat[j] = make(simpler.flat[j : j + 1])[0]
                    if self._accepts(i, simpler):
                        yield self.current
                        break

    def _array(self, i: int) -> Array:
        return _arrays(self.current)[i].astype(np.float64)

    def _accepts(self, i: int, simpler: Array) -> bool:
        """Take another i-th array, where it is simpler and the stack with it still fails."""
        arrays = _arrays(self.current)
        with np.errstate(over="ignore"):
            simpler = simpler.astype(self._dtype)
        if not np.isfinite(simpler.astype(np.float64)).all() or _length(simpler) >= _length(arrays[i]):
            return False
        stack = _with(self.current, [*arrays[:i], simpler, *arrays[i + 1 :]])
        if not self._keeps(stack) or not self._fails(stack):
            return False
        self.current = stack
        return True

    def _keeps(self, stack: Draw) -> bool:
        wide = stack.astype(np.dtype(np.float64))
        if self._is_exact and not exact(self._structure, wide.parameters, wide.x, wide.y).all():
            return False
        now = _at_kinks(self._structure, stack)
        return not any((new & ~old).any() for new, old in zip(now, self._at_kinks, strict=True))


def _at_kinks(structure: Structure, stack: Draw) -> list[Array]:
    """Of each layer, which pre-activations lie exactly at a kink."""
    wide = stack.astype(np.dtype(np.float64))
    with np.errstate(all="ignore"):
        zs, _ = forward(structure.network, wide.parameters, wide.x)
    return [
        np.isin(z, [kink.point for kink in ACTIVATIONS[name].kinks])
        for z, name in zip(zs, structure.network.activations, strict=True)
    ]


def _arrays(stack: Draw) -> list[Array]:
    return [*stack.parameters.weights, *stack.parameters.biases, stack.x, stack.y]


def _with(stack: Draw, arrays: Sequence[Array]) -> Draw:
    depth = len(stack.parameters.weights)
    return Draw(Parameters(tuple(arrays[:depth]), tuple(arrays[depth:-2])), arrays[-2], arrays[-1], stack.dead)


def _length(array: Array) -> float:
    """How long an array is to write: no zeros, few digits; of equals with fewer signs, and numbers nearer to 1."""
    return sum(map(_length_of, array.ravel()))


def _length_of(value: np.generic) -> float:
    size = abs(float(value))
    if size == 0:
        return 0.0
    text = number(value).removesuffix(".0").lstrip("-")
    return len(text) + (0.5 if float(value) < 0 else 0.0) + min(abs(np.log2(size)), 99) / 1000


def _powers(array: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.where(array == 0, 0.0, np.sign(array) * 2.0 ** np.rint(np.log2(np.abs(array))))


def _digits(count: int) -> Callable[[Array], Array]:
    def rounded(array: Array) -> Array:
        return np.array([float(f"{value:.{count - 1}e}") for value in array.ravel()]).reshape(array.shape)

    return rounded


def _nearer(array: Array) -> Array:
    """Halfway to 1, by magnitude, in one digit."""
    return _digits(1)(np.sign(array) * np.sqrt(np.abs(array)))


_SIMPLER: Sequence[Callable[[Array], Array]] = (
    np.sign, np.rint, _powers, _nearer, _digits(1), lambda a: np.rint(4 * a) / 4, _digits(2), _digits(3),
)  # fmt: skip
