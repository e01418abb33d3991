"""Adapters as a run asks for them: by spec, on a device, and wearing a mutant by its name."""

from ...adapters import Adapter
from ...adapters.registry import load
from ..cases.plan import require_known
from . import MUTANTS, Mutant, plant_mutant


def mutant(name: str) -> Mutant:
    """The mutant of this name. Raises ChoiceError, naming one that is called alike."""
    require_known("mutant", name, MUTANTS, "kterm mutants --list lists them")
    return MUTANTS[name]


def loaded(spec: str, device: str | None = None, mutant_name: str | None = None) -> Adapter:
    """The adapter that `spec` names, wearing the mutant of a name where one is given.

    Raises AdapterError where it does not load, and ChoiceError for an unknown mutant.
    """
    adapter = load(spec, device)
    return adapter if mutant_name is None else plant_mutant(adapter, mutant(mutant_name))
