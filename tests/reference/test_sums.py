"""The deviation of a sum against errors measured in exact arithmetic: in every order, with terms of every kind."""

from collections.abc import Callable

import numpy as np
import pytest

from kterm.reference import Array, rounding
from kterm.reference.rounding import Estimate, bound, deviation

from ..support.frameworks import sound
from ..support.rounding import F32

SUMS: dict[str, sound.Sum] = {made.name: made.sums for made in sound.ORDERS if made.sums is not sound.Ordered.sums}
SUMS["row-by-row"] = sound.RowByRow.sums
COLUMNS = 40


def _normal(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    return rng.normal(size=(12, n)), rng.normal(size=(n, COLUMNS))


def _with_a_mean(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    return rng.normal(size=(12, n)) + rng.normal(size=(12, 1)), rng.normal(size=(n, COLUMNS)) + 1


def _of_one_sign(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    return np.abs(rng.normal(size=(12, n))), rng.exponential(size=(n, COLUMNS))


def _like_a_softmax(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """The hidden layer's activations, and probabilities minus 1 for the right class of each row."""
    likely = np.exp(rng.normal(size=(n, COLUMNS)))
    residual = likely / likely.sum(1, keepdims=True)
    residual[np.arange(n), rng.choice(COLUMNS, n, p=np.arange(1, COLUMNS + 1) / np.arange(1, COLUMNS + 1).sum())] -= 1
    return rng.normal(size=(12, n)) + rng.normal(size=(12, 1)), residual


def _few_large(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    return rng.normal(size=(12, n)), rng.normal(size=(n, COLUMNS)) * np.exp(2 * rng.normal(size=(n, COLUMNS)))


TERMS = (_normal, _with_a_mean, _of_one_sign, _like_a_softmax, _few_large)


def _measured(sums: sound.Sum, a: Array, b: Array, bias: Array | None) -> tuple[Estimate, Array]:
    """The estimate of a @ b + bias, and the errors of sums in f32."""
    reading = deviation(F32)
    a, b = (part.astype(np.float32).astype(np.float64) for part in (a, b))
    due = rounding.product(Estimate(a), Estimate(b), reading)
    start = None
    if bias is not None:
        start = bias.astype(np.float32)
        due = rounding.add_bias(due, start.astype(np.float64), reading)
        start = start[None]
    computed = sums(a.astype(np.float32), b.astype(np.float32), start)
    return due, computed.astype(np.float64) - due.value  # the float64 sum is exact in comparison


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: terms.__name__.strip("_"))
@pytest.mark.parametrize("order", SUMS)
def test_the_deviation_of_a_sum_holds_in_any_order(order: str, terms: Callable[..., tuple[Array, Array]]) -> None:
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 8, 64, 512):
        ratios = []
        for _ in range(max(1, 8 // n)):
            for bias in (None, rng.normal(size=COLUMNS) * n**0.5):
                due, error = _measured(SUMS[order], *terms(rng, n), bias)
                assert due.error is not None
                ratios.append((error / due.error).ravel())
        ratio = np.concatenate(ratios)
        assert np.abs(ratio).max() < 5, n
        # A rounding is at most u, and at most u/sqrt(3) of it in the mean square.
        assert np.square(ratio).mean() < 0.34, n


def test_a_sum_of_one_sign_was_beyond_the_root_of_its_terms() -> None:
    rng, n = np.random.default_rng(2), 2048
    a, b = _of_one_sign(rng, n)
    due, error = _measured(SUMS["row-by-row"], a, b, None)
    of_terms = (n * (np.square(a) @ np.square(b))) ** 0.5 * F32.u
    assert np.abs(error / of_terms).max() > rounding.SIGMAS
    assert due.error is not None
    assert np.abs(error / due.error).max() < 4
    assert np.abs(error / due.error).max() > 0.5  # and it is no wider than that


def test_a_deviation_is_about_as_large_as_the_errors() -> None:
    rng = np.random.default_rng(3)
    for terms in TERMS:
        for n in (2, 16, 512):
            due, error = _measured(SUMS["row-by-row"], *terms(rng, n), None)
            assert due.error is not None
            assert np.square(error / due.error).mean() ** 0.5 > 0.2, (terms, n)


@pytest.mark.parametrize("order", SUMS)
def test_the_bound_of_a_sum_with_a_bias_is_never_exceeded(order: str) -> None:
    rng, reading = np.random.default_rng(4), bound(F32)
    for n in (1, 2, 3, 7, 40):
        for terms in TERMS:
            a, b = (part.astype(np.float32) for part in terms(rng, n))
            bias = (rng.normal(size=COLUMNS) * n).astype(np.float32)
            left, right = (Estimate(part.astype(np.float64)) for part in (a, b))
            due = rounding.add_bias(rounding.product(left, right, reading), bias.astype(np.float64), reading)
            error = np.abs(SUMS[order](a, b, bias[None]).astype(np.float64) - due.value)
            assert (error <= due.tolerance(reading)).all(), (n, terms)


def test_a_bias_is_exact_only_where_the_sum_before_it_is() -> None:
    reading = deviation(F32, selects=True)
    one, several = np.array([[1.0, 0.0, 0.0]]), np.array([[0.5, 0.25, 1.0]])
    weight, bias = np.array([[0.5], [1.5], [-0.75]]), np.array([2.0])
    exact = rounding.add_bias(rounding.product(Estimate(one), Estimate(weight), reading), bias, reading)
    assert exact.error is not None
    assert not exact.error.any()
    # The oracle's own additions are exact here as well, but a framework's sum before the bias may be another number.
    rounds = rounding.add_bias(rounding.product(Estimate(several), Estimate(weight), reading), bias, reading)
    assert rounds.error is not None
    assert (rounds.error >= F32.u * np.abs(rounds.value)).all()
    # After an activation with an error, a bias of 0 rounds nothing.
    after = Estimate(np.array([[1.0]]), np.array([[1e-9]]))
    assert rounding.add_bias(after, np.zeros(1), reading).error == after.error
