"""Candidates: smaller structures to try, and the numbers of a failing draw cut to their size."""

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
"""Widths, repeated to the depth, and batch size: single rows and units, square and oblong matrices, and a batch that is
as large as the widths.
"""


@dataclass(frozen=True)
class Candidate:
    """A smaller structure to try. Its first layer is layer `start`, counted from 0, of the structure that it is made
    from.
    """

    structure: Structure
    start: int = 0


def count_numbers(structure: Structure) -> int:
    """The numbers that a pass holds: all weights, and batch times width for each layer."""
    widths = structure.network.widths
    return sum(a * b for a, b in pairwise(widths)) + structure.batch * sum(widths)


def list_small_candidates(structure: Structure, layer: int | None) -> list[Candidate]:
    """The small structures to try first, the smallest first: one to three consecutive layers with sizes up to three.

    One of the layers is `layer`, counted from 1; if that is None, the first or the last. No candidate has a larger
    width or batch than the structure.
    """
    network, batch = structure.network, structure.batch
    found: dict[Candidate, int] = {}
    for depth in range(1, min(MOST_LAYERS, network.depth) + 1):
        for start in layer_starts(network.depth, depth, layer):
            for pattern, rows in (*_PATTERNS, *(((n,), 0) for n in (1, 2) if batch == 0)):
                widths = tuple(pattern[i % len(pattern)] for i in range(depth + 1))
                if rows > batch or (batch == 0) != (rows == 0) or max(widths) > max(network.widths):
                    continue
                candidate = Candidate(_take(structure, start, widths, rows), start)
                if count_numbers(candidate.structure) < count_numbers(structure):
                    found.setdefault(candidate, count_numbers(candidate.structure))
    return sorted(found, key=lambda candidate: (found[candidate], candidate.structure.network.depth))


def layer_starts(depth: int, length: int, layer: int | None) -> list[int]:
    """Where `length` consecutive layers of a network can start, counted from 0, so that they include `layer`, counted
    from 1. The first starts put that layer about as near to the input and the output as it was.
    """
    if layer is None:
        starts = [0, depth - length]
    else:
        starts = [s for s in range(depth - length + 1) if s < layer <= s + length]
        starts.sort(key=lambda s: (abs((layer - s - 0.5) / length - (layer - 0.5) / depth), s))
    return list(dict.fromkeys(starts))


def take_layers(structure: Structure, start: int, length: int) -> Candidate:
    """`length` layers of the structure from layer `start` on, counted from 0, with their widths."""
    widths = structure.network.widths[start : start + length + 1]
    return Candidate(_take(structure, start, widths, structure.batch), start)


def _take(structure: Structure, start: int, widths: tuple[int, ...], batch: int) -> Structure:
    names = structure.network.activations[start : start + len(widths) - 1]
    return replace(structure, network=replace(structure.network, widths=widths, activations=names), batch=batch)


def sizes_of(structure: Structure) -> tuple[int, ...]:
    """The batch size, and the widths."""
    return (structure.batch, *structure.network.widths)


def with_sizes(structure: Structure, sizes: Sequence[int]) -> Structure:
    """The structure with another batch size and other widths, in the order of `sizes_of`."""
    batch, *widths = sizes
    return replace(structure, network=replace(structure.network, widths=tuple(widths)), batch=batch)


def with_activation(structure: Structure, i: int, name: str) -> Structure:
    """The structure with another activation in layer i, counted from 0."""
    names = structure.network.activations
    return replace(structure, network=replace(structure.network, activations=(*names[:i], name, *names[i + 1 :])))


def failing_layer(verdict: Verdict, network: Network) -> int | None:
    """The layer that a failure is about, counted from 1. The outputs and E belong to the last layer; None if the
    failure is about no quantity.
    """
    check, layer = quantity_of(verdict.quantity)
    return None if check is None else layer or network.depth


def cut_draw(structure: Structure, one: Draw, verdict: Verdict, candidate: Candidate) -> Draw | None:
    """The numbers of one failing draw, cut to the size of a candidate and rounded to its dtype. Returns None if the
    candidate is not a part of the structure, or if a number is not finite.

    The layers that are left receive what they received before, and the entry that departs is one of those that are
    left: the input of the candidate is what the dropped layers computed, and its targets are chosen so that the same
    error is passed back.
    """
    network = candidate.structure.network
    widths = structure.network.widths[candidate.start : candidate.start + network.depth + 1]
    if (
        len(widths) != network.depth + 1
        or candidate.structure.batch > structure.batch
        or any(map(int.__gt__, network.widths, widths))
    ):
        return None
    wide = one.astype(np.dtype(np.float64))
    weights, biases = wide.parameters.weights, wide.parameters.biases
    with np.errstate(all="ignore"):
        rule = backpropagate(structure.network, wide.parameters, wide.x, wide.y)
    first, last = candidate.start, candidate.start + network.depth
    passed_back = rule.outputs - wide.y if last == structure.network.depth else rule.k[last] @ weights[last].mT
    failing_row, failing_units = _failing_entry(verdict, structure.network)
    rows = _pick(structure.batch, candidate.structure.batch, failing_row)
    x, y = rule.x[first][rows], (rule.x[last] - passed_back)[rows]
    units = [
        _pick(n, m, failing_units.get(first + i)) for i, (n, m) in enumerate(zip(widths, network.widths, strict=True))
    ]
    cut_weights = [weights[first + i][a][:, b] for i, (a, b) in enumerate(pairwise(units))]
    cut_biases = [biases[first + i][b] for i, b in enumerate(units[1:])] if network.bias != "none" and biases else []
    x, y = x[:, units[0]], y[:, units[-1]]
    if sizes_of(candidate.structure) == (1, 1, 1):
        # One unit and one row: the weight becomes the pre-activation without its bias, and the input becomes 1.
        bias = cut_biases[0] if network.bias == "pre" and cut_biases else 0
        x, cut_weights = np.ones((1, 1)), [rule.z[first][rows][:, units[-1]] - bias]
    if network.bias != "none" and not cut_biases:
        return None
    parameters = Parameters(tuple(cut_weights), tuple(cut_biases))
    cut = Draw(parameters, x, y, np.zeros((), bool)).astype(candidate.structure.format.numpy)
    return cut if _is_finite(cut) else None


def _is_finite(one: Draw) -> bool:
    arrays = (*one.parameters.weights, *one.parameters.biases, one.x, one.y)
    return all(np.isfinite(a.astype(np.float64)).all() for a in arrays)


def _pick(size: int, count: int, needed: int | None) -> list[int]:
    """The first `count` indices of a dimension; the last of them is replaced by `needed` if that is not among them."""
    picked = list(range(count))
    if needed is not None and needed >= count > 0:
        picked[-1] = needed
    return picked


def _failing_entry(verdict: Verdict, network: Network) -> tuple[int | None, Mapping[int, int]]:
    """The row of the batch of the entry that departs, and its units by the index of their width."""
    layer, at = failing_layer(verdict, network), verdict.at
    quantity = verdict.quantity
    if layer is None or not at:
        return None, {}
    if quantity.startswith("dE/dW"):
        return None, {layer - 1: at[0], layer: at[1]}
    if quantity.startswith("dE/db"):
        return None, {layer: at[0]}
    return at[0], {layer: at[1]}


def list_thin_sizes(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Sizes with one dimension as it is, the largest first, and all others at most 1, or at most 2."""
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        for most in (1, 2):
            yield tuple(n if i == j else min(n, most) for j, n in enumerate(sizes))
