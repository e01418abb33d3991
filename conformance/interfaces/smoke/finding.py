"""What `kterm smoke` says is wrong, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Whose = Literal["adapter", "either"]
"""Whose mistake it is: the adapter's, or that of the adapter or of the framework, if what was seen cannot say."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what was observed, in lines, and what to do.

    For a mistake of the adapter `advice` is a fix. If the framework may have made it, `advice` says what to look at.
    `case` is the smallest case that shows it, empty if none does, and `cases` says in how many it was seen.
    """

    whose: Whose
    seen: tuple[str, ...]
    advice: str
    case: str = ""
    cases: int = 0
    name: str = ""
    """The mistake's name in the diagnosis, or that of the rule that gave the advice."""


@dataclass(frozen=True)
class Advice:
    """What to do about a kind of finding, and whose mistake it is."""

    whose: Whose
    text: str
