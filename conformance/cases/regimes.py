"""Regimes: ways to make networks and their numbers, and what is known of those numbers.

A regime is one row of `REGIMES`: which activations it is for, how its structures are shaped, how a draw is made (a
small function from a structure and a generator to a draw), how its numbers round, and how much of it each profile
takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from ...reference import ACTIVATIONS, Activation, Array, Parameters, Structure, forward
from . import shapes
from .exact_numbers import lattice
from .shapes import Deal, Shape


@dataclass(frozen=True)
class Draw:
    """Parameters, inputs (B, n_0) and targets (B, n_n). In a stack, every array has one more leading axis, one entry a
    case.

    `dead` marks draws that can show nothing, one entry a case: some weight gradient is all zero, or overflows.
    """

    parameters: Parameters
    x: Array
    y: Array
    dead: Array

    def __getitem__(self, index: int | Array | None) -> "Draw":
        """One draw of a stack for an integer, a smaller stack for an index array, and a stack of one for None."""
        return Draw(each(self.parameters, lambda a: a[index]), self.x[index], self.y[index], self.dead[index])

    def astype(self, dtype: np.dtype) -> "Draw":
        """The same numbers in another dtype."""
        return Draw(
            each(self.parameters, lambda a: a.astype(dtype)), self.x.astype(dtype), self.y.astype(dtype), self.dead
        )


def each(parameters: Parameters, change: Callable[[Array], Array]) -> Parameters:
    """Apply `change` to every weight and bias."""
    return Parameters(tuple(map(change, parameters.weights)), tuple(map(change, parameters.biases)))


Rounding = Literal["normal", "gradual", "exact"]
"""How the numbers of a regime round. normal: results below the normal range may be flushed to zero. gradual: with
gradual underflow, as in IEEE 754. exact: not at all.
"""


@dataclass(frozen=True)
class Regime:
    """One row of the table.

    `shape` takes the number of the structure, a deal of the adapter's activations that `pool` accepts, a deal of all
    its activations, and a generator. `wide` (f32, f64) and `narrow` (bf16, f16) give, for each profile, the number of
    structures and of draws of each.
    """

    numbers: Callable[[Structure, np.random.Generator], Draw]
    shape: Callable[[int, Deal, Deal, np.random.Generator], Shape]
    every_fifth: Callable[[Structure, np.random.Generator], Draw] | None = None
    """What makes every fifth draw instead of `numbers`, beginning with draw 4, if anything does."""
    wide: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    narrow: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pool: Callable[[Activation], bool] = lambda row: True
    rounding: Rounding = "normal"
    selects: bool = False
    """Whether rows of x_0 select rows of W_1, so that sums of one term are exact and pre-activations are the numbers
    chosen.
    """
    odd_arrays: bool = False
    """Whether arrays have odd strides, orders and flags."""
    records_choices: bool = False
    """Whether the values that a framework takes for f' at kinks are read from its answers."""
    dead_is_expected: bool = False
    """Whether a layer without a gradient is what the regime is about."""
    twins: bool = False
    """Whether structures of the same shape that differ in one thing are built and called next to each structure."""
    enters_statistics: bool = False
    """Whether its errors are those of plain rounding, and enter the checks of a run as a whole."""
    soak: int = 0
    """How often the program is called in all, with its draws in turn. 0: no calls beside the draws and the repeats."""

    def make_numbers(self, structure: Structure, draw: int, rng: np.random.Generator) -> Draw:
        """Numbers for the draw with this index."""
        return ((draw % 5 == 4 and self.every_fifth) or self.numbers)(structure, rng)


# Numbers.


def _normal(structure: Structure, rng: np.random.Generator) -> Draw:
    """Gaussian numbers. Weights are scaled by 1/sqrt(fan-in) and by a gain that differs from draw to draw."""
    network, batch = structure.network, structure.batch
    gain = 2.0 ** rng.integers(-1, 2)
    widths = network.widths
    weights = tuple(rng.normal(size=pair) * gain / pair[0] ** 0.5 for pair in pairwise(widths))
    biases = () if network.bias == "none" else tuple(rng.normal(size=n) / 2 for n in widths[1:])
    x, y = rng.normal(size=(batch, widths[0])), rng.normal(size=(batch, widths[-1]))
    return Draw(Parameters(weights, biases), x, y, np.zeros((), bool))


