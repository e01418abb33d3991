"""Checks what an adapter declares. A mistake becomes one line that says what to write."""

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, get_args

from ..reference import ACTIVATIONS, BIASES, DTYPES, name_with
from ..reference.arithmetic import ACCUMULATORS, OPERAND_FORMATS, Arithmetic, Direction, Flushing
from .base import Adapter
from .limits import Limits

_MISSING = object()
_MOST_TERMS = 3


def check_declarations(adapter: Adapter) -> None:
    """Raise ValueError for a declaration that the suite cannot use, in one line that names it and says what to write.

    `name` must be a line of text and `device` too; `version` must hold text. `framework` and `framework_version` must
    be lines of text or empty. `dtypes` and `biases` must be collections of known names, `activations` a mapping from
    them, and none of the three may be empty. `weight_layout` must have `name`, `to_native` and `from_native`.
    `max_structures` must be None or an integer of at least 1, `limits` None or a `Limits`, and
    `result_dtypes` a mapping from quantities to dtypes. Each slope in
    `slopes_at_kinks` must be at a kink and between the one-sided derivatives there. `arithmetic` must be a mapping from
    dtypes to `kterm.Arithmetic` with known formats. `zero_width` must be a bool, and `propagates` hold some
    of "nan" and "inf".
    """
    name = getattr(adapter, "name", _MISSING)
    if not _is_line(name):
        raise ValueError(
            f'adapter class {type(adapter).__name__}: name: {_shown(name)} is not a line of text; write name = "mine"'
        )
    for field, problem in (
        ("version", _check_version(adapter)),
        ("framework", _check_optional(adapter, "framework", "jax")),
        ("framework_version", _check_optional(adapter, "framework_version", "1.0")),
        ("device", _check_device(adapter)),
        ("weight_layout", _check_weight_layout(adapter)),
        ("dtypes", _check_names(adapter, "dtypes", DTYPES, 'dtypes = ("f64", "f32")')),
        ("activations", _check_activations(adapter)),
        ("biases", _check_names(adapter, "biases", BIASES, 'biases = ("none", "pre")')),
        ("max_structures", _check_max_structures(adapter)),
        ("limits", _check_limits(adapter)),
        ("result_dtypes", _check_result_dtypes(adapter)),
        ("fixed_parameters", _check_fixed_parameters(adapter)),
        ("slopes_at_kinks", _check_slopes(adapter)),
        ("arithmetic", _check_arithmetic(adapter)),
        ("zero_width", _check_zero_width(adapter)),
        ("propagates", _check_propagates(adapter)),
    ):
        if problem:
            raise ValueError(f"adapter {name}: {field}: {problem}")


def clean_version(adapter: Adapter) -> str:
    """The framework's version as one line of printable text, without line breaks and control characters."""
    return _clean_line(str(adapter.version))


def _check_version(adapter: Adapter) -> str:
    version: Any = getattr(adapter, "version", _MISSING)
    if callable(version):
        return "it is a method; write @property above it"
    if version is _MISSING or version is None or not _clean_line(str(version)):
        return f'{_shown(version)} is not a version; give the framework\'s version as text, as in version = "1.0"'
    return ""


def _check_optional(adapter: Adapter, field: str, usual: str) -> str:
    value: Any = getattr(adapter, field, _MISSING)
    return "" if value == "" or _is_line(value) else f'{_shown(value)} is not a line of text; write {field} = "{usual}"'


def _check_device(adapter: Adapter) -> str:
    device = getattr(adapter, "device", _MISSING)
    if device is _MISSING:
        return "it is not set; call super().__init__(device) in __init__"
    return "" if _is_line(device) else f'{_shown(device)} is not a line of text; write "cpu", or another of devices()'


def _check_weight_layout(adapter: Adapter) -> str:
    layout: Any = getattr(adapter, "weight_layout", _MISSING)
    lacking = [part for part in ("to_native", "from_native") if not callable(getattr(layout, part, None))]
    if not _is_line(getattr(layout, "name", None)):
        lacking.insert(0, "name")
    if not lacking:
        return ""
    return (
        f"{_shown(layout)} has no {' and no '.join(lacking)}; write IN_OUT, OUT_IN or "
        "WeightLayout(name, to_native, from_native), all from kterm.adapters"
    )


def _check_activations(adapter: Adapter) -> str:
    declared = getattr(adapter, "activations", _MISSING)
    if not isinstance(declared, Mapping):
        return f'{_shown(declared)} is not a mapping; write activations = {{"tanh": function of z}}'
    return _check_known(declared, tuple(ACTIVATIONS))


