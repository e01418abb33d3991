"""Loading adapters as a run asks for them: by spec, on a device, and with a mutant planted."""

from ...adapters import Adapter
from ...adapters.registry import load
from ..cases.plan import require_known
from . import MUTANTS, Mutant, plant_mutant


def mutant(name: str) -> Mutant:
    """The mutant with this name. Raises OptionError, suggesting a similar name."""
    require_known("mutant", name, MUTANTS, "kterm mutants --list lists them")
    return MUTANTS[name]


def planted(adapter: Adapter, mutant_name: str) -> Adapter:
    """The adapter with the named mutant planted in it. Raises OptionError for an unknown mutant."""
    return plant_mutant(adapter, mutant(mutant_name))


def loaded(spec: str, device: str | None = None, mutant_name: str | None = None) -> Adapter:
    """The adapter that `spec` names, with the named mutant planted in it if a name is given.

    Raises AdapterError if it does not load, and OptionError for an unknown mutant.
    """
    adapter = load(spec, device)
    return adapter if mutant_name is None else planted(adapter, mutant_name)
