"""Shapes: how the structures of each regime are made, from their number, the adapter's activations and a generator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...reference import ACTIVATIONS, DTYPES, Bias, Structure


class Deal:
    """Deals names like cards, one shuffled deck after another, so that each occurs equally often."""

    def __init__(self, names: Sequence[str], rng: np.random.Generator) -> None:
        self.names, self._rng, self._deck = tuple(names), rng, list[str]()

    def __call__(self, count: int) -> list[str]:
        """The next `count` names."""
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


_DEPTHS = (1, 2, 2, 2, 3, 3, 4, 5, 8)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """A log-uniform integer; both ends are included."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def _sizes(rng: np.random.Generator) -> tuple[int, int, tuple[int, ...]]:
    """Depth, batch size, and depth + 1 widths."""
    depth = int(_DEPTHS[rng.integers(len(_DEPTHS))])
    batch = _between(rng, 2, 32)
    return depth, batch, tuple(_between(rng, 1, 64) for _ in range(depth + 1))


def plain(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Depth up to 8, widths up to 64, batch size up to 32."""
    depth, batch, widths = _sizes(rng)
    return Shape(batch, widths, tuple(pool(depth)))


def normal(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Plain; one structure of each plan is deep."""
    if i != 10:
        return plain(i, pool, every, rng)
    # A deep one. Local certificates keep it conclusive.
    return Shape(_between(rng, 2, 6), tuple(_between(rng, 3, 8) for _ in range(33)), tuple(pool(32)))


def square(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """All widths are the batch size."""
    depth = min(int(_DEPTHS[rng.integers(len(_DEPTHS))]), 5)
    batch = _between(rng, 2, 16)
    return Shape(batch, (batch,) * (depth + 1), tuple(pool(depth)))


def degenerate(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """In turn an empty batch, a batch of one, widths of one, and none of these."""
    depth, batch, widths = _sizes(rng)
    depth = min(depth, 3)
    widths = (1,) * (depth + 1) if i % 4 == 2 else tuple(min(w, 8) for w in widths[: depth + 1])
    batch = (0, 1, min(batch, 6), max(2, min(batch, 6)))[i % 4]
    return Shape(batch, widths, tuple(pool(depth)))


def hollow(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """In turn no hidden units, no inputs and no outputs."""
    widths = tuple(int(n) for n in rng.integers(2, 6, size=3))
    widths = ((widths[0], 0, widths[2]), (0, *widths[1:]), (*widths[:2], 0))[i % 3]
    return Shape(int(rng.integers(2, 6)), widths, tuple(pool(2)))


def lattice(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Small enough for exact sums."""
    depth = 1 + i % 3
    # Batch size and output width are powers of two, so that a loss that takes a mean, which is then undone, stays
    # exact.
    widths = (*(int(n) for n in rng.integers(2, 5, size=depth)), 2 ** int(rng.integers(0, 3)))
    return Shape(2 ** int(rng.integers(1, 3)), widths, tuple(pool(depth)))


def aimed(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Rows select pre-activations of the first layer, or of the second behind an identity. One layer may follow."""
    behind = i % 3 == 2 and "identity" in every.names
    names = (*["identity"] * behind, *pool(1), *(every(1) if i % 3 else ()))
    width = 4 + int(rng.integers(0, 5))
    widths = (width, *(int(n) for n in rng.integers(3, 7, size=len(names))))
    return Shape(width, widths, names)


def two_layers(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Two small layers."""
    return Shape(int(rng.integers(2, 6)), tuple(int(n) for n in rng.integers(2, 6, size=3)), tuple(pool(2)))


_EDGES = (16, 32, 64, 128, 256)
_KINDS = ("input", "batch", "output", "hidden")


LEAST_TILE = _EDGES[0] - 1
"""The least size of a dimension that shows the edge of a tile."""
LEAST_LONG = 64
"""The fewest terms of a sum that is taken for long where an adapter cannot bear more."""


def tile_size(size: int, most: int) -> int:
    """The largest size up to `most` that lies at the edge of a tile as `size` does, or that is odd if `size` is past
    every edge. If there is none, the smaller of the two.
    """
    if size > _EDGES[-1] + 1:
        return min(size, most - 1 + most % 2)
    side = next((size - edge for edge in _EDGES if abs(size - edge) <= 1), 0)
    at_edges = (edge + side for edge in _EDGES if edge + side <= min(size, most))
    return max(at_edges, default=min(size, most))


def tiles(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """One dimension is large and the others are small.

    First each kind of dimension in turn is long and odd: past every tile edge, and a multiple of none. Then it is one
    below, at, or one above an edge. 60 structures hold all combinations of kind, edge and side.
    """
    kind, j = _KINDS[i % 4], i - len(_KINDS)
    size = int(rng.integers(2048, 4096)) | 1 if j < 0 else _EDGES[j % 5] + j % 3 - 1
    depth = 2 if j < 0 else int(rng.integers(1, 3)) + (kind == "hidden")
    widths = [int(n) for n in rng.integers(2, 6, size=depth + 1)]
    batch = (3, 5, 2, 7, 1, 4)[i % 6]
    if kind == "batch":
        batch = size
    else:
        widths[{"input": 0, "output": depth, "hidden": max(depth - 1, 1)}[kind]] = size
    return Shape(batch, tuple(widths), tuple(pool(depth)))


def long(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Sums of 256 to 4,096 terms: over the inputs, the batch or the outputs in turn."""
    size, depth = _between(rng, 256, 4096), int(rng.integers(1, 3))
    widths = [int(n) for n in rng.integers(2, 6, size=depth + 1)]
    batch = int(rng.integers(2, 6))
    if i % 3 == 1:
        batch = size
    else:
        widths[0 if i % 3 == 0 else -1] = size
    return Shape(batch, tuple(widths), tuple(pool(depth)))


_INDEX = 2**16
"""What an index of 16 bits holds no more."""
LEAST_LARGE = 1024
"""The least size of a large dimension."""


def large(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """One unit beside a large dimension. First a hidden layer whose error comes from one unit, past 4,096 numbers in
    all. Then one layer of more than 65,536 inputs, outputs and rows in turn.
    """
    size, kind = _INDEX + 1 + int(rng.integers(0, 64)), i % 4
    if kind == 0:
        return Shape(5, (int(rng.integers(2, 5)), int(rng.integers(LEAST_LARGE, 2048)), 1), tuple(pool(2)))
    batch, widths = ((2, (size, 1)), (1, (1, size)), (size, (int(rng.integers(1, 3)), 1)))[kind - 1]
    return Shape(batch, widths, tuple(pool(1)))


_POINTS = np.linspace(-1.0, 1.0, 9)


def twins(i: int, pool: Deal, every: Deal, rng: np.random.Generator) -> Shape:
    """Two small layers whose activations differ, if the adapter has such: in the other order it is another network."""
    names = pool(2)
    for _ in range(8):
        first, second = (ACTIVATIONS[name].f(_POINTS) for name in names)
        if np.abs(first - second).max() > 1 / 64:
            break
        names = pool(2)
    # One more row fills a tile of four or eight, in which the last row of a larger batch may remain.
    batch = (3, 7)[i % 2]
    return Shape(batch, tuple(int(n) for n in rng.integers(2, 6, size=3)), tuple(names))


def twin_structures(structure: Structure, biases: Sequence[Bias], dtypes: Sequence[str]) -> list[Structure]:
    """Structures that differ from one in the order of activations, in the bias placement, in the dtype, or by one more
    row of the batch, as far as there are such `biases` and `dtypes`.
    """
    network = structure.network
    turned = network.activations[1:] + network.activations[:1]
    made = [replace(structure, network=replace(network, activations=turned))]
    for bias in [name for name in biases if name != network.bias][:1]:
        made.append(replace(structure, network=replace(network, bias=bias)))
    order = list(DTYPES)
    others = [name for name in dtypes if name != structure.dtype]
    for dtype in sorted(others, key=lambda name: abs(order.index(name) - order.index(structure.dtype)))[:1]:
        made.append(replace(structure, dtype=dtype))
    if structure.batch:
        made.append(replace(structure, batch=structure.batch + 1))
    return [twin for twin in made if twin != structure]
