"""Mutants: the rule with one realistic mistake each, to prove that the suite can fail and to name what it finds."""

from .mutant import Mutant
from .planted import PlantedAdapter, plant_mutant
from .table.chain import CHAIN
from .table.equivalents import EQUIVALENTS
from .table.forwards import FORWARDS
from .table.gradients import BIAS_GRADIENTS, ERRORS, WEIGHT_GRADIENTS
from .table.kernels import KERNELS
from .table.programs import PROGRAMS
from .table.slopes import SLOPES

MISTAKES: tuple[Mutant, ...] = (
    *SLOPES, *CHAIN, *WEIGHT_GRADIENTS, *BIAS_GRADIENTS, *ERRORS, *FORWARDS, *KERNELS, *PROGRAMS,
)  # fmt: skip
"""Every mutant that the suite must catch."""

MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in (*MISTAKES, *EQUIVALENTS)}
"""All mutants by name, including those that are proven equivalent to the rule."""

__all__ = ["EQUIVALENTS", "MISTAKES", "MUTANTS", "Mutant", "PlantedAdapter", "plant_mutant"]
