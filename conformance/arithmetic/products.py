"""The matrix products of an adapter's ordinary programs, as functions of two factors.

A network of one identity layer computes z = x W and, with W = 0 and y = -k, the gradient dE/dW = x^T k. A second
identity layer with W_1 = 0 and y = -k_2 gives k_1 = k_2 W_2^T. So each factor of each product can be chosen, and what
the program returns is the product itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...adapters.quantities import arrays
from ...reference import DTYPES, Array, Network, Parameters, Structure
from ..runners.runner import Runner

Kind = Literal["z", "dE/dx", "dE/dW"]

INNER = 32
"""The inner dimension of every product, and the batch size of the larger batches."""
COLUMNS = INNER * (INNER - 1) // 2
"""The number of columns of the right factor: a probe each."""


@dataclass(frozen=True)
class Multiplier:
    """One product of a program that is built: `multiply(a, b)` takes a row `a` (INNER,) and columns `b` (INNER, c), c
    at most COLUMNS, of float64 numbers that the dtype represents, and gives a @ b (c,) as float64. An entry that is not
    the same in every row of the product is NaN: the program does not compute it in one way. Raises NoAnswer.
    """

    dtype: str
    kind: Kind
    batch: int
    multiply: Callable[[Array, Array], Array]


def make_multipliers(runner: Runner, dtype: str) -> "list[Callable[[], list[Multiplier]]]":
    """Functions that build one program each, and give its products: the program of a function is the current one until
    the next is called. Raises NoAnswer from these where the adapter does not run such a network.
    """
    one, many = (lambda: _build_one_layer(runner, dtype, 1)), (lambda: _build_one_layer(runner, dtype, INNER))
    back_one, back = (lambda: _build_two_layers(runner, dtype, 1)), (lambda: _build_two_layers(runner, dtype, INNER))
    return [one, many, back_one, back]


def _build_one_layer(runner: Runner, dtype: str, batch: int) -> list[Multiplier]:
    structure = Structure(Network((INNER, COLUMNS), ("identity",), "none"), batch, dtype)
    runner.build(structure)
    format_ = DTYPES[dtype].numpy

    def forward(a: Array, b: Array) -> Array:
        x, weight = np.tile(a, (batch, 1)), _padded(b)
        return _ask(runner, structure, (weight,), x, np.zeros((batch, COLUMNS)), "z_1", "outputs")[:, : b.shape[1]]

    def weights(a: Array, b: Array) -> Array:
        x, k = np.tile(a[:, None], (1, INNER)), _padded(b)
        zero = np.zeros((INNER, COLUMNS), format_)
        return _ask(runner, structure, (zero,), x, -k, "dE/dW_1")[:, : b.shape[1]]

    made = [Multiplier(dtype, "z", batch, _agreed(forward))]
    # The sum of this product runs over the batch.
    return [*made, Multiplier(dtype, "dE/dW", batch, _agreed(weights))] if batch > 1 else made


def _build_two_layers(runner: Runner, dtype: str, batch: int) -> list[Multiplier]:
    structure = Structure(Network((batch, COLUMNS, INNER), ("identity", "identity"), "none"), batch, dtype)
    runner.build(structure)
    # The rows of x select the rows of k_1, so that dE/dW_1 is k_1 where k is not shown.
    x = np.eye(batch)

    def backward(a: Array, b: Array) -> Array:
        k = np.tile(a, (batch, 1))
        given = (np.zeros((batch, COLUMNS)), _padded(b).T)
        return _ask(runner, structure, given, x, -k, "k_1", "dE/dW_1")[:, : b.shape[1]]

    return [Multiplier(dtype, "dE/dx", batch, _agreed(backward))]


def _padded(b: Array) -> Array:
    return np.pad(b, ((0, 0), (0, COLUMNS - b.shape[1])))


def _agreed(multiply: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def agreed(a: Array, b: Array) -> Array:
        rows = multiply(a, b)
        return np.where((rows == rows[0]).all(0), rows[0], np.nan)

    return agreed


def _ask(runner: Runner, structure: Structure, weights: tuple[Array, ...], x: Array, y: Array, *names: str) -> Array:
    """The first of the named quantities that the program shows, as float64."""
    format_ = structure.format.numpy
    *own, x, y = (np.array(array, format_, order="C") for array in (*weights, x, y))
    answer = runner.call("normal", Parameters(tuple(own), ()), x, y)
    shown = arrays(answer.require_form())
    return next(shown[name] for name in names if name in shown).astype(np.float64)