def _degenerate(structure: Structure, rng: np.random.Generator) -> Draw:
    """Plain numbers, all rows equal, or half of the rows zero, with equal probability."""
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
    """The outputs of the rule in float64, for numbers rounded to the structure's format."""
    dtype = structure.format.numpy
    given = drawn.astype(dtype).astype(np.dtype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return forward(structure.network, given.parameters, given.x)[1][-1]


def _converged(structure: Structure, rng: np.random.Generator) -> Draw:
    """Residuals of about 1e-6 of the outputs, or as close to that as the format can resolve."""
    drawn = _normal(structure, rng)
    out = _outputs(drawn, structure)
    near = max(2.0**-20, min(0.5, 512 * structure.format.u))
    return Draw(drawn.parameters, drawn.x, out - near * rng.normal(size=out.shape) * np.abs(out), drawn.dead)


def _selecting(structure: Structure, rng: np.random.Generator, layer: int, wanted: Array) -> Draw:
    """A network whose pre-activations at `layer` are rows of `wanted` (n_{layer-1}, n_layer), exactly. Each row of the
    batch selects one, through identities if `layer` is not the first.
    """
    network, widths = structure.network, structure.network.widths
    drawn = _normal(structure, rng)
    if 0 in widths:  # no row passes through a layer without units
        return drawn
    weights, biases = list(drawn.parameters.weights), list(drawn.parameters.biases)
    for i in range(layer - 1):
        weights[i] = np.eye(widths[i + 1])[np.arange(widths[i]) % widths[i + 1]]
        if biases:
            biases[i] = np.zeros_like(biases[i])
    weight = wanted
    if network.bias == "pre":
        bias = rng.integers(-2, 3, size=widths[layer]) / 2.0
        moved, format_ = wanted - bias, structure.format.numpy
        # Only where subtracting and adding the bias rounds nothing.
        stored = moved.astype(format_).astype(np.float64)
        bias = np.where(((stored == moved) & ((stored + bias).astype(format_) == wanted)).all(0), bias, 0.0)
        weight, biases[layer - 1] = wanted - bias, bias
    weights[layer - 1] = weight
    x = np.eye(widths[0])[rng.permutation(np.arange(structure.batch) % widths[0])]
    return Draw(Parameters(tuple(weights), tuple(biases)), x, drawn.y, drawn.dead)


def aimed_layer(structure: Structure) -> int:
    """The layer whose pre-activations are chosen: the first that is not a leading identity, or else the last."""
    names = structure.network.activations
    return next((i for i, name in enumerate(names, 1) if name != "identity"), len(names))


def _kinks(structure: Structure, rng: np.random.Generator) -> Draw:
    """Pre-activations exactly at points where f' jumps or a formula changes, right next to them, and elsewhere."""
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
# 3 z**2 exceeds the largest number of f16 from 148 on, and (1 + |z|)**2 from 255 on.
_OVERFLOWING = {"f16": (148, 250)}


def _tails(structure: Structure, rng: np.random.Generator) -> Draw:
    """Pre-activations where exponentials saturate, overflow and underflow, and at 0. Targets are near the outputs."""
    return _near_outputs(structure, rng, _far(structure, rng, _TAILS.get(structure.dtype, _TAILS["f64"])), 4)


def _shoulders(structure: Structure, rng: np.random.Generator) -> Draw:
    """Pre-activations from 4 to 20, where slopes are small and not yet zero, and one where powers of z overflow f16."""
    wanted = _far(structure, rng, ((4, 20),))
    # In a last layer alone: elsewhere k would be near the smallest normal number, and formulas multiply by z last.
    if wanted.size and structure.dtype in _OVERFLOWING and aimed_layer(structure) == structure.network.depth:
        low, high = _OVERFLOWING[structure.dtype]
        wanted.flat[rng.integers(wanted.size)] = rng.choice((-1.0, 1.0)) * rng.uniform(low, high)
    return _near_outputs(structure, rng, wanted, 16)


def _far(structure: Structure, rng: np.random.Generator, sizes: Sequence[tuple[int, int]]) -> Array:
    """Pre-activations of these sizes for the layer that is chosen, some plain ones, and some zeros."""
    shape = structure.network.widths[aimed_layer(structure) - 1 :][:2]
    ranges = np.array(sizes, float)[rng.integers(len(sizes), size=shape)]
    far = ranges[..., 0] + rng.random(shape) * (ranges[..., 1] - ranges[..., 0])
    wanted = np.where(rng.random(shape) < 0.25, rng.normal(size=shape), far * rng.choice((-1.0, 1.0), size=shape))
    return np.where(rng.random(shape) < 0.125, 0.0, wanted)  # where a quotient of z may be 0/0


def _near_outputs(structure: Structure, rng: np.random.Generator, wanted: Array, divisor: int) -> Draw:
    """These pre-activations, with residuals of about 1, or of the outputs over `divisor` where that is larger."""
    layer, wanted = aimed_layer(structure), wanted.astype(structure.format.numpy).astype(np.float64)
    drawn = _selecting(structure, rng, layer, wanted)
    weights = list(drawn.parameters.weights)
    if layer < structure.network.depth:
        weights[layer] = weights[layer] / 2.0 ** np.ceil(np.log2(np.abs(wanted).max(initial=0.0) or 1.0))
    drawn = replace(drawn, parameters=Parameters(tuple(weights), drawn.parameters.biases))
    out = _outputs(drawn, structure)
    return replace(drawn, y=out - drawn.y * np.maximum(1.0, np.abs(out) / divisor))


def _long(structure: Structure, rng: np.random.Generator) -> Draw:
    """Plain numbers with residuals of mean zero, so that long sums grow as their root. Residuals are smaller if E would
    sum too many of them for its format.

    In bf16 and f16 all terms of a sum have one sign instead. There sums are accumulated in a wider type, and a narrow
    accumulator loses the late terms.
    """
    drawn = _normal(structure, rng)
    noise = drawn.y
    if structure.format.is_narrow:
        drawn, last = _with_one_sign(drawn, structure, rng)
        noise = np.abs(noise) * last
    return _with_residuals(drawn, structure, noise)


def _with_one_sign(drawn: Draw, structure: Structure, rng: np.random.Generator) -> tuple[Draw, Array]:
    """The numbers with all terms of a sum of one sign, and the signs that the outputs have for it."""
    widths = structure.network.widths
    weights = [np.abs(weight) / weight.shape[0] ** 0.5 for weight in drawn.parameters.weights]
    first, last = (rng.choice((-1.0, 1.0), size=n) for n in (widths[0], widths[-1]))
    weights[0] = weights[0] * first[:, None]
    weights[-1] = weights[-1] * last  # the same matrix, where there is one layer
    parameters = Parameters(tuple(weights), tuple(map(np.abs, drawn.parameters.biases)))
    return Draw(parameters, np.abs(drawn.x) * first, drawn.y, drawn.dead), last


def _with_residuals(drawn: Draw, structure: Structure, residual: Array) -> Draw:
    """The numbers with targets that give these residuals, made smaller if E would sum too many of them."""
    out = _outputs(drawn, structure)
    near = min(1.0, float(structure.format.max / 64 / (4 * max(out.size, 1))) ** 0.5)
    return Draw(drawn.parameters, drawn.x, out - near * residual, drawn.dead)


def _means(structure: Structure, rng: np.random.Generator) -> Draw:
    """Sums whose terms have a mean: inputs, weights and residuals of one sign. Half of the residuals of long batches
    are like those of a softmax whose right class is nearly always the first.
    """
    drawn, last = _with_one_sign(_normal(structure, rng), structure, rng)
    residual = np.abs(drawn.y)
    if rng.integers(2) and structure.batch > drawn.y.shape[1] > 0:
        likely = np.exp(drawn.y)
        first = rng.integers(8, size=(structure.batch, 1)) > 0
        right = np.where(first, 0, rng.integers(drawn.y.shape[1], size=first.shape))
        residual = likely / likely.sum(1, keepdims=True) - (np.arange(drawn.y.shape[1]) == right)
    return _with_residuals(drawn, structure, residual * last)


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


REGIMES: dict[str, Regime] = {
    "normal": Regime(
        _normal,
        shapes.normal,
        wide={"quick": (12, 40), "standard": (36, 135), "thorough": (240, 400)},
        narrow={"quick": (2, 20), "standard": (6, 20), "thorough": (40, 100)},
        enters_statistics=True,
    ),
    "square": Regime(
        _normal,
        shapes.square,
        wide={"quick": (3, 40), "standard": (6, 135), "thorough": (40, 400)},
        narrow={"quick": (1, 20), "standard": (2, 20), "thorough": (8, 100)},
        enters_statistics=True,
    ),
    "lattice": Regime(
        _lattice,
        shapes.lattice,
        wide={"quick": (3, 20), "standard": (6, 60), "thorough": (24, 200)},
        narrow={"quick": (2, 10), "standard": (3, 20), "thorough": (12, 60)},
        pool=lambda row: row.piecewise_linear,
        rounding="exact",
    ),
    "kinks": Regime(
        _kinks,
        shapes.aimed,
        wide={"quick": (12, 10), "standard": (24, 40), "thorough": (72, 100)},
        narrow={"quick": (4, 5), "standard": (12, 10), "thorough": (36, 40)},
        pool=lambda row: bool(row.kinks or row.seams),
        selects=True,
        records_choices=True,
        dead_is_expected=True,
    ),
    "tails": Regime(
        _tails,
        shapes.aimed,
        _shoulders,
        wide={"quick": (24, 10), "standard": (48, 40), "thorough": (144, 100)},
        narrow={"quick": (4, 5), "standard": (24, 10), "thorough": (72, 40)},
        selects=True,
        dead_is_expected=True,
    ),
    "converged": Regime(
        _converged,
        shapes.plain,
        wide={"quick": (2, 20), "standard": (6, 60), "thorough": (40, 200)},
        narrow={"quick": (1, 10), "standard": (2, 20), "thorough": (8, 60)},
        enters_statistics=True,
    ),
    "subnormal": Regime(
        _subnormal,
        shapes.two_layers,
        wide={"quick": (2, 10), "standard": (4, 40), "thorough": (16, 100)},
        narrow={"quick": (1, 10), "standard": (2, 20), "thorough": (8, 60)},
        # These pass numbers below the normal range through f and f' unchanged.
        pool=lambda row: row.piecewise_linear,
        rounding="gradual",
    ),
    "degenerate": Regime(
        _degenerate,
        shapes.degenerate,
        wide={"quick": (6, 10), "standard": (8, 20), "thorough": (32, 60)},
        narrow={"quick": (4, 5), "standard": (4, 10), "thorough": (16, 30)},
    ),
    "strided": Regime(
        _normal,
        shapes.plain,
        wide={"quick": (2, 8), "standard": (3, 16), "thorough": (16, 40)},
        narrow={"quick": (1, 4), "standard": (1, 8), "thorough": (4, 20)},
        odd_arrays=True,
        enters_statistics=True,
    ),
    "tiles": Regime(
        _long,
        shapes.tiles,
        wide={"quick": (9, 3), "standard": (16, 10), "thorough": (64, 30)},
        narrow={"quick": (4, 8), "standard": (8, 10), "thorough": (24, 20)},
        enters_statistics=True,
    ),
    "large": Regime(
        _long,
        shapes.large,
        wide={"quick": (2, 1), "standard": (4, 2), "thorough": (8, 4)},
        narrow={"quick": (1, 1), "standard": (2, 2), "thorough": (3, 4)},
    ),
    "means": Regime(
        _means,
        shapes.long,
        wide={"quick": (3, 2), "standard": (8, 8), "thorough": (32, 20)},
        narrow={"quick": (1, 2), "standard": (3, 5), "thorough": (12, 10)},
    ),
    "twins": Regime(
        _normal,
        shapes.twins,
        wide={"quick": (2, 3), "standard": (6, 6), "thorough": (24, 10)},
        narrow={"quick": (1, 2), "standard": (2, 4), "thorough": (8, 10)},
        twins=True,
        enters_statistics=True,
    ),
    "soak": Regime(
        _normal,
        shapes.two_layers,
        wide={"quick": (1, 3), "standard": (2, 3), "thorough": (8, 3)},
        narrow={"quick": (1, 3), "standard": (1, 3), "thorough": (4, 3)},
        soak=400,
    ),
    "layout": Regime(_normal, shapes.plain),
}
"""The regimes by name. "layout" holds the probes that prove an adapter's declared weight layout before all else."""
