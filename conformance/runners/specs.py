"""The spec of an adapter that was made in Python: what a command line calls its class."""

import inspect
import sys
from functools import cache
from pathlib import Path

from ...adapters import Adapter
from ...adapters.registry import registered


def spec_of(adapter: Adapter) -> str:
    """The registered name, `package.module:Class` or `path/to/file.py:Class` that gives an adapter of this class; empty
    where there is none, as of a class that a function defines, or that is constructed with arguments.
    """
    return _spec_of_class(type(adapter.original))


@cache
def _spec_of_class(kind: type[Adapter]) -> str:
    for name, entry in registered().items():
        if entry.value == f"{kind.__module__}:{kind.__qualname__}":
            return name
    module = sys.modules.get(kind.__module__)
    if getattr(module, kind.__qualname__, None) is not kind or _needs_arguments(kind):
        return ""
    if module is not None and "." in kind.__module__:
        return f"{kind.__module__}:{kind.__qualname__}"
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        return ""
    path = Path(file).resolve()
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{kind.__qualname__}"


def _needs_arguments(kind: type[Adapter]) -> bool:
    parameters = inspect.signature(kind).parameters.values()
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
