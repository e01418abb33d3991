"""Numbers for which every float of the forward and the backward pass is exact, in any order of summation. A framework's
answer must then match bit for bit.

All entries are small integers times a power of two. Such a sum of products is exact in a format of p bits if the sum of
the absolute values of its terms, in units of the product of the factors' last places, is at most 2**p. Then every
partial sum, in any order, and every product is a whole number of those units below 2**p.
"""

import itertools

import numpy as np

from ...reference import ACTIVATIONS, Array, Parameters, Structure, backpropagate

CANDIDATES = 96
"""How many draws are made at once. The best of them is taken."""
# Bits of the integers drawn, by bits of the format: what depth 3 leaves room for.
_BITS = {53: (5, 4), 24: (3, 2), 11: (2, 1), 8: (1, 0)}


def lattice(structure: Structure, rng: np.random.Generator) -> tuple[Parameters, Array, Array, bool]:
    """Parameters, x (B, n_0) and y (B, n_n) in float64, and whether the pass through them is exact in the structure's
    format, away from every kink, with a gradient in every layer. It is the best of a fixed number of candidates.
    """
    network, batch = structure.network, structure.batch
    wide, narrow = _BITS[int(-np.log2(structure.format.u))]

    def integers(*shape: int) -> Array:
        # In three ranges in turn, the last with one size for all. There are no zeros, since a zero shows nothing.
        most = np.array((2**wide, 2**narrow, 1))[np.arange(CANDIDATES) % 3].reshape(-1, *(1 for _ in shape))
        sign = rng.choice((-1.0, 1.0), size=(CANDIDATES, *shape))
        return sign * (1 + np.floor(rng.random((CANDIDATES, *shape)) * most))

    # Shifted by a power of two that differs between arrays, so that the pre-activations of a layer straddle its kinks.
    weights = tuple(integers(*pair) * 2.0**-wide for pair in itertools.pairwise(network.widths))
    biases = () if network.bias == "none" else tuple(integers(n) * 2.0 ** -(wide + 1) for n in network.widths[1:])
    x, y = integers(batch, network.widths[0]) / 2, integers(batch, network.widths[-1]) / 2
    parameters = Parameters(weights, biases)
    good = exact(structure, parameters, x, y)
    best = int(good.argmax())
    chosen = Parameters(tuple(w[best] for w in weights), tuple(b[best] for b in biases))
    return chosen, x[best], y[best], bool(good[best])


def exact(structure: Structure, parameters: Parameters, x: Array, y: Array) -> Array:
    """One boolean for each draw of a stack, in float64: exact throughout, alive in every layer, and away from every
    kink.
    """
    network, dtype = structure.network, structure.format
    bits, limit = -np.log2(dtype.u), dtype.max
    answer = backpropagate(network, parameters, x, y)
    good = np.ones(len(x), bool)

    def stored(*arrays: Array) -> None:
        nonlocal good
        for a in arrays:
            with np.errstate(over="ignore"):
                fits = (a.astype(dtype.numpy).astype(np.float64) == a) & (np.abs(a) < limit)
            fits &= (a == 0) | (np.abs(a) >= dtype.tiny)
            good &= fits.reshape(len(a), -1).all(1)

    def summed(a: Array, b: Array) -> None:
        nonlocal good
        total = (np.abs(a) @ np.abs(b)).reshape(len(a), -1).max(1, initial=0.0)
        good &= total <= 2.0**bits * _quantum(a) * _quantum(b)

    slopes = [ACTIVATIONS[name].derivative(z) for name, z in zip(network.activations, answer.z, strict=True)]
    residual = answer.outputs - y
    sides = [*(answer.k[i + 1] @ parameters.weights[i + 1].mT for i in range(network.depth - 1)), residual]
    for i, weight in enumerate(parameters.weights):
        before = answer.x[i]
        summed(before, weight)
        summed(before.mT, answer.k[i])
        summed(np.ones((len(x), 1, x.shape[-2])), answer.k[i])
        summed(np.ones((len(x), 1, x.shape[-2])), sides[i])
        if i:
            summed(answer.k[i], weight.mT)
        row = ACTIVATIONS[network.activations[i]]
        at_kink = np.zeros(len(x), bool)
        for kink in row.kinks:
            at_kink |= (answer.z[i] == kink.point).reshape(len(x), -1).any(1)
        good &= ~at_kink & (answer.weight_gradients[i] != 0).reshape(len(x), -1).any(1)
        bare = before @ weight  # before a bias is added
        stored(weight, bare, answer.z[i], row.f(answer.z[i]), answer.x[i + 1], slopes[i], answer.k[i], sides[i])
        stored(answer.weight_gradients[i])
    squares = np.square(residual).reshape(len(x), 1, -1)
    summed(squares, np.ones((len(x), squares.shape[-1], 1)))
    stored(x, y, residual, np.square(residual), 2 * answer.error, answer.error, *parameters.biases)
    stored(*answer.bias_gradients)
    return good


def _quantum(a: Array) -> Array:
    """The largest power of two that divides every entry, one for each draw; infinite if none is nonzero."""
    fraction, exponent = np.frexp(a)
    integer = np.ldexp(fraction, 53).astype(np.int64)
    lowest = np.ldexp((integer & -integer).astype(np.float64), exponent - 53)
    return np.where(a == 0, np.inf, lowest).reshape(len(a), -1).min(1, initial=np.inf)


__all__ = ["CANDIDATES", "exact", "lattice"]
