"""Failures: the call of a case that fails, and what is wrong with it. A script is written from this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays
from ....reference import Array, Structure
from ....reference.arithmetic import Arithmetic
from ....reference.rounding import Conventions
from ...cases.regimes import Draw
from ..histories.history import History

Kind = Literal["numbers", "sum", "repeat", "overwritten", "inputs", "form", "raised", "programs", "layout"]
"""What is wrong:

- numbers: a quantity departs from the rule;
- sum: the gradients of the parts of a batch do not add up to the gradient of the batch;
- repeat: the same call gives other bits when it is repeated;
- overwritten: a later call changes arrays that an earlier call returned;
- inputs: a call modifies its inputs;
- form: an array has the wrong shape or dtype;
- raised: the program raises, hangs or dies;
- programs: programs of several structures influence each other;
- layout: the weights are laid out otherwise than declared.
"""


@dataclass(frozen=True)
class PlantedMistake:
    """A mistake that was planted in a framework's results on purpose.

    `text` completes "the rule with ...". `addends` are what the mistake adds to each quantity that it changes, by name,
    as float64 arrays; inputs have the names x_0, y, W_1, b_1.
    """

    text: str
    addends: Mapping[str, Array]


def compute_addends(text: str, right: Observation, wrong: Observation) -> PlantedMistake:
    """The planted mistake, given a call's results without it and with it."""
    pairs = {name: (a.astype(np.float64), arrays(wrong)[name].astype(np.float64)) for name, a in arrays(right).items()}
    with np.errstate(invalid="ignore"):
        return PlantedMistake(text, {name: b - a for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()})


@dataclass(frozen=True)
class Failure:
    """One call that fails.

    `draw` holds its numbers (a single draw, in the structure's dtype), and `observation` its results, None if it
    returned none. `quantity` is the quantity that departs, empty for kinds other than "numbers" and "sum"; `message` is
    what the verdict says in words. `case` is the id of the case that the numbers come from. `parts` are the numbers of
    the two calls for the parts of the batch, in the kind "sum".

    `history` holds the programs and calls that a new process needs to show the failure, the failing call last; None if
    the call alone shows it. `is_repeatable` is false if the calls did not fail when they were made again in a new
    process. `is_chance` is true if they fail with other bits in each new process.
    """

    kind: Kind
    structure: Structure
    regime: str
    draw: Draw
    observation: Observation | None
    quantity: str = ""
    message: str = ""
    case: str = ""
    parts: tuple[Draw, ...] = ()
    conventions: Conventions = field(default_factory=dict)
    planted: PlantedMistake | None = None
    arithmetic: Arithmetic | None = None
    history: History | None = None
    is_repeatable: bool = True
    is_chance: bool = False