def _check_names(adapter: Adapter, field: str, known: Collection[str], usual: str) -> str:
    declared = getattr(adapter, field, _MISSING)
    if isinstance(declared, str):
        return f"{_shown(declared)} is one string; write {field} = ({_shown(declared)},)"
    if not isinstance(declared, Collection) or isinstance(declared, bytes):
        return f"{_shown(declared)} is not a collection of names; write {usual}"
    return _check_known(declared, known)


def _check_known(declared: Collection[Any], known: Collection[str]) -> str:
    # Something that is not a string may have no hash, and then cannot be looked up.
    unknown = [name for name in declared if not isinstance(name, str) or name not in known]
    what = f"unknown {_shown(unknown[0])}" if unknown else "" if len(declared) else "none declared"
    return f"{what}; known are {', '.join(known)}" if what else ""


def _check_max_structures(adapter: Adapter) -> str:
    most: Any = getattr(adapter, "max_structures", _MISSING)
    if most is None or _is_count(most, 1):
        return ""
    return f"{_shown(most)} is not an integer of at least 1; write None where there is no limit"


def _check_limits(adapter: Adapter) -> str:
    limits: Any = getattr(adapter, "limits", _MISSING)
    if limits is None:
        return ""
    if not isinstance(limits, Limits):
        return f"{_shown(limits)} is not a kterm.Limits; write limits = Limits(width=16, batch=8)"
    for field, least in (("width", 1), ("depth", 1), ("batch", 1), ("least_batch", 0), ("entries", 4)):
        value = getattr(limits, field)
        if not _is_count(value, least) and not (value is None and field != "least_batch"):
            return f"{field}: {_shown(value)} is not an integer of at least {least}"
    for field in ("speed", "call_seconds", "run_seconds"):
        value = getattr(limits, field)
        if value is not None and not (
            isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf
        ):
            return f"{field}: {_shown(value)} is not a positive number"
    if limits.speed is None and (limits.call_seconds or limits.run_seconds):
        return "speed: None; give about how many multiplications a second the framework makes"
    if limits.batch is not None and limits.batch < limits.least_batch:
        return f"least_batch: {limits.least_batch} is above batch, {limits.batch}"
    for field in ("hidden_alike", "last_identity"):
        if not isinstance(getattr(limits, field), bool):
            return f"{field}: {_shown(getattr(limits, field))} is neither True nor False"
    activations: Any = getattr(adapter, "activations", _MISSING)
    if limits.last_identity and isinstance(activations, Mapping) and "identity" not in activations:
        return 'last_identity: the adapter has no activation "identity"; declare it, for the last layer'
    return ""


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


QUANTITIES = ("outputs", "E", "z", "x", "k", "dE/dW", "dE/db")


def _check_result_dtypes(adapter: Adapter) -> str:
    declared: Any = getattr(adapter, "result_dtypes", _MISSING)
    if not isinstance(declared, Mapping):
        return f'{_shown(declared)} is not a mapping; write result_dtypes = {{"E": "f64"}}'
    for what, names, known in (("quantity", declared, QUANTITIES), ("dtype", declared.values(), DTYPES)):
        for name in names:
            if name not in list(known):
                return f"unknown {what} {_shown(name)}; known are {', '.join(known)}"
    return ""


def _check_fixed_parameters(adapter: Adapter) -> str:
    declared: Any = getattr(adapter, "fixed_parameters", _MISSING)
    usual = 'write fixed_parameters = {"leaky_relu": {"slope": 0.2}}'
    if problem := _check_by_activation(declared, "parameters to values", usual):
        return problem
    for name, values in declared.items():
        for key, value in values.items():
            if not isinstance(value, Real) or isinstance(value, bool):
                return f"{name}: {key} = {_shown(value)} is not a number"
        try:
            name_with(name, values)
        except ValueError as error:
            return str(error)
    return ""


def _check_by_activation(declared: Any, inner: str, usual: str) -> str:
    """What is wrong with the form of a mapping from activations to mappings, which go from `inner`."""
    if not isinstance(declared, Mapping):
        return f"{_shown(declared)} is not a mapping; {usual}"
    for name, values in declared.items():
        if name not in tuple(ACTIVATIONS):
            return f"unknown activation {_shown(name)}; known are {', '.join(ACTIVATIONS)}"
        if not isinstance(values, Mapping):
            return f"{name}: {_shown(values)} is not a mapping from {inner}; {usual}"
    return ""


