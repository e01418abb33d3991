"""What becomes of infinities and NaN: whether they reach what is computed from them, or get lost on the way.

A batch has a row whose input is NaN, say, and two ordinary rows. NaN is due in that row of z, x and k, in E and in
dE/dW. A framework that gives a finite number there has swallowed it: a user who watches the loss or the gradients for
NaN does not see that the run is broken. JAX's `relu` gives k = 0 there, for example, since NaN > 0 is false.

The rule's own values at an infinity are limits: silu(-inf) is 0. A framework that computes -inf * 0 gives NaN. That
is another value, but nothing is swallowed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...adapters.quantities import arrays
from ...reference import ACTIVATIONS, Activation, Array, Network, Parameters, Structure, base_of
from ..cases.description import Description
from ..runners.runner import NoAnswer, Runner

GIVEN: dict[str, float] = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
"""What is given as an input, by name."""

_ROWS = (0.5, -0.75)
"""The inputs of the other rows."""
_TARGET = 0.25
_REGIME = "normal"
_Numbers = dict[str, Array]
_LARGE = 1e300  # where a formula that divides infinities already has its limit


@dataclass(frozen=True)
class Fact:
    """What an adapter gives for one activation, dtype and input.

    `due` and `found` hold the values of x and k in the row with that input, and of E and the gradients, by name;
    `found` holds those that the adapter shows, and dE/db only instead of k. `swallowed` names those that are
    finite where an infinity or NaN is due, and `spread` those that have other values in the other rows than without
    that input. If there is no answer, `missing` says why.
    """

    activation: str
    dtype: str
    given: str
    due: dict[str, float]
    found: dict[str, float]
    swallowed: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    missing: str = ""

    @property
    def differs(self) -> tuple[str, ...]:
        """The names of the values that are others than those due: another infinity, NaN, or a finite number."""
        return tuple(name for name, value in self.found.items() if _kind(value) != _kind(self.due[name]))


def measure_nonfinite(runner: Runner, dtypes: Sequence[str] = (), names: Sequence[str] = ()) -> Iterator[Fact]:
    """The facts on an adapter, in each of its dtypes that is among `dtypes`, and for each of its activations that is
    among `names`; empty: all.
    """
    described = runner.describe()
    for dtype in described.dtypes:
        for name in described.activations:
            if (not dtypes or dtype in dtypes) and (not names or base_of(name) in names):
                yield from _measure(runner, described, name, dtype)


def _measure(runner: Runner, described: Description, name: str, dtype: str) -> Iterator[Fact]:
    structure = _structure(described, name, dtype)
    try:
        runner.build(structure)
        plain = _call(runner, structure, _ROWS[0])
        answers = {given: _call(runner, structure, value) for given, value in GIVEN.items()}
    except NoAnswer as no:
        yield Fact(name, dtype, "", {}, {}, missing=f"no answer: it {no.kind}; {no.message}")
        return
    for given, value in GIVEN.items():
        yield _fact(name, structure, given, due_values(ACTIVATIONS[name], value), answers[given], plain)


def _structure(described: Description, name: str, dtype: str) -> Structure:
    """One unit with the activation; an identity after it if the adapter's last layer must be one."""
    ends = described.limits is not None and described.limits.last_identity and name != "identity"
    names = (name, "identity") if ends else (name,)
    bias = "pre" if "pre" in described.biases else described.biases[0]
    return Structure(Network((1,) * (len(names) + 1), names, bias), 1 + len(_ROWS), dtype)


def _call(runner: Runner, structure: Structure, first: float) -> _Numbers:
    """The arrays of an answer to a batch whose first row has this input, in float64. Raises NoAnswer."""
    network, dtype = structure.network, structure.format.numpy
    weights = tuple(np.ones((1, 1), dtype) for _ in network.activations)
    biases = tuple(np.zeros(1, dtype) for _ in network.activations if network.bias != "none")
    x = np.array([[first], *([row] for row in _ROWS)]).astype(dtype)
    answer = runner.call(_REGIME, Parameters(weights, biases), x, np.full_like(x, dtype.type(_TARGET)))
    with np.errstate(all="ignore"):
        return {quantity: a.astype(np.float64) for quantity, a in arrays(answer.require_form()).items()}


