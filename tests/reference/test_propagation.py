"""The tolerances of the whole rule against measured errors."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, BIASES, Array, Bias, DType, Network, Parameters, Pass, backpropagate
from kterm.reference.propagation import Quantity, Shown, propagate
from kterm.reference.rounding import Estimate, Reading, bound, deviation

from ..support.rounding import BLIND, F32, F64, ROWS, excess, needs_longdouble, rounded


def drawn_network(rng: np.random.Generator, names: Sequence[str], bias: Bias, f: DType, depth: int) -> Any:
    widths = tuple(int(w) for w in rng.integers(1, 33, size=depth + 1))
    network = Network(widths, tuple(rng.choice(names, size=depth).tolist()), bias)
    gain = 2.0 ** rng.integers(-2, 3)
    weights = tuple(rounded(rng.normal(size=(a, b)) * gain / a**0.5, f) for a, b in pairwise(widths))
    biases = () if bias == "none" else tuple(rounded(rng.normal(size=w), f) for w in widths[1:])
    batch = int(rng.integers(1, 17))
    x, y = (rounded(rng.normal(size=(batch, w)), f) for w in (widths[0], widths[-1]))
    return network, Parameters(weights, biases), x, y


def cast(parameters: Parameters, dtype: Any) -> Parameters:
    return Parameters(*(tuple(a.astype(dtype) for a in some) for some in (parameters.weights, parameters.biases)))


def named(answer: Pass) -> dict[str, Array]:
    values = {"E": answer.error}
    for symbol, some in (("z", answer.z), ("x", answer.x[1:]), ("k", answer.k)):
        values |= {f"{symbol}_{i}": a for i, a in enumerate(some, 1)}
    values |= {f"dE/dW_{i}": a for i, a in enumerate(answer.weight_gradients, 1)}
    return values | {f"dE/db_{i}": a for i, a in enumerate(answer.bias_gradients, 1)}


def shown(answer: Pass, f: DType) -> Shown:
    def as_format(arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(a.astype(f.numpy).astype(np.float64) for a in arrays)

    return Shown(as_format(answer.z), as_format(answer.x[1:]), as_format(answer.k))


SMOOTH = [row.name for row in ROWS if not row.kinks]


def in_another_order(
    network: Network, parameters: Parameters, x: Array, y: Array, dtype: Any, rng: np.random.Generator
) -> Pass:
    """The rule in `dtype` with every sum in another order.

    Units and rows are permuted, and the permutation is undone in the result.
    """
    orders = [rng.permutation(width) for width in network.widths]
    rows = rng.permutation(x.shape[0])
    back, rows_back = [np.argsort(order) for order in orders], np.argsort(rows)
    weights = tuple(
        w.astype(dtype)[np.ix_(a, b)] for w, (a, b) in zip(parameters.weights, pairwise(orders), strict=True)
    )
    biases = tuple(b.astype(dtype)[order] for b, order in zip(parameters.biases, orders[1:], strict=False))
    shuffled = (a.astype(dtype)[np.ix_(rows, order)] for a, order in ((x, orders[0]), (y, orders[-1])))
    answer = backpropagate(network, Parameters(weights, biases), *shuffled)

    def restored(arrays: Sequence[Array], first: int) -> tuple[Array, ...]:
        return tuple(a[np.ix_(rows_back, order)] for a, order in zip(arrays, back[first:], strict=True))

    gradients = zip(answer.weight_gradients, pairwise(back), strict=True)
    return Pass(
        restored(answer.z, 1),
        restored(answer.x, 0),
        answer.error,
        restored(answer.k, 1),
        tuple(g[np.ix_(a, b)] for g, (a, b) in gradients),
        tuple(g[order] for g, order in zip(answer.bias_gradients, back[1:], strict=False)),
    )


def passes(
    format_: DType, reading: Reading, local: bool, names: Sequence[str], exact: bool = False
) -> Iterator[tuple[str, Array]]:
    """Yield name and departures, in units of the tolerance, of every quantity of many networks.

    NumPy computes the quantities in the format with sums in another order, or in longdouble with `exact`.
    """
    rng = np.random.default_rng(5)
    for number in range(150):
        drawn = drawn_network(rng, names, BIASES[number % 3], format_, 1 + number % 5)
        with np.errstate(all="ignore"):
            dtype = np.dtype(np.longdouble) if exact else format_.numpy
            network, parameters, x, y = drawn
            answer = in_another_order(network, parameters, x, y, dtype, rng)
        answers = named(answer)
        for quantity in propagate(network, parameters, x, y, reading, shown(answer, format_) if local else None):
            computed = answers[quantity.name]
            if np.isfinite(computed).all():
                yield quantity.name, excess(quantity.estimate, computed, reading)


@pytest.mark.parametrize("format_", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("local", [False, True], ids=["whole", "local"])
def test_the_bound_of_the_whole_rule_is_never_exceeded(format_: DType, local: bool) -> None:
    departures = list(passes(format_, bound(format_), local, list(ACTIVATIONS)))
    assert sum(d.size for _, d in departures) > 50_000
    assert [(name, float(d.max(initial=0))) for name, d in departures if not (d <= 1).all()] == []


@needs_longdouble
@pytest.mark.parametrize("reading", [bound(F64), deviation(F64)], ids=["bound", "deviation"])
def test_the_exact_values_are_within_the_tolerances_of_float64(reading: Reading) -> None:
    for name, departures in passes(F64, reading, False, list(ACTIVATIONS), exact=True):
        assert (departures <= 1).all(), name


@pytest.mark.parametrize("format_", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("local", [False, True], ids=["whole", "local"])
@pytest.mark.parametrize("names", [list(ACTIVATIONS), SMOOTH], ids=["all", "smooth"])
def test_the_deviation_of_the_whole_rule_is_one(format_: DType, local: bool, names: list[str]) -> None:
    reading = deviation(format_)
    largest: dict[str, list[float]] = {}
    for name, departures in passes(format_, reading, local, names):
        largest.setdefault(name.rstrip("0123456789"), []).append(float(departures.max(initial=0)) * reading.kappa)
    assert set(largest) == {"z_", "x_", "E", "k_", "dE/dW_", "dE/db_"}
    for kind, found in largest.items():
        assert max(found) <= reading.kappa, kind
        assert names is not SMOOTH or max(found) < 7, kind
        # E is a single number, and NumPy sums pairwise, so its error is smaller than the largest of many.
        # In float64 NumPy's pass uses the oracle's own arithmetic, so its errors cannot show a deviation as too large.
        assert format_ is F64 or np.median(found) > (BLIND if kind != "E" else BLIND / 4), kind


@needs_longdouble
def test_the_oracle_uses_up_no_more_than_its_own_half_in_float64() -> None:
    # The other half is for the framework under test. In float64 u is twice the unit roundoff, one for each of the two.
    rng, reading = np.random.default_rng(6), bound(F64)
    for number in range(60):
        network, parameters, x, y = drawn_network(rng, SMOOTH, BIASES[number % 3], F64, 1 + number % 4)
        wide = named(
            backpropagate(network, cast(parameters, np.longdouble), x.astype(np.longdouble), y.astype(np.longdouble))
        )
        for quantity in propagate(network, parameters, x, y, reading):
            assert excess(quantity.estimate, wide[quantity.name], reading).max(initial=0) <= 0.5 + 1e-6, quantity.name


def test_a_mistake_of_the_size_of_a_tolerance_is_beyond_the_bound_too() -> None:
    # The bound covers rounding only: a relative error of 1/1000 exceeds it.
    rng = np.random.default_rng(7)
    caught = total = 0
    for number in range(60):
        network, parameters, x, y = drawn_network(rng, SMOOTH, BIASES[number % 3], F32, 1 + number % 3)
        for quantity in propagate(network, parameters, x, y, bound(F32)):
            if quantity.symbol == "W":
                largest = np.abs(quantity.estimate.value).argmax()
                tolerance = quantity.estimate.tolerance(bound(F32)).flat[largest]
                total += 1
                caught += bool(1e-3 * np.abs(quantity.estimate.value).max() > tolerance)
    assert caught > 0.9 * total


def last_step(depth: int, local: bool, reading: Reading, f: DType) -> dict[str, float]:
    """The median relative error of the quantities of layer 1, and of the outputs."""
    rng = np.random.default_rng(11)
    network = Network((8,) * (depth + 1), ("tanh",) * depth, "pre")
    # With orthogonal weights and small values the signal neither grows nor vanishes.
    weights = tuple(rounded(np.linalg.qr(rng.normal(size=(8, 8)))[0], f) for _ in range(depth))
    parameters = Parameters(weights, tuple(np.zeros(8) for _ in range(depth)))
    x, y = rounded(rng.normal(size=(4, 8)) / 8, f), rounded(rng.normal(size=(4, 8)), f)
    answer = backpropagate(network, cast(parameters, f.numpy), x.astype(f.numpy), y.astype(f.numpy))
    found = {}
    for quantity in propagate(network, parameters, x, y, reading, shown(answer, f) if local else None):
        estimate: Estimate = quantity.estimate
        scale = np.sqrt(np.square(estimate.value).mean())
        found[quantity.name] = float(np.median(estimate.tolerance(reading)) / scale / f.u)
    return {"outputs": found[f"x_{depth}"]} | {name: found[name] for name in ("k_1", "dE/dW_1", "dE/db_1")}


@pytest.mark.parametrize("reading", [bound(F32), deviation(F32)], ids=["bound", "deviation"])
def test_a_local_certificate_does_not_grow_with_depth(reading: Reading) -> None:
    shallow, deep = (last_step(depth, True, reading, F32) for depth in (2, 32))
    whole = last_step(32, False, reading, F32)
    for name, size in deep.items():
        assert size < 2 * shallow[name], name
        assert size < whole[name] / 2, name
    assert last_step(64, False, reading, F32)["k_1"] > 1.2 * whole["k_1"]


def test_only_the_step_after_a_wrong_value_is_judged_from_it() -> None:
    rng, reading = np.random.default_rng(12), deviation(F64)
    network, parameters, x, y = drawn_network(rng, ["tanh"], "pre", F64, 4)
    answer = backpropagate(network, parameters, x, y)
    right = shown(answer, F64)
    assert right.z is not None
    z = list(right.z)
    z[1] = answer.z[1] + 0.01
    changed = Shown(tuple(z), right.x, right.k)

    def values(given: Shown) -> dict[str, Array]:
        steps: Iterator[Quantity] = propagate(network, parameters, x, y, reading, given)
        return {quantity.name: quantity.estimate.value for quantity in steps}

    before, after = values(right), values(changed)
    assert {name for name, value in before.items() if not np.array_equal(value, after[name])} == {"x_2", "k_2"}
