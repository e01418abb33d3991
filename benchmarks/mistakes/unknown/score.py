"""Planting each mistake, and what the first cause of a report says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kterm.conformance.diagnosis.causes import Cause
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

_ALL: tuple[Mistake, ...] = (
    *ACTIVATION_MISTAKES,
    *TAIL_MISTAKES,
    *LOSS_MISTAKES,
    *LAYER_MISTAKES,
    *BATCH_MISTAKES,
    *PRECISION_MISTAKES,
    *STATE_MISTAKES,
    *TORCH_MISTAKES,
)
MISTAKES_BY_NAME: dict[str, Mistake] = {one.name: one for one in _ALL}
"""Every mistake of the set."""

READ_LATER: dict[str, str] = {
    "softplus-slope-of-output": "f' applied at the activation",
    "softsign-slope-of-output": "f' applied at the activation",
    "hard-sigmoid-never-flat": "f' applied at the activation",
    "loss-scale-kept": "dE/dW 1024 times",
    "residual-times-outputs": "dE/dW .*the number of outputs",
    "batch-less-one": "residual 1/\\d+ of what it should be$",
    "gelu-without-density": "Φ\\(z\\) alone",
    "celu-slope-scaled": "alpha times too much",
    "selu-slope-from-output": "scale \\(f \\+ alpha\\)",
    "softsign-slope": "1/\\(1 \\+ \\|z\\|\\) for its square",
    "softplus-cut": "0 below a limit between -(1[7-9]|[2-9]\\d)\\S* and -1[0-7]",
    "deltas-clipped": "each k_i held between ±1$",
    "gradients-part-in-million": "dE/dW \\(1 \\+ (9\\.\\d+e-07|1e-06)\\) times",
    "torch-softplus-beta": "softplus with β = 2",
    "frozen-first": "no gradient passed back to the first layer",
}
"""What was found true of a mistake only when a report was read, and had not been accepted before. Counted apart.

The two slopes of outputs were to be accepted, and the pattern missed the words. hard_sigmoid(z) lies in [0, 1], where
its derivative is 1/6: taken there, it is 1/6 everywhere. Where k is hidden, a factor on the residual is one on dE/dW.
And 1 / (B - 1) is such a number in each case that it is said of.

From "gelu-without-density" on, each says what is wrong in words that the patterns did not foresee, or that no name was
foreseen for.
"""

Outcome = Literal["right", "right as read", "wrong", "unnamed", "in words", "not caught"]
"""What a report says first: it names the mistake, as accepted beforehand or as read later, or another; it names none; a
finding says in words what it saw (an input was modified, other bits for the same call); nothing failed.
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
    found = results.causes
    if not found:
        # The run as a whole may show what no case shows.
        outcome = "unnamed" if results.failures else "not caught"
        says = _printed_first(results) if results.failures else ""
        return Score(one.name, shown, outcome, len(results.verdicts), failing, 0, says=says)
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


def score_named(name: str, shown: bool, profile: str, seed: int, structures: int | None) -> Score:
    """`score` of the mistake that has this name: what holds a mistake cannot be pickled."""
    return score(MISTAKES_BY_NAME[name], shown, profile, seed, structures)


def _outcome(one: Mistake, first: Cause, names: Sequence[str]) -> Outcome:
    if names:
        if any(re.search(pattern, name) for pattern in one.accepted for name in names):
            return "right"
        later = READ_LATER.get(one.name)
        return "right as read" if later and any(re.search(later, name) for name in names) else "wrong"
    return "in words" if first.worst.message else "unnamed"


def _printed_first(results: Results) -> str:
    """The lines of the first cause as a report prints it, without the commands."""
    first = str(results).split("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if not line.startswith("  kterm "))
