"""Planting each mistake, and what the first cause of a report says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kterm.conformance.diagnosis.causes import Cause, causes
from kterm.conformance.interfaces.api import Results, check_adapter

from .activations import ACTIVATION_MISTAKES
from .batches import BATCH_MISTAKES
from .layers import LAYER_MISTAKES
from .losses import LOSS_MISTAKES
from .mistake import Mistake
from .precision import PRECISION_MISTAKES
from .state import STATE_MISTAKES
from .tails import TAIL_MISTAKES
from .torch_functions import TORCH_MISTAKES

MISTAKES: tuple[Mistake, ...] = (
    *ACTIVATION_MISTAKES,
    *TAIL_MISTAKES,
    *LOSS_MISTAKES,
    *LAYER_MISTAKES,
    *BATCH_MISTAKES,
    *PRECISION_MISTAKES,
    *STATE_MISTAKES,
    *TORCH_MISTAKES,
)
"""Every mistake of the set."""

Outcome = Literal["right", "wrong", "unnamed", "in words", "not caught"]
"""What a report says first: it names the mistake, or another; it names none; a finding says in words what it saw (an
input was modified, other bits for the same call); nothing failed.
"""

PRINTED = 3
"""How many mistakes of a cause a report prints."""


@dataclass(frozen=True)
class Score:
    """What a report says of one mistake. `says` is the first cause as it is printed, and `names` are the mistakes that
    it gives.
    """

    mistake: str
    shown: bool
    outcome: Outcome
    cases: int
    failing: int
    causes: int
    names: tuple[str, ...] = ()
    says: str = ""


def score(one: Mistake, shown: bool, profile: str = "quick", seed: int = 0, structures: int | None = None) -> Score:
    """Plant a mistake, check the adapter, and hold the first cause against what is accepted.

    `structures` limits how many structures are run, spread over the regimes; None is all. A mistake that these do not
    catch goes through all of them.
    """
    adapter = one.make(shown)
    adapter.max_structures = structures
    results = check_adapter(adapter, profile=profile, seed=seed, dtypes=one.dtypes)
    if not results.failures and structures is not None:
        return score(one, shown, profile, seed)
    failing = sum(any(v.fails for v in some) for some in results.verdicts.values())
    found = causes((results.adapter.name, some) for some in results.verdicts.values())
    if not found:
        return Score(one.name, shown, "not caught", len(results.verdicts), failing, 0)
    first = found[0]
    names = tuple(f"{e.name}: {e.mistake}" for e in first.mistakes[:PRINTED])
    return Score(
        one.name,
        shown,
        _outcome(one, first, names),
        len(results.verdicts),
        failing,
        len(found),
        names,
        _printed_first(results),
    )


def _outcome(one: Mistake, first: Cause, names: Sequence[str]) -> Outcome:
    if names:
        is_true = any(re.search(pattern, name) for pattern in one.accepted for name in names)
        return "right" if is_true else "wrong"
    return "in words" if first.worst.message else "unnamed"


def _printed_first(results: Results) -> str:
    """The lines of the first cause as a report prints it, without the commands."""
    first = str(results).split("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if not line.startswith("  kterm "))
