"""Directions of rounding, in exact integers, and which of them explain what was observed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

Sums = tuple[Fraction | None, ...]
"""What was observed, or is due, in one place: exact numbers, or None for one that is not finite."""


def _down(value: Fraction) -> int:
    return value.numerator // value.denominator


def _nearest(value: Fraction, tie: Callable[[int], bool]) -> int:
    """The nearest integer; at a tie the upper one, if `tie` accepts the lower one."""
    low = _down(value)
    rest = value - low
    return low + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and tie(low)))


DIRECTIONS: Mapping[str, Callable[[Fraction], int]] = {
    "nearest": lambda value: _nearest(value, lambda low: low % 2 == 1),
    "nearest, ties away": lambda value: _nearest(value, lambda low: low >= 0),
    "toward zero": lambda value: _down(abs(value)) * (1 if value > 0 else -1),
    "up": lambda value: -_down(-value),
    "down": _down,
}
"""How a number becomes an integer, by the name of the direction."""

UNKNOWN = "unknown"


def round_to(value: Fraction, bits: int, direction: str) -> Fraction:
    """A number rounded to a significand of `bits`, in a direction of DIRECTIONS."""
    if not value:
        return Fraction(0)
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (exponent - bits + 1)
    return DIRECTIONS[direction](value / step) * step


def find_direction(observed: Sequence[Sums], due: Callable[[str], Iterable[Sums]], others: tuple[str, ...] = ()) -> str:
    """The direction of DIRECTIONS (or of `others`) under which everything that was observed is due; "unknown" if there
    is none or more than one. `due` gives what is due under a direction, in the order of what was observed.
    """
    fitting = [name for name in (*DIRECTIONS, *others) if list(due(name)) == list(observed)]
    return fitting[0] if len(fitting) == 1 else UNKNOWN
