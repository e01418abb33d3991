"""Smaller structures: those that a failing one is to be shrunk to, and its own numbers cut to their size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ....reference import Network, Parameters, Structure, backpropagate
from ...cases.regimes import Draw
from ...checks.verdict import Verdict, quantity_of

MOST_LAYERS = 3
_PATTERNS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((1,), 1), ((1,), 2), ((2,), 1), ((2,), 2), ((2, 3), 1), ((2, 3), 2), ((1,), 3), ((3, 2), 3), ((3,), 3),
)  # fmt: skip
"""Widths, repeated to the depth, and batch size: rows and units by themselves, matrices that are square and not, a
batch as large as the widths.
"""


@dataclass(frozen=True)
class Part:
    """A structure made of some layers of another: its first is number `start` of that one, counted from 0."""

    structure: Structure
    start: int = 0


def size(structure: Structure) -> int:
    """How many numbers a pass holds: weights, and a row of each layer for each of the batch."""
    widths = structure.network.widths
    return sum(a * b for a, b in pairwise(widths)) + structure.batch * sum(widths)


def small(structure: Structure, layer: int | None) -> list[Part]:
    """The small structures to try first, the smallest first: up to three layers, one of which is `layer` (counted from
    1; where it is None, the first or the last), in sizes up to three. None is larger than the structure in any way.
    """
    network, batch = structure.network, structure.batch
    found: dict[Part, int] = {}
    for depth in range(1, min(MOST_LAYERS, network.depth) + 1):
        for start in windows(network.depth, depth, layer):
            for pattern, rows in (*_PATTERNS, *(((n,), 0) for n in (1, 2) if batch == 0)):
                widths = tuple(pattern[i % len(pattern)] for i in range(depth + 1))
                if rows > batch or (batch == 0) != (rows == 0) or max(widths) > max(network.widths):
                    continue
                part = Part(_of(structure, start, widths, rows), start)
                if size(part.structure) < size(structure):
                    found.setdefault(part, size(part.structure))
    return sorted(found, key=lambda part: (found[part], part.structure.network.depth))


def windows(depth: int, length: int, layer: int | None) -> list[int]:
    """Where so many layers of a network may begin that hold `layer`, counted from 1: first where it is as near to the
    input or the output as it was.
    """
    if layer is None:
        starts = [0, depth - length]
    else:
        starts = [s for s in range(depth - length + 1) if s < layer <= s + length]
        starts.sort(key=lambda s: (abs((layer - s - 0.5) / length - (layer - 0.5) / depth), s))
    return list(dict.fromkeys(starts))


def layers(structure: Structure, start: int, length: int) -> Part:
    """Some layers as they are."""
    widths = structure.network.widths[start : start + length + 1]
    return Part(_of(structure, start, widths, structure.batch), start)


def _of(structure: Structure, start: int, widths: tuple[int, ...], batch: int) -> Structure:
    names = structure.network.activations[start : start + len(widths) - 1]
    return replace(structure, network=replace(structure.network, widths=widths, activations=names), batch=batch)


def dimensions(structure: Structure) -> tuple[int, ...]:
    """The batch size, and the widths."""
    return (structure.batch, *structure.network.widths)


def sized(structure: Structure, sizes: Sequence[int]) -> Structure:
    """The structure with another batch size and other widths."""
    batch, *widths = sizes
    return replace(structure, network=replace(structure.network, widths=tuple(widths)), batch=batch)


def with_activation(structure: Structure, i: int, name: str) -> Structure:
    """The structure with another activation in its i-th layer, counted from 0."""
    names = structure.network.activations
    return replace(structure, network=replace(structure.network, activations=(*names[:i], name, *names[i + 1 :])))


def layer_of(verdict: Verdict, network: Network) -> int | None:
    """The layer that a failure is about, counted from 1; of the outputs and E the last; None where it is about none."""
    check, layer = quantity_of(verdict.quantity)
    return None if check is None else layer or network.depth


def cut(structure: Structure, one: Draw, verdict: Verdict, part: Part) -> Draw | None:
    """The numbers of one failing draw cut to a part of its structure, so that the layers that stay get what they got
    and the entry that departs is among what stays; None where the part is no part.

    What the layers before gave becomes the input, and the target is set so that the error passed back stays.
    """
    to = part.structure.network
    own = structure.network.widths[part.start : part.start + to.depth + 1]
    if len(own) != to.depth + 1 or part.structure.batch > structure.batch or any(map(int.__gt__, to.widths, own)):
        return None
    wide = one.astype(np.dtype(np.float64))
    weights, biases = wide.parameters.weights, wide.parameters.biases
    with np.errstate(all="ignore"):
        rule = backpropagate(structure.network, wide.parameters, wide.x, wide.y)
    first, last = part.start, part.start + to.depth
    passed_back = rule.outputs - wide.y if last == structure.network.depth else rule.k[last] @ weights[last].mT
    row, units = _entry(verdict, structure.network)
    rows = _kept(structure.batch, part.structure.batch, row)
    x, y = rule.x[first][rows], (rule.x[last] - passed_back)[rows]
    picks = [_kept(n, m, units.get(first + i)) for i, (n, m) in enumerate(zip(own, to.widths, strict=True))]
    kept = [weights[first + i][a][:, b] for i, (a, b) in enumerate(pairwise(picks))]
    held = [biases[first + i][b] for i, b in enumerate(picks[1:])] if to.bias != "none" and biases else []
    x, y = x[:, picks[0]], y[:, picks[-1]]
    if dimensions(part.structure) == (1, 1, 1):
        # One unit and one row: what the unit was given is put in as the weight, of an input of 1.
        x, kept = np.ones((1, 1)), [rule.z[first][rows][:, picks[-1]] - (held[0] if to.bias == "pre" and held else 0)]
    if to.bias != "none" and not held:
        return None
    drawn = Draw(Parameters(tuple(kept), tuple(held)), x, y, np.zeros((), bool)).astype(part.structure.format.numpy)
    return drawn if _is_finite(drawn) else None


def _is_finite(one: Draw) -> bool:
    arrays = (*one.parameters.weights, *one.parameters.biases, one.x, one.y)
    return all(np.isfinite(a.astype(np.float64)).all() for a in arrays)


def _kept(size: int, count: int, index: int | None) -> list[int]:
    """The first so many of a dimension, and this one among them."""
    kept = list(range(count))
    if index is not None and index >= count > 0:
        kept[-1] = index
    return kept


def _entry(verdict: Verdict, network: Network) -> tuple[int | None, Mapping[int, int]]:
    """Row of the batch, and units by the number of their width, of the entry that departs."""
    layer, at = layer_of(verdict, network), verdict.at
    quantity = verdict.quantity
    if layer is None or not at:
        return None, {}
    if quantity.startswith("dE/dW"):
        return None, {layer - 1: at[0], layer: at[1]}
    if quantity.startswith("dE/db"):
        return None, {layer: at[0]}
    return at[0], {layer: at[1]}


def fewer(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """One dimension as it is, the largest first, and all others 1, or 2."""
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        for most in (1, 2):
            yield tuple(n if i == j else min(n, most) for j, n in enumerate(sizes))
