"""The form of an observation: arrays that are missing, have the wrong shape, or come back in another dtype."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays, parts, split_name, with_arrays
from ...reference import DTYPES, Array, Structure
from .programs import NoAnswer

_MOST_NAMED = 3
_BACKWARD = ("k", "dE/dW", "dE/db")


@dataclass(frozen=True)
class Foreign:
    """What an adapter in another process gave in place of an array in a known format: a value of the type `kind`, or,
    where `dtype` is given, an array of that dtype and shape.
    """

    kind: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()


NONE = Foreign("builtins.NoneType")


@dataclass(frozen=True)
class Answer:
    """An observation, checked for form. If `problems` says that the form is wrong, there may be no observation.

    `dtype_problem` says which arrays came back in another dtype than the one asked for. They are then in the one asked
    for, if theirs was wider. If one was narrower, all arrays are in the narrowest, and `judged_in` names it.
    """

    observation: Observation | None
    problems: tuple[str, ...] = ()
    dtype_problem: str = ""
    judged_in: str | None = None

    @property
    def all_problems(self) -> tuple[str, ...]:
        """The problems, with that of the dtype."""
        return (*self.problems, self.dtype_problem) if self.dtype_problem else self.problems

    def require_form(self) -> Observation:
        """The observation. Raises NoAnswer if its form is wrong, also if a dtype is."""
        if self.observation is None or self.dtype_problem:
            raise NoAnswer("raised", "; ".join(self.all_problems))
        return self.observation


def examine_form(
    observed: Observation, structure: Structure, is_modified: bool = False, declared: Mapping[str, str] | None = None
) -> Answer:
    """The answer that an observation is, given whether its program changed the inputs. `declared` are the dtypes that
    the adapter declares for quantities that always come back in one. The observation may hold a `Foreign` for each
    value that is no array, or no array in a known format.
    """
    problems = ["inputs were modified in place"] if is_modified else []
    form = _wrong_counts(observed, structure) or _wrong_arrays(observed, structure)
    if form:
        return Answer(None, (*problems, *form))
    own = detached(observed)
    asked = structure.format
    stray = {name: a.dtype for name, a in arrays(own).items() if a.dtype != asked.numpy}
    if not stray:
        return Answer(own, tuple(problems))
    narrow = [name for name, dtype in stray.items() if _ROUNDOFFS[dtype] > asked.u]
    if narrow:
        worst = max((stray[name] for name in narrow), key=_ROUNDOFFS.__getitem__)
        judged_in = _NAMES[worst]
        fix = f"compute and return in the dtype of the inputs, or leave {asked.name} out of dtypes"
        problem = _dtype_problem(narrow, worst, structure, judged_in, fix, narrow)
        return Answer(_cast(own, worst), tuple(problems), problem, judged_in)
    known = {symbol: DTYPES[name].numpy for symbol, name in (declared or {}).items()}
    # Not known.get: to NumPy, None is float64.
    found = [name for name in stray if (symbol := split_name(name)[0]) not in known or known[symbol] != stray[name]]
    problem = ""
    if found:
        widest = {split_name(name)[0]: _NAMES[dtype] for name, dtype in stray.items()}
        if "dE/dW" in widest and structure.network.bias == "none":
            # Networks with biases most likely need it too.
            widest["dE/db"] = widest["dE/dW"]
        all_of_them = ", ".join(f'"{symbol}": "{name}"' for symbol, name in widest.items())
        fix = f"return the dtype of the inputs, or declare result_dtypes = {{{all_of_them}}}"
        problem = _dtype_problem(found, stray[found[0]], structure, asked.name, fix, list(stray))
    return Answer(_cast(own, asked.numpy), tuple(problems), problem)


def _wrong_counts(observed: Observation, structure: Structure) -> list[str]:
    depth = structure.network.depth
    due = {"weight_gradients": depth, "bias_gradients": 0 if structure.network.bias == "none" else depth}
    due |= dict.fromkeys("zxk", depth)
    found: list[str] = []
    for field, count in due.items():
        values = getattr(observed, field)
        if values is not None and len(values) != count:
            why = "; this network has no biases, so leave it empty" if not count else ", one a layer"
            found.append(f"{field} holds {len(values)} arrays; it should hold {count}{why}")
    return found


def _wrong_arrays(observed: Observation, structure: Structure) -> list[str]:
    found: list[str] = []
    for name, value, shape in parts(observed, structure):
        if _is_none(value):
            found.append(_missing(name))
        elif not (isinstance(value, np.ndarray | np.generic) or (isinstance(value, Foreign) and value.dtype)):
            found.append(f"{name} is a {_kind(value)}; it should be a NumPy array: convert it before it is returned")
        elif value.shape != shape:
            found.append(f"{name} has shape {value.shape}; it should be {shape}{_hint(name, value.shape, shape)}")
        elif isinstance(value, Foreign) or value.dtype not in _ROUNDOFFS:
            found.append(f"{name} has dtype {value.dtype}; it should be {structure.format.numpy}")
    return found


def _is_none(value: Any) -> bool:
    if isinstance(value, Foreign):
        return value == NONE
    return value is None or (isinstance(value, np.ndarray) and holds_none(value))


def _kind(value: Any) -> str:
    return value.kind if isinstance(value, Foreign) else f"{type(value).__module__}.{type(value).__name__}"


def _missing(name: str) -> str:
    symbol, layer = split_name(name)
    if symbol.startswith("dE/d"):
        parameter = f"{symbol[-1]}_{layer}"
        return (
            f"no gradient reached {name}: it is None; make {parameter} a parameter that the framework differentiates, "
            f"and compute the loss from that same {parameter}"
        )
    return f"{name} is None; return an array" + (f", or leave {symbol} out" if symbol in "zxk" else "")


def holds_none(array: Array) -> bool:
    """Whether an array was made of None, as `np.asarray(gradient)` makes one of a gradient that is None."""
    return array.dtype == object and None in array.ravel().tolist()


def _hint(name: str, shape: tuple[int, ...], due: tuple[int, ...] | None) -> str:
    if name == "E":
        return ": one number, as np.asarray(error) of a scalar"
    if due is not None and len(due) == 2 and shape == due[::-1]:
        where = "its axes, or weight_layout" if name.startswith("dE/dW") else "the axes: a row is an example"
        return f"; it is transposed, so fix {where}"
    return ""


_ROUNDOFFS = {one.numpy: one.u for one in DTYPES.values()}
_NAMES = {one.numpy: name for name, one in DTYPES.items()}


def _dtype_problem(
    names: Sequence[str], dtype: np.dtype, structure: Structure, judged_in: str, fix: str, stray: Sequence[str]
) -> str:
    """`stray` are the names of all arrays in another dtype, declared or not."""
    more = " and more" if len(names) > _MOST_NAMED else ""
    verb = "comes" if len(names) == 1 else "come"
    asked = structure.format.numpy
    backward = {name for name in stray if split_name(name)[0] in _BACKWARD}
    if len(backward) == len(stray):
        only = f"; only the backward pass gives {dtype}: outputs and E are {asked}"
    else:
        only = "" if backward else f"; only the forward pass gives {dtype}: the gradients are {asked}"
    return (
        f"{', '.join(names[:_MOST_NAMED])}{more} {verb} back as {dtype} where {asked} is asked for{only}; "
        f"the numbers are judged as {judged_in}; {fix}"
    )


def _cast(observed: Observation, dtype: np.dtype) -> Observation:
    with np.errstate(over="ignore"):
        return with_arrays(observed, {name: array.astype(dtype) for name, array in arrays(observed).items()})


def detached(observed: Observation) -> Observation:
    """The same numbers in new arrays, out of reach of later calls."""

    def own(value: Any) -> Any:
        if value is None:
            return None
        return tuple(np.array(a) for a in value) if isinstance(value, Sequence) else np.array(value)

    return replace(observed, **{f.name: own(getattr(observed, f.name)) for f in fields(observed)})
