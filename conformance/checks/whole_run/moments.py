"""Sums of the errors of a run, kept so that they can be merged exactly and in any order.

Each error is divided by its standard deviation σ. One tensor of one draw is a *cluster*: its sums are rounded once, to
integers times `UNIT`, and all that follows is integer arithmetic. So a record does not depend on which worker ran which
group.

Only *local* errors enter: those of a tensor whose inputs are all given or shown. An error that was inherited from a
hidden step has the sign of that step's formula, and says nothing of the arithmetic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from itertools import chain
from operator import add

import numpy as np

from ....reference import ACTIVATIONS, Array, Structure
from ....reference.error_model import ORACLE_U
from ....reference.propagation import Quantity
from ...cases.regimes import Draw
from .wide_oracle import compute_wide, has_wider_float

UNIT = 2.0**-24
"""The sums of a cluster are multiples of this many σ."""
WIDE_DRAWS = 8
"""How many draws of a float64 structure are compared with an oracle in a wider format."""
LONG = 16
"""Inner dimensions above this are kept apart from those up to it, to see whether a bias grows with the length of a sum.
"""


@dataclass(frozen=True)
class Sums:
    """Sums over clusters c with n_c entries. For each entry, e is the error over σ, and v the value in units of σ / u:
    how large e would be for a relative error of u.

    Where s_c = Σ e, o_c = Σ sign(v) e, q_c = Σ e², a_c = Σ |v|: `plain` is Σ s_c, `outward` Σ o_c, `square` Σ q_c and
    `size` Σ a_c, all in `UNIT`; `product` is Σ e v and `size_square` Σ v² over entries, in `UNIT`; `plain_2` is Σ s_c²,
    `outward_2` Σ o_c², `square_2` Σ q_c², `size_2` Σ a_c² and `outward_size` Σ o_c a_c, in `UNIT`²; `entries_2` is
    Σ n_c²; `plain_entries` is Σ s_c n_c, and likewise the others, in `UNIT`.
    """

    clusters: int = 0
    entries: int = 0
    entries_2: int = 0
    plain: int = 0
    outward: int = 0
    square: int = 0
    size: int = 0
    product: int = 0
    size_square: int = 0
    plain_2: int = 0
    outward_2: int = 0
    square_2: int = 0
    size_2: int = 0
    outward_size: int = 0
    square_entries: int = 0
    plain_entries: int = 0
    outward_entries: int = 0
    size_entries: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*map(add, vars(self).values(), vars(other).values()))


Key = tuple[str, str, str, str]
"""(dtype, quantity, activation, length): the quantity is z, x, k, dE/dW or dE/db; the activation is that of an x or a
k, and empty otherwise; the length is that of the sums, "short" or "long", and empty where they are none or nested.
"""

Moments = Mapping[Key, Sums]

_FIRST_ORDER = ("entries", "plain", "outward", "square", "size", "product", "size_square")
_NAMES = {"W": "dE/dW", "b": "dE/db"}


def measure_tensor(structure: Structure, stack: Draw, views: Mapping[str, Array], step: Quantity) -> Array | None:
    """The sums of one quantity of D draws, (D, 7), one column for each of `_FIRST_ORDER`; None for a quantity that is
    not judged over a run, or whose inputs are hidden.

    Entries below the normal range, or at a kink, are left out: there a result may be flushed to zero, or more than one
    value is right. In float64
    the first `WIDE_DRAWS` draws are compared with an oracle in a wider float, and the others are left out; all are, if
    the machine has no wider float.
    """
    observed = views.get(step.name)
    if observed is None or step.estimate.error is None or not _is_local(structure, views, step):
        return None
    value, sigma, jump = step.estimate.value, step.estimate.error, step.estimate.jump
    taken = len(value)
    if structure.dtype == "f64":
        if not has_wider_float():
            return None
        taken = min(taken, WIDE_DRAWS)
        value, sigma, observed = (
            compute_wide(structure, stack.parameters, stack.x, views, step, taken),
            sigma[:taken],
            observed[:taken],
        )
        # The wide oracle's own rounding errors are negligible; σ has a share for those of a float64 oracle.
        sigma = sigma * (structure.format.u / (structure.format.u + ORACLE_U))
        jump = None if jump is None else jump[:taken]
    sums = np.zeros((len(step.estimate.value), len(_FIRST_ORDER)))
    with np.errstate(all="ignore"):
        e = ((observed.astype(value.dtype) - value) / sigma).astype(np.float64)
        v = (np.asarray(value, np.float64) * structure.format.u) / sigma
    counted = np.isfinite(e) & np.isfinite(v) & (np.abs(step.estimate.value[:taken]) >= structure.format.tiny)
    if jump is not None:
        counted &= jump == 0
    e, v = (np.where(counted, a, 0.0).reshape(taken, -1) for a in (e, v))
    columns = (
        counted.reshape(taken, -1).sum(1),
        e.sum(1),
        np.copysign(e, e * v).sum(1),
        np.square(e).sum(1),
        np.abs(v).sum(1),
        (e * v).sum(1),
        np.square(v).sum(1),
    )
    sums[:taken] = np.stack(columns, 1)
    return sums


def _is_local(structure: Structure, views: Mapping[str, Array], step: Quantity) -> bool:
    """Whether all inputs of a step are shown or given.

    What follows from the residual alone is left out (k_n, and with "post" dE/db_n): a loss that is scaled to a mean and
    back multiplies it by a rounded constant, whose error has one sign in all draws of a structure.
    """
    i, depth, bias = step.layer, structure.network.depth, structure.network.bias
    needed = {
        "z": [f"x_{i - 1}"],
        "x": [f"z_{i}"],
        "k": [f"k_{i + 1}", f"z_{i}"],
        "W": [f"x_{i - 1}", f"k_{i}"],
        "b": [f"k_{i}" if bias == "pre" else f"k_{i + 1}"],
    }.get(step.symbol)
    if needed is None or (i == depth and (step.symbol == "k" or (step.symbol == "b" and bias == "post"))):
        return False
    return all(name == "x_0" or name in views for name in needed)


def key_of(structure: Structure, symbol: str, layer: int) -> Key:
    """Where the sums of a quantity belong."""
    widths, batch, name = structure.network.widths, structure.batch, ""
    if symbol in "xk":
        name = structure.network.activations[layer - 1]
    # With "post", dE/db is a sum of sums.
    of_bias = batch if structure.network.bias == "pre" else None
    terms = {"z": widths[layer - 1], "W": batch, "b": of_bias, "k": widths[layer + 1] if symbol == "k" else None}
    inner = terms.get(symbol)
    length = "" if inner is None else ("long" if inner > LONG else "short")
    return structure.dtype, _NAMES.get(symbol, symbol), name, length


def collect(parts: Iterable[tuple[Key, Array]]) -> dict[Key, Sums]:
    """The sums of clusters, given as rows (..., 7) of `measure_tensor`, by key. Rows without entries are left out."""
    found: dict[Key, Sums] = {}
    for key, rows in parts:
        if rows[:, 0].any():
            found[key] = found.get(key, Sums()) + _of_clusters(rows[rows[:, 0] > 0])
    return found


def _of_clusters(rows: Array) -> Sums:
    # Python's integers: products of these do not fit 64 bits.
    units = np.rint(rows[:, 1:] / UNIT).astype(np.int64).astype(object)
    n, (plain, outward, square, size, product, size_square) = rows[:, 0].astype(np.int64).astype(object), units.T
    firsts = (n, plain, outward, square, size, product, size_square)
    pairs = (
        (plain, plain), (outward, outward), (square, square), (size, size), (outward, size),
        (square, n), (plain, n), (outward, n), (size, n),
    )  # fmt: skip
    entries, *sums = (int(some.sum()) for some in firsts)
    return Sums(len(n), entries, int(n @ n), *sums, *(int(a @ b) for a, b in pairs))


def merge(moments: Iterable[Moments]) -> dict[Key, Sums]:
    """The sums of several groups together, in the order of the keys."""
    found: dict[Key, Sums] = {}
    for key, sums in chain.from_iterable(some.items() for some in moments):
        found[key] = found[key] + sums if key in found else sums
    return dict(sorted(found.items()))


def total(sums: Iterable[Sums]) -> Sums:
    """Sums added up."""
    return reduce(Sums.__add__, sums, Sums())


def to_rows(moments: Moments) -> list[list[str | int]]:
    """Moments as plain data, a row for each key."""
    return [[*key, *vars(sums).values()] for key, sums in sorted(moments.items())]


def from_rows(rows: Sequence[Sequence[str | int]]) -> dict[Key, Sums]:
    """The inverse of `to_rows`. Raises ValueError for anything else."""
    found: dict[Key, Sums] = {}
    for row in rows:
        texts, numbers = row[:4], row[4:]
        if len(numbers) != len(fields(Sums)) or not all(type(n) is int for n in numbers):
            raise ValueError(f"{row[:4]} is no row of moments")
        dtype, quantity, activation, length = map(str, texts)
        key = dtype, quantity, activation, length
        if list(key) != list(texts) or key in found:
            raise ValueError(f"{row[:4]} is no row of moments, or repeats one")
        found[key] = Sums(*map(int, numbers))
    return found


def is_exact_formula(activation: str, symbol: str) -> bool:
    """Whether a usual formula of f (for an x) or f' (for a k) rounds to nearest only, without rounded constants."""
    row = ACTIVATIONS[activation]
    return row.piecewise_linear or (row.f_ulps if symbol == "x" else row.slope_ulps) == 0
