"""Plans cases, runs adapters, judges, records and reports. The public surface is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases.case import Case, parse_case
    from .checks.verdict import Verdict
    from .interfaces.api import Results, check_adapter, parametrize_with_cases
    from .records.record import Record, read

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
    "Case": "cases.case",
    "Record": "records.record",
    "Results": "interfaces.api",
    "Verdict": "checks.verdict",
    "check_adapter": "interfaces.api",
    "parametrize_with_cases": "interfaces.api",
    "parse_case": "cases.case",
    "read": "records.record",
}


def __getattr__(name: str) -> Any:
    # pytest imports this package for its plugin in every run, and must not pay for NumPy and SciPy there.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
