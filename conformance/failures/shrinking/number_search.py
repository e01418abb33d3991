"""Search for simpler numbers with which a call still fails: zeros, ones, and short decimals.

First whole arrays are replaced; then halves, quarters and so on of what is left are set to zero, down to single entries
(delta debugging: Zeller and Hildebrandt, IEEE TSE 28(2), 2002); then single entries get fewer digits.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ....reference import ACTIVATIONS, Array, Parameters, Structure, forward
from ...cases.exact_numbers import exact
from ...cases.regimes import REGIMES, Draw
from ..scripts.literals import format_number

_PASSES = 3

Fails = Callable[[Draw], bool]


def simplify(structure: Structure, regime: str, stack: Draw, fails: Fails) -> Iterator[Draw]:
    """Ever simpler stacks of numbers that still fail; each differs from the one before in one array. Exceptions from
    `fails` are passed on.

    A stack that has lost what its regime is about is not tried: exact numbers stay exact in any order of summation, and
    no pre-activation moves onto a kink, where another slope may be right.
    """
    search = _NumberSearch(structure, regime, stack, fails)
    for _ in range(_PASSES):
        before = search.current
        for step in (search.replace_arrays, search.zero_parts, search.shorten_entries):
            yield from step()
        if search.current is before:
            return


class _NumberSearch:
    """`current` is the simplest stack so far that fails."""

    def __init__(self, structure: Structure, regime: str, stack: Draw, fails: Fails) -> None:
        self._structure, self._fails = structure, fails
        self._dtype = structure.format.numpy
        self._is_exact = REGIMES[regime].rounding == "exact"
        self._at_kinks = _find_kinks(structure, stack)
        self.current = stack

    def replace_arrays(self) -> Iterator[Draw]:
        """Replace whole arrays by zeros, by ones, or by simpler numbers."""
        for i in range(len(_arrays(self.current))):
            array = self._array(i)
            for simpler in (np.zeros_like(array), np.ones_like(array), *(make(array) for make in _SIMPLIFICATIONS)):
                if self._accepts(i, simpler):
                    yield self.current
                    break

    def zero_parts(self) -> Iterator[Draw]:
        """Set parts of arrays to zero: halves first, single entries last."""
        for i, array in enumerate(_arrays(self.current)):
            parts = 2
            while parts < 2 * array.size:
                for part in np.array_split(np.arange(array.size), min(parts, array.size)):
                    simpler = self._array(i)
                    simpler.flat[part] = 0
                    if self._accepts(i, simpler):
                        yield self.current
                parts *= 2

    def shorten_entries(self) -> Iterator[Draw]:
        """Replace single entries by 1 or by simpler numbers."""
        for i, array in enumerate(_arrays(self.current)):
            for j in range(array.size):
                for make in (np.ones_like, *_SIMPLIFICATIONS):
                    simpler = self._array(i)
                    simpler.flat[j] = make(simpler.flat[j : j + 1])[0]
                    if self._accepts(i, simpler):
                        yield self.current
                        break

    def _array(self, i: int) -> Array:
        return _arrays(self.current)[i].astype(np.float64)

    def _accepts(self, i: int, simpler: Array) -> bool:
        """Whether the stack with another array i is simpler and still fails; then it is the current one."""
        arrays = _arrays(self.current)
        with np.errstate(over="ignore"):
            simpler = simpler.astype(self._dtype)
        if not np.isfinite(simpler.astype(np.float64)).all() or _length(simpler) >= _length(arrays[i]):
            return False
        stack = _with_arrays(self.current, [*arrays[:i], simpler, *arrays[i + 1 :]])
        if not self._keeps_regime(stack) or not self._fails(stack):
            return False
        self.current = stack
        return True

    def _keeps_regime(self, stack: Draw) -> bool:
        wide = stack.astype(np.dtype(np.float64))
        if self._is_exact and not exact(self._structure, wide.parameters, wide.x, wide.y).all():
            return False
        now = _find_kinks(self._structure, stack)
        return not any((new & ~old).any() for new, old in zip(now, self._at_kinks, strict=True))


def _find_kinks(structure: Structure, stack: Draw) -> list[Array]:
    """For each layer, a mask (draws, batch, width) of the pre-activations that lie exactly at a kink."""
    wide = stack.astype(np.dtype(np.float64))
    with np.errstate(all="ignore"):
        zs, _ = forward(structure.network, wide.parameters, wide.x)
    return [
        np.isin(z, [kink.point for kink in ACTIVATIONS[name].kinks])
        for z, name in zip(zs, structure.network.activations, strict=True)
    ]


def _arrays(stack: Draw) -> list[Array]:
    return [*stack.parameters.weights, *stack.parameters.biases, stack.x, stack.y]


def _with_arrays(stack: Draw, arrays: Sequence[Array]) -> Draw:
    depth = len(stack.parameters.weights)
    return Draw(Parameters(tuple(arrays[:depth]), tuple(arrays[depth:-2])), arrays[-2], arrays[-1], stack.dead)


def _length(array: Array) -> float:
    """The length of an array written down. A zero counts nothing; a minus sign counts half a digit, and of two numbers
    with as many digits the one nearer to 1 is shorter.
    """
    return sum(map(_entry_length, array.ravel()))


def _entry_length(value: np.generic) -> float:
    size = abs(float(value))
    if size == 0:
        return 0.0
    text = format_number(value).removesuffix(".0").lstrip("-")
    return len(text) + (0.5 if float(value) < 0 else 0.0) + min(abs(np.log2(size)), 99) / 1000


def _nearest_power_of_two(array: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.where(array == 0, 0.0, np.sign(array) * 2.0 ** np.rint(np.log2(np.abs(array))))


def _round_to_digits(count: int) -> Callable[[Array], Array]:
    def round_entries(array: Array) -> Array:
        return np.array([float(f"{value:.{count - 1}e}") for value in array.ravel()]).reshape(array.shape)

    return round_entries


def _halfway_to_one(array: Array) -> Array:
    """The square root of each magnitude, in one digit: halfway to 1 on a logarithmic scale."""
    return _round_to_digits(1)(np.sign(array) * np.sqrt(np.abs(array)))


_SIMPLIFICATIONS: Sequence[Callable[[Array], Array]] = (
    np.sign,
    np.rint,
    _nearest_power_of_two,
    _halfway_to_one,
    _round_to_digits(1),
    lambda array: np.rint(4 * array) / 4,
    _round_to_digits(2),
    _round_to_digits(3),
)