def _own_name(adapter: Adapter, name: str) -> str:
    """The activation as the adapter has it; as in the table, where its fixed parameters are not as they should be."""
    fixed = adapter.fixed_parameters
    return name if _check_fixed_parameters(adapter) else name_with(name, fixed.get(name, {}))


def _check_slopes(adapter: Adapter) -> str:
    declared: Any = getattr(adapter, "slopes_at_kinks", _MISSING)
    usual = 'write slopes_at_kinks = {"relu": {0: 0}}'
    if problem := _check_by_activation(declared, "kinks to slopes", usual):
        return problem
    for name, slopes in declared.items():
        if problem := next(filter(None, _check_kinks(_own_name(adapter, name), slopes)), ""):
            return problem
    return ""


def _check_kinks(name: str, slopes: Mapping[Any, Any]) -> Iterable[str]:
    sides = {kink.point: sorted((kink.left, kink.right)) for kink in ACTIVATIONS[name].kinks}
    for point, slope in slopes.items():
        if point not in sides:
            there = ", ".join(f"{kink:g}" for kink in sides) or "none"
            yield f"{name} has no kink at {_shown(point)}; it has {there}"
            continue
        low, high = sides[point]
        if not isinstance(slope, Real) or isinstance(slope, bool):
            yield f"{name} at {point}: {_shown(slope)} is not a number"
        elif not low <= float(slope) <= high:
            yield f"{name} at {point}: {slope} is not between its one-sided derivatives, {low} and {high}"


def _check_zero_width(adapter: Adapter) -> str:
    value: Any = getattr(adapter, "zero_width", _MISSING)
    return "" if isinstance(value, bool) else f"{_shown(value)} is neither True nor False"


def _check_propagates(adapter: Adapter) -> str:
    value: Any = getattr(adapter, "propagates", _MISSING)
    if not isinstance(value, tuple | list) or any(one not in ("nan", "inf") for one in value):
        return f'{_shown(value)} should hold some of "nan" and "inf"; write propagates = ("nan", "inf")'
    return ""


def _check_arithmetic(adapter: Adapter) -> str:
    declared = getattr(adapter, "arithmetic", _MISSING)
    usual = 'write arithmetic = {"f32": Arithmetic(operands="tf32")}'
    if not isinstance(declared, Mapping):
        return f"{_shown(declared)} is not a mapping; {usual}"
    for dtype, one in declared.items():
        if dtype not in DTYPES:
            return f"unknown dtype {_shown(dtype)}; known are {', '.join(DTYPES)}"
        if not isinstance(one, Arithmetic):
            return f"{dtype}: {_shown(one)} is not a kterm.Arithmetic; {usual}"
        if problem := _check_formats(dtype, one):
            return f"{dtype}: {problem}"
    return ""


def _check_formats(dtype: str, one: Arithmetic) -> str:
    directions = get_args(Direction)
    for field, value, known in (
        ("operands", one.operands, (None, *OPERAND_FORMATS)),
        ("accumulator", one.accumulator, (None, *ACCUMULATORS)),
        ("rounding", one.rounding, directions),
        ("operand_rounding", one.operand_rounding, directions),
        ("flushing", one.flushing, (None, *get_args(Flushing))),
    ):
        # Something that is not a string may have no hash.
        if value not in list(known):
            return f"{field}: unknown {_shown(value)}; known are {', '.join(map(str, known))}"
    if not isinstance(one.terms, int) or isinstance(one.terms, bool) or not 1 <= one.terms <= _MOST_TERMS:
        return f"terms: {_shown(one.terms)} is not an integer from 1 to {_MOST_TERMS}"
    if one.operands is None:
        return "terms: without operands there are none; name the format of operands" if one.terms > 1 else ""
    u, own = 2.0 ** -OPERAND_FORMATS[one.operands].bits, DTYPES[dtype].u
    if u <= own:
        return f"operands: {one.operands} is not narrower than {dtype}; leave operands out"
    return ""


def _is_line(value: Any) -> bool:
    """Whether a value is a string of printable characters that is not blank."""
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _clean_line(text: str) -> str:
    """Text as one line: each run of spaces and of characters that are not printable becomes one space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _shown(value: Any) -> str:
    """A value as it stands in messages: one line of at most 80 characters."""
    return "nothing" if value is _MISSING else _clean_line(repr(value))[:80]
