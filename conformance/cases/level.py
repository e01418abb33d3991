"""What a run requires of a tensor: see docs/tolerances.md#two-readings-of-a-tensor."""

from typing import Literal, get_args

Level = Literal["componentwise", "normwise"]
"""Each entry within its own tolerance, or the norm of the error within the norm of the tolerance."""
LEVELS: tuple[Level, ...] = get_args(Level)


def parse_level(name: object) -> Level:
    """The level of this name. Raises ValueError, naming those that are known."""
    known: dict[object, Level] = {level: level for level in LEVELS}
    if name not in known:
        raise ValueError(f"level {name!r}; known are {', '.join(LEVELS)}")
    return known[name]
