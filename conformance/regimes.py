"""Regimes: each a way to make networks and their numbers, and what is known of those numbers.

A regime is one row of `REGIMES`: which activations it is for, how its structures are shaped, how a draw is made (a
small function from a structure and a generator to a draw), how its numbers round, and how much of it each profile
takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from ..reference import ACTIVATIONS, Activation, Array, Parameters, Structure, forward
from .lattice import lattice


@dataclass(frozen=True)
class Draw:
    """Parameters, inputs (B, n_0) and targets (B, n_n). As a stack, every array has one leading axis, a case an entry.

    `dead` marks, a case an entry, a draw that can show nothing: some weight gradient is all zero, or overflows.
    """

    parameters: Parameters
    x: Array
    y: Array
    dead: Array

    def __getitem__(self, i: int) -> "Draw":
        return Draw(each(self.parameters, lambda a: a[i]), self.x[i], self.y[i], self.dead[i])

    def astype(self, dtype: np.dtype) -> "Draw":
        """The same numbers in another dtype."""
        return Draw(
            each(self.parameters, lambda a: a.astype(dtype)), self.x.astype(dtype), self.y.astype(dtype), self.dead
        )


def each(parameters: Parameters, change: Callable[[Array], Array]) -> Parameters:
    """`change` of every weight and bias."""
    return Parameters(tuple(map(change, parameters.weights)), tuple(map(change, parameters.biases)))


class Deal:
    """Deals names like cards, one shuffled deck after another, so that each comes up equally often."""

    def __init__(self, names: Sequence[str], rng: np.random.Generator) -> None:
        self.names, self._rng, self._deck = tuple(names), rng, list[str]()

    def __call__(self, count: int) -> list[str]:
        """The next so many."""
        while len(self._deck) < count:
            self._deck += [self.names[int(j)] for j in self._rng.permutation(len(self.names))]
        dealt, self._deck = self._deck[:count], self._deck[count:]
        return dealt


@dataclass(frozen=True)
class Shape:
    """Batch size, widths n_0..n_n, and the activation of each layer."""

    batch: int
    widths: tuple[int, ...]
    activations: tuple[str, ...]


Rounding = Literal["normal", "gradual", "exact"]
"""How a regime's numbers round: as usual, where what falls below the normal range may be flushed to zero; with gradual
underflow, as IEEE 754 has it; not at all.
"""


@dataclass(frozen=True)
class Regime:
    """One row of the table.

    `shape` is called with the number of the structure, a deal of the adapter's activations (those of `pool`), a deal
    of all the adapter has, and a generator. `wide` and `narrow` say for f32 and f64, and for bf16 and f16, how many
    structures and how many draws of each a profile takes.
    """

    numbers: Callable[[Structure, np.random.Generator], Draw]
    shape: Callable[[int, Deal, Deal, np.random.Generator], Shape]
    wide: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    narrow: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pool: Callable[[Activation], bool] = lambda row: True
    rounding: Rounding = "normal"
    selects: bool = False
    """Whether rows of x_0 select rows of W_1, so that sums of one term are exact and pre-activations are what was put
    in.
    """
    odd_arrays: bool = False
    """Whether arrays are put in with odd strides and locks."""
    records_choices: bool = False
    """Whether the values that a framework chooses for f' at kinks are read from its answers."""
    dead_is_expected: bool = False
    """Whether a layer without a gradient is what the regime is about."""


# Numbers.


def _normal(structure: Structure, rng: np.random.Generator) -> Draw:
    """Gaussian numbers, weights scaled by 1/sqrt(fan-in) and by a gain that differs from draw to draw."""
    network, batch = structure.network, structure.batch
    gain = 2.0 ** rng.integers(-1, 2)
    widths = network.widths
    weights = tuple(rng.normal(size=pair) * gain / pair[0] ** 0.5 for pair in pairwise(widths))
    biases = () if network.bias == "none" else tuple(rng.normal(size=n) / 2 for n in widths[1:])
    x, y = rng.normal(size=(batch, widths[0])), rng.normal(size=(batch, widths[-1]))
    return Draw(Parameters(weights, biases), x, y, np.zeros((), bool))


