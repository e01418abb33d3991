"""What `kterm cases` does: list the structures of a trace as cases."""

from pathlib import Path

from ...cases.plan import OptionError
from ...interfaces.models.read import read_trace
from ...interfaces.models.structures import TracedStructure, list_cases, list_structures
from ...records.form.text import count, print_aside, printable
from ..exit_codes import CONFORMS

_MOST_NAMED = 3


def run_cases(path: Path) -> int:
    """Print the structures of a trace, a line each. Raises TraceError."""
    found, unknown = list_structures(read_trace(path))
    for one in found:
        print(printable(_line(one)))
    for name in unknown:
        print(printable(f"{name}: the number of rows of a call was not captured"))
    fit = sum(not one.problem for one in found)
    print(f"{count(len(found), 'structure')} of dense layers; {fit:,} can be a case")
    return CONFORMS


def read_structures(path: Path) -> tuple[str, ...]:
    """The ids of the structures of a trace for `kterm check --like`. What is cut or left out is said on standard error.
    Raises TraceError, and OptionError for a trace without a structure that a case can have.
    """
    ids, notes = list_cases(path)
    for note in notes:
        print_aside(note)
    if not ids:
        raise OptionError(f"--like {path}: no dense layer of the trace can be a case; kterm cases {path} says why")
    return ids


def _line(one: TracedStructure) -> str:
    rest = f" and {len(one.layers) - _MOST_NAMED:,} more" if len(one.layers) > _MOST_NAMED else ""
    layers = ", ".join(one.layers[:_MOST_NAMED])
    cost = f"{one.products / 1e6:,.3g} million multiplications a call"
    problem = f"; no case: {one.problem}" if one.problem else ""
    return f"{one.id}  {count(one.calls, 'call')}, {cost}: {layers}{rest}{problem}"
