"""Plans cases, runs adapters, judges, records and reports. The public surface is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Results, check_adapter, parametrize_with_cases
    from .case import Case, parse_case
    from .record import Record, read
    from .verdict import Verdict

__all__ = [
    "Case",
    "Record",
    "Results",
    "Verdict",
    "check_adapter",
    "parametrize_with_cases",
    "parse_case",
    "read",
]

_HOME = {
    "Case": "case",
    "Record": "record",
    "Results": "api",
    "Verdict": "verdict",
    "check_adapter": "api",
    "parametrize_with_cases": "api",
    "parse_case": "case",
    "read": "record",
}


def __getattr__(name: str) -> Any:
    # pytest imports this package for its plugin in every run, and must not pay for NumPy and SciPy there.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