def _degenerate(structure: Structure, rng: np.random.Generator) -> Draw:
    """Plain, with all rows equal, or with half of the rows zero, in equal parts."""
    drawn = _normal(structure, rng)
    kind = rng.integers(3)
    x, y = drawn.x, drawn.y
    if kind == 1 and structure.batch:
        x, y = np.repeat(x[:1], structure.batch, 0), np.repeat(y[:1], structure.batch, 0)
    elif kind == 2:
        x = np.where(np.arange(structure.batch)[:, None] % 2 == 1, 0.0, x)
    return Draw(drawn.parameters, x, y, drawn.dead)


def _lattice(structure: Structure, rng: np.random.Generator) -> Draw:
    """Small integers times powers of two: every float of the pass is exact."""
    parameters, x, y, good = lattice(structure, rng)
    return Draw(parameters, x, y, np.array(not good))


def _outputs(drawn: Draw, structure: Structure) -> Array:
    """What the rule answers in float64 to numbers rounded to the structure's format."""
    dtype = structure.format.numpy
    given = drawn.astype(dtype).astype(np.dtype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return forward(structure.network, given.parameters, given.x)[1][-1]


def _converged(structure: Structure, rng: np.random.Generator) -> Draw:
    """Residuals of about 1e-6 of the outputs, or as near to that as the format can tell apart."""
    drawn = _normal(structure, rng)
    out = _outputs(drawn, structure)
    near = max(2.0**-20, min(0.5, 512 * structure.format.u))
    return Draw(drawn.parameters, drawn.x, out - near * rng.normal(size=out.shape) * np.abs(out), drawn.dead)


def _selecting(structure: Structure, rng: np.random.Generator, layer: int, wanted: Array) -> Draw:
    """A network whose pre-activations at `layer` are rows of `wanted` (n_{layer-1}, n_layer), exactly: each row of the
    batch selects one, through identities where `layer` is not the first.
    """
    network, widths = structure.network, structure.network.widths
    drawn = _normal(structure, rng)
    weights, biases = list(drawn.parameters.weights), list(drawn.parameters.biases)
    for i in range(layer - 1):
        weights[i] = np.eye(widths[i + 1])[np.arange(widths[i]) % widths[i + 1]]
        if biases:
            biases[i] = np.zeros_like(biases[i])
    weight = wanted
    if network.bias == "pre":
        bias = rng.integers(-2, 3, size=widths[layer]) / 2.0
        moved, format_ = wanted - bias, structure.format.numpy
        # Only where taking the bias away and putting it back rounds nothing.
        stored = moved.astype(format_).astype(np.float64)
        bias = np.where(((stored == moved) & ((stored + bias).astype(format_) == wanted)).all(0), bias, 0.0)
        weight, biases[layer - 1] = wanted - bias, bias
    weights[layer - 1] = weight
    x = np.eye(widths[0])[rng.permutation(np.arange(structure.batch) % widths[0])]
    return Draw(Parameters(tuple(weights), tuple(biases)), x, drawn.y, drawn.dead)


def aimed_layer(structure: Structure) -> int:
    """The layer whose pre-activations are aimed at: the first that is not a leading identity, or the last."""
    names = structure.network.activations
    return next((i for i, name in enumerate(names, 1) if name != "identity"), len(names))


def _kinks(structure: Structure, rng: np.random.Generator) -> Draw:
    """Pre-activations exactly where f' jumps, or where a formula changes, right beside that, and elsewhere."""
    layer, widths, format_ = aimed_layer(structure), structure.network.widths, structure.format
    row = ACTIVATIONS[structure.network.activations[layer - 1]]
    points = [kink.point for kink in row.kinks] + list(row.seams) or [0.0]
    shape = widths[layer - 1 : layer + 1]
    at = rng.choice(points, size=shape).astype(format_.numpy).astype(np.float64)
    sign = rng.choice((-1.0, 1.0), size=shape)
    step = 2 * format_.u * np.abs(at) + np.where(at == 0, format_.tiny, 0.0)
    kind = rng.integers(6, size=shape)
    offset = np.select([kind < 3, kind == 3, kind == 4], [0.0, step, 2.0 ** -rng.integers(2, 5, size=shape)], 1.0)
    wanted = np.where(kind == 5, rng.normal(size=shape), at + sign * offset)
    return _selecting(structure, rng, layer, wanted.astype(format_.numpy).astype(np.float64))


_TAILS = {"f64": ((20, 40), (88, 104), (709, 745)), "f16": ((8, 12), (16, 18), (20, 40))}


def _tails(structure: Structure, rng: np.random.Generator) -> Draw:
    """Pre-activations where exponentials saturate, overflow and underflow, and targets near what comes out."""
    layer, widths = aimed_layer(structure), structure.network.widths
    shape = widths[layer - 1 : layer + 1]
    ranges = np.array(_TAILS.get(structure.dtype, _TAILS["f64"]), float)[rng.integers(3, size=shape)]
    far = ranges[..., 0] + rng.random(shape) * (ranges[..., 1] - ranges[..., 0])
    wanted = np.where(rng.random(shape) < 0.25, rng.normal(size=shape), far * rng.choice((-1.0, 1.0), size=shape))
    wanted = wanted.astype(structure.format.numpy).astype(np.float64)
    drawn = _selecting(structure, rng, layer, wanted)
    weights = list(drawn.parameters.weights)
    if layer < structure.network.depth:
        weights[layer] = weights[layer] / 2.0 ** np.ceil(np.log2(np.abs(wanted).max()))
    drawn = Draw(Parameters(tuple(weights), drawn.parameters.biases), drawn.x, drawn.y, drawn.dead)
    out = _outputs(drawn, structure)
    return Draw(drawn.parameters, drawn.x, out - drawn.y * np.maximum(1.0, np.abs(out) / 4), drawn.dead)


def _subnormal(structure: Structure, rng: np.random.Generator) -> Draw:
    """Products below the normal range: in the forward pass from small inputs and weights, or in the backward pass from
    a small residual and small weights.
    """
    drawn, half = _normal(structure, rng), 2.0 ** (np.log2(structure.format.tiny) // 2)
    weights, depth = list(drawn.parameters.weights), structure.network.depth
    biases = tuple(np.zeros_like(b) for b in drawn.parameters.biases)
    if rng.integers(2) or depth == 1:
        weights[0] = weights[0] * half / 2
        return Draw(Parameters(tuple(weights), biases), drawn.x * half, drawn.y, drawn.dead)
    weights[-1] = weights[-1] * half / 2
    return Draw(Parameters(tuple(weights), biases), drawn.x, drawn.y * half, drawn.dead)


# Shapes.

_DEPTHS = (1, 2, 2, 2, 3, 3, 4, 5, 8)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """Log-uniform, both ends included."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def _sizes(rng: np.random.Generator) -> tuple[int, int, tuple[int, ...]]:
    """Depth, batch, and one width more than the depth."""
    depth = int(_DEPTHS[rng.integers(len(_DEPTHS))])
    batch = _between(rng, 2, 32)
    return depth, batch, tuple(_between(rng, 1, 64) for _ in range(depth + 1))


def _plain(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    depth, batch, widths = _sizes(rng)
    return Shape(batch, widths, tuple(pool(depth)))


def _normal_shape(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    if i != 10:
        return _plain(i, pool, every, rng)
    # One that is deep: local certificates keep it conclusive.
    return Shape(_between(rng, 2, 6), tuple(_between(rng, 3, 8) for _ in range(33)), tuple(pool(32)))


def _square(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    depth = min(int(_DEPTHS[rng.integers(len(_DEPTHS))]), 5)
    batch = _between(rng, 2, 16)
    return Shape(batch, (batch,) * (depth + 1), tuple(pool(depth)))


def _degenerate_shape(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    depth, batch, widths = _sizes(rng)
    depth = min(depth, 3)
    widths = (1,) * (depth + 1) if i % 4 == 2 else tuple(min(w, 8) for w in widths[: depth + 1])
    batch = (0, 1, min(batch, 6), max(2, min(batch, 6)))[i % 4]
    return Shape(batch, widths, tuple(pool(depth)))


def _lattice_shape(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    depth = 1 + i % 3
    # Batch and output width are powers of two: a loss that takes a mean, which is then undone, stays exact.
    widths = (*(int(n) for n in rng.integers(2, 5, size=depth)), 2 ** int(rng.integers(0, 3)))
    return Shape(2 ** int(rng.integers(1, 3)), widths, tuple(pool(depth)))


def _aimed_shape(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Rows select pre-activations: of the first layer, or behind an identity of the second; one layer may follow."""
    behind = i % 3 == 2 and "identity" in every.names
    names = (*["identity"] * behind, *pool(1), *(every(1) if i % 3 else ()))
    width = 4 + int(rng.integers(0, 5))
    widths = (width, *(int(n) for n in rng.integers(3, 7, size=len(names))))
    return Shape(width, widths, names)


def _two_layers(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    return Shape(int(rng.integers(2, 6)), tuple(int(n) for n in rng.integers(2, 6, size=3)), tuple(pool(2)))


REGIMES: dict[str, Regime] = {
    "normal": Regime(
        _normal,
        _normal_shape,
        wide={"quick": (12, 40), "standard": (36, 135), "thorough": (240, 400)},
        narrow={"quick": (2, 20), "standard": (6, 20), "thorough": (40, 100)},
    ),
    "square": Regime(
        _normal,
        _square,
        wide={"quick": (3, 40), "standard": (6, 135), "thorough": (40, 400)},
        narrow={"quick": (1, 20), "standard": (2, 20), "thorough": (8, 100)},
    ),
    "lattice": Regime(
        _lattice,
        _lattice_shape,
        wide={"quick": (3, 20), "standard": (6, 60), "thorough": (24, 200)},
        narrow={"quick": (2, 10), "standard": (3, 20), "thorough": (12, 60)},
        pool=lambda row: row.piecewise_linear,
        rounding="exact",
    ),
    "kinks": Regime(
        _kinks,
        _aimed_shape,
        wide={"quick": (12, 10), "standard": (24, 40), "thorough": (72, 100)},
        narrow={"quick": (4, 5), "standard": (12, 10), "thorough": (36, 40)},
        pool=lambda row: bool(row.kinks or row.seams),
        selects=True,
        records_choices=True,
        dead_is_expected=True,
    ),
    "tails": Regime(
        _tails,
        _aimed_shape,
        wide={"quick": (24, 10), "standard": (48, 40), "thorough": (144, 100)},
        narrow={"quick": (4, 5), "standard": (24, 10), "thorough": (72, 40)},
        selects=True,
        dead_is_expected=True,
    ),
    "converged": Regime(
        _converged,
        _plain,
        wide={"quick": (2, 20), "standard": (6, 60), "thorough": (40, 200)},
        narrow={"quick": (1, 10), "standard": (2, 20), "thorough": (8, 60)},
    ),
    "subnormal": Regime(
        _subnormal,
        _two_layers,
        wide={"quick": (2, 10), "standard": (4, 40), "thorough": (16, 100)},
        narrow={"quick": (1, 10), "standard": (2, 20), "thorough": (8, 60)},
        # Numbers below the normal range come through f and f' of these as such.
        pool=lambda row: row.piecewise_linear,
        rounding="gradual",
    ),
    "degenerate": Regime(
        _degenerate,
        _degenerate_shape,
        wide={"quick": (6, 10), "standard": (8, 20), "thorough": (32, 60)},
        narrow={"quick": (4, 5), "standard": (4, 10), "thorough": (16, 30)},
    ),
    "strided": Regime(
        _normal,
        _plain,
        wide={"quick": (2, 8), "standard": (3, 16), "thorough": (16, 40)},
        narrow={"quick": (1, 4), "standard": (1, 8), "thorough": (4, 20)},
        odd_arrays=True,
    ),
    "layout": Regime(_normal, _plain),
}
"""The regimes by name; "layout" holds the probes that prove an adapter's declared weight layout before all else."""
