"""Mutants: the rule with one realistic mistake each, to prove that the suite can fail and to name what it finds."""

from .chain import CHAIN
from .equivalents import EQUIVALENTS
from .forwards import FORWARDS
from .gradients import BIAS_GRADIENTS, ERRORS, WEIGHT_GRADIENTS
from .kernels import KERNELS
from .mutant import Mutant
from .programs import PROGRAMS
from .slopes import SLOPES
from .worn import Worn, wear

MISTAKES: tuple[Mutant, ...] = (
    *SLOPES, *CHAIN, *WEIGHT_GRADIENTS, *BIAS_GRADIENTS, *ERRORS, *FORWARDS, *KERNELS, *PROGRAMS,
)  # fmt: skip
"""Every mutant that the suite must catch."""

MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in (*MISTAKES, *EQUIVALENTS)}
"""All mutants by name, those that are provably none among them."""

__all__ = ["EQUIVALENTS", "MISTAKES", "MUTANTS", "Mutant", "Worn", "wear"]
