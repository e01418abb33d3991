"""Check a deep-learning framework's backward pass against the k-term rule, with derived tolerances.

    import kterm

    results = kterm.check_adapter("torch", profile="quick")
    results.raise_if_failed()

The names below are imported when they are first used: `import kterm` alone loads neither NumPy nor a framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import IN_OUT, OUT_IN, Adapter, Limits, Observation, Program, WeightLayout
    from .adapters.registry import AdapterError
    from .adapters.traces.capture import capture
    from .adapters.traces.errors import TraceError
    from .adapters.traces.trace import Trace, TraceBuilder
    from .conformance.cases.case import Case, CaseError
    from .conformance.cases.plan import OptionError
    from .conformance.checks.verdict import Verdict
    from .conformance.expectations.expectation import ExpectationError
    from .conformance.interfaces.api import (
        CaseCheck,
        NonConformance,
        Results,
        check_adapter,
        parametrize_with_cases,
        parse_case,
    )
    from .conformance.interfaces.models.judgement import Departure, Judgement
    from .conformance.interfaces.models.read import read_trace
    from .conformance.interfaces.models.run import judge
    from .conformance.records.record import Record, RecordError
    from .conformance.records.record import read as read_record
    from .reference import Network, Parameters, Structure
    from .reference.arithmetic import Arithmetic

    __version__: str

__all__ = [
    "IN_OUT",
    "OUT_IN",
    "Adapter",
    "AdapterError",
    "Arithmetic",
    "Case",
    "CaseCheck",
    "CaseError",
    "Departure",
    "ExpectationError",
    "Judgement",
    "Limits",
    "Network",
    "NonConformance",
    "Observation",
    "OptionError",
    "Parameters",
    "Program",
    "Record",
    "RecordError",
    "Results",
    "Structure",
    "Trace",
    "TraceBuilder",
    "TraceError",
    "Verdict",
    "WeightLayout",
    "__version__",
    "capture",
    "check_adapter",
    "judge",
    "parametrize_with_cases",
    "parse_case",
    "read_record",
    "read_trace",
]

_MODULE_OF = {
    "IN_OUT": "adapters",
    "OUT_IN": "adapters",
    "Adapter": "adapters",
    "AdapterError": "adapters.registry",
    "Arithmetic": "reference.arithmetic",
    "Case": "conformance.cases.case",
    "CaseCheck": "conformance.interfaces.api",
    "CaseError": "conformance.cases.case",
    "Departure": "conformance.interfaces.models.judgement",
    "ExpectationError": "conformance.expectations.expectation",
    "Judgement": "conformance.interfaces.models.judgement",
    "Limits": "adapters",
    "Network": "reference",
    "NonConformance": "conformance.interfaces.api",
    "Observation": "adapters",
    "OptionError": "conformance.cases.plan",
    "Parameters": "reference",
    "Program": "adapters",
    "Record": "conformance.records.record",
    "RecordError": "conformance.records.record",
    "Results": "conformance.interfaces.api",
    "Structure": "reference",
    "Trace": "adapters.traces.trace",
    "TraceBuilder": "adapters.traces.trace",
    "TraceError": "adapters.traces.errors",
    "Verdict": "conformance.checks.verdict",
    "WeightLayout": "adapters",
    "capture": "adapters.traces.capture",
    "check_adapter": "conformance.interfaces.api",
    "judge": "conformance.interfaces.models.run",
    "parametrize_with_cases": "conformance.interfaces.api",
    "parse_case": "conformance.interfaces.api",
    "read_record": "conformance.records.record:read",
    "read_trace": "conformance.interfaces.models.read",
}


def __getattr__(name: str) -> Any:
    # pytest imports this package in every run, for the plugin, and should not load NumPy and SciPy there.
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("kterm")
    elif name in _MODULE_OF:
        module, _, attribute = _MODULE_OF[name].partition(":")
        value = getattr(import_module(f".{module}", __name__), attribute or name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