def due_values(row: Activation, z: float) -> dict[str, float]:
    """x, E, k and the gradients of one unit at a pre-activation that is not finite: limits of the rule, and NaN where
    there is none.
    """
    with np.errstate(all="ignore"):
        f, slope = (_limit(row, function, z) for function in (row.function, row.slope))
        residual = np.float64(f - _TARGET)
        k = np.float64("nan") if np.isnan(z) else residual * slope
        error, gradient = residual * residual / 2, np.float64(z) * k
    return {"x": f, "E": float(error), "k": float(k), "dE/db": float(k), "dE/dW": float(gradient)}


def _limit(row: Activation, function: Callable[[Array], Array], z: float) -> float:
    """The limit of a formula of a row. A formula that divides infinities has it at a large number; `sin` has none."""
    value = float(function(np.array([z]))[0])
    if np.isnan(z) or row.turning_period is not None:
        return float("nan")
    if np.isnan(value):
        value = float(function(np.array([np.copysign(_LARGE, z)]))[0])
        value = value if abs(value) < _LARGE / 2 else float(np.copysign(np.inf, value))
    return value


def _fact(
    name: str,
    structure: Structure,
    given: str,
    due: dict[str, float],
    answer: _Numbers,
    plain: _Numbers,
) -> Fact:
    found = {"x": float(answer.get("x_1", answer["outputs"])[0, 0]), "E": float(answer["E"])}
    if "k_1" in answer:
        found["k"] = float(answer["k_1"][0, 0])
    elif structure.network.bias == "pre":
        found["dE/db"] = float(answer["dE/db_1"][0])  # the sum of k over the rows
    found["dE/dW"] = float(answer["dE/dW_1"][0, 0])
    swallowed = tuple(q for q, value in found.items() if np.isfinite(value) and not np.isfinite(due[q]))
    by_row = [q for q in ("z_1", "x_1", "outputs", "k_1") if q in answer]
    spread = tuple(q for q in by_row if not np.array_equal(answer[q][1:], plain[q][1:]))
    return Fact(name, structure.dtype, given, due, found, swallowed, spread)


def _kind(value: float) -> str:
    return "finite" if np.isfinite(value) else str(value)


def format_value(value: float) -> str:
    """A value as it is printed: nan, inf, -inf, or a number in four digits."""
    return f"{value + 0.0:.4g}"


def describe_swallowed(fact: Fact) -> str:
    """One line on what a fact says is swallowed, or spread to other rows; empty if nothing is."""
    where = f"{fact.activation} at {fact.given}, {fact.dtype}"
    if fact.swallowed:
        values = ", ".join(f"{q} is {format_value(fact.found[q])}" for q in fact.swallowed)
        return f"{where}: {values}, where {', '.join(format_value(fact.due[q]) for q in fact.swallowed)} is due"
    return f"{where}: {', '.join(fact.spread)} of other rows changed" if fact.spread else ""


def without_dtypes(facts: Iterable[Fact]) -> dict[tuple[str, str], list[Fact]]:
    """The facts by activation and input, and within these each of those that differ, with its dtypes in `dtype`."""
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        some = found.setdefault((fact.activation, fact.given), [])
        same = next((i for i, one in enumerate(some) if _shown(one) == _shown(fact)), None)
        if same is None:
            some.append(fact)
        else:
            some[same] = replace(some[same], dtype=f"{some[same].dtype}, {fact.dtype}")
    return found


def _shown(fact: Fact) -> tuple[object, ...]:
    return tuple((q, _kind(fact.found[q])) for q in fact.differs), fact.swallowed, fact.spread, fact.missing
