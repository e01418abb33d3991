"""What a hostile program is: its name, what it changes in the honest one, and the verdict that is due."""

from collections.abc import Callable
from dataclasses import dataclass

from .honest import Honest


@dataclass(frozen=True)
class Kind:
    """One kind of hostile program.

    `verdict` is what the suite must find: `load` (an adapter that cannot be loaded), `died`, `hung`, `broke the
    protocol` or `raised` (no answer to a call), `problems` (an answer of the wrong form), `wrong` (an answer of the
    right form with wrong numbers) or `right` (odd, and yet within the protocol). `words` stand in the message. One that
    is `slow` costs more than a second and runs in the heavy script alone.
    """

    name: str
    verdict: str
    words: str
    change: Callable[[Honest], None]
    is_slow: bool = False
