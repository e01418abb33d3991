"""The derived tolerances against measured errors: never exceeded by sound arithmetic, and never far from it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kterm.reference import (
    ACTIVATIONS,
    BIASES,
    DTYPES,
    Activation,
    Array,
    Bias,
    DType,
    Network,
    Parameters,
    Pass,
    backpropagate,
    rounding,
)
from kterm.reference.rounding import Estimate, Quantity, Reading, Shown, bound, deviation, propagate

F32, F64 = DTYPES["f32"], DTYPES["f64"]
WIDER = np.finfo(np.longdouble).nmant > 52
needs_longdouble = pytest.mark.skipif(not WIDER, reason="longdouble is no wider than float64 here")
FORMATS = [pytest.param(F32, id="f32"), pytest.param(F64, id="f64", marks=needs_longdouble)]
ROWS = list(ACTIVATIONS.values())
BLIND = 0.05
"""A typical tensor's largest error, in standard deviations, is above this, or the deviation is no deviation."""


def rounded(values: Array, format_: DType) -> Array:
    """The nearest numbers of the format, as float64."""
    return values.astype(format_.numpy).astype(np.float64)


def inherited(values: Array, reading: Reading) -> Estimate:
    """Values of which a framework holds the nearest numbers of the format."""
    return Estimate(values, reading.u * np.abs(values))


def held(values: Array, f: DType, rng: np.random.Generator) -> Array:
    """What a framework holds of `values`, in the format: the nearest numbers; in float64, which the oracle holds to
    within its own rounding, those or their neighbours.
    """
    near = values.astype(f.numpy)
    return near if f is F32 else np.nextafter(near, rng.choice([-np.inf, np.inf], values.shape) * near)


def excess(estimate: Estimate, computed: Array, reading: Reading) -> Array:
    """Departures in units of the tolerance; 0 where there is no departure."""
    departure = np.abs(computed.astype(np.longdouble) - estimate.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(departure == 0, 0, departure / estimate.tolerance(reading)).astype(np.float64)


# Every step: what it is given is drawn, what the framework has of it is rounded to the format, and its answer is
# computed in the format by NumPy.
Step = Callable[[np.random.Generator, DType, Reading], tuple[Estimate, Array]]


def _drawn(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape) * 2.0 ** rng.integers(-6, 7)


def _product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = _drawn(rng, 6, n), _drawn(rng, n, 5)
    due = rounding.product(inherited(a, reading), inherited(b, reading), reading)
    return due, held(a, f, rng) @ held(b, f, rng)


def _exact_product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = rounded(_drawn(rng, 6, n), f), rounded(_drawn(rng, n, 5), f)
    order = rng.permutation(n)  # the oracle's own order of summation is no framework's
    due = rounding.product(Estimate(a), Estimate(b), reading)
    return due, a[:, order].astype(f.numpy) @ b[order].astype(f.numpy)


def _shown_product(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    n = int(rng.integers(1, 65))
    a, b = _drawn(rng, 6, n), rounded(_drawn(rng, n, 5), f)
    shown = held(a, f, rng).astype(np.float64)
    estimate = Estimate(shown, reading.u * np.abs(shown), once=True)
    # The framework goes on with a, of which it shows the rounded.
    wide = (a.astype(np.longdouble) @ b.astype(np.longdouble)).astype(f.numpy)
    return rounding.product(estimate, Estimate(b), reading), wide


def _shifted(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    a, b = _drawn(rng, 6, 5), rounded(_drawn(rng, 5), f)
    due = rounding.add_bias(inherited(a, reading), b, reading)
    return due, held(a, f, rng) + b.astype(f.numpy)


def _residual(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    x, y = _drawn(rng, 6, 5), rounded(_drawn(rng, 6, 5), f)
    # As a mean and back: through a scale that is not a power of two.
    scale = f.numpy.type(30)
    answer = (held(x, f, rng) - y.astype(f.numpy)) / scale * scale
    return rounding.residual(inherited(x, reading), y, reading), answer


def _squared_error(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    r = _drawn(rng, 4, int(rng.integers(1, 17)), int(rng.integers(1, 17)))
    due = rounding.squared_error(inherited(r, reading), reading)
    return due, np.array([np.dot(e.ravel(), e.ravel()) for e in held(r, f, rng)]) / f.numpy.type(2)


def _hadamard(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    s, d = _drawn(rng, 6, 5), _drawn(rng, 6, 5)
    due = rounding.hadamard(inherited(s, reading), inherited(d, reading), reading)
    return due, held(s, f, rng) * held(d, f, rng)


def _batch_sum(rng: np.random.Generator, f: DType, reading: Reading) -> tuple[Estimate, Array]:
    a = _drawn(rng, int(rng.integers(1, 65)), 7)
    due = rounding.batch_sum(inherited(a, reading), reading)
    order = rng.permutation(a.shape[0])
    return due, np.add.reduce(held(a, f, rng)[order], 0)


STEPS = {
    step.__name__.strip("_"): step
    for step in (
        _product,
        _exact_product,
        _shown_product,
        _shifted,
        _residual,
        _squared_error,
        _hadamard,
        _batch_sum,
    )
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("format_", FORMATS)
def test_the_bound_of_a_step_is_never_exceeded(name: str, format_: DType) -> None:
    rng, reading = np.random.default_rng(1), bound(format_)
    for _ in range(300):
        estimate, computed = STEPS[name](rng, format_, reading)
        assert excess(estimate, computed, reading).max() <= 1


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("format_", FORMATS)
def test_the_deviation_of_a_step_is_one(name: str, format_: DType) -> None:
    rng, reading = np.random.default_rng(2), deviation(format_)
    largest = [excess(*STEPS[name](rng, format_, reading), reading).max() * reading.kappa for _ in range(300)]
    assert max(largest) < 7
    assert np.median(largest) > 2 * BLIND


def points(row: Activation, rng: np.random.Generator, f: DType, count: int = 4000) -> Array:
    """Pre-activations of every size, near kinks and turning points too, as numbers of the format."""
    special = [kink.point for kink in row.kinks] + list(row.turning) or [0.0]
    z = np.concatenate(
        [
            rng.normal(size=count) * 2,
            rng.uniform(-100, 100, size=count // 4),
            rng.choice([-1, 1], size=count // 4) * np.exp(rng.uniform(-60, 4, size=count // 4)),
            rng.choice(special, size=count // 4) + rng.normal(size=count // 4) * 1e-2,
        ]
    )
    return rounded(z, f)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("which", ["activation", "derivative"])
def test_the_bound_of_an_activation_is_never_exceeded(row: Activation, format_: DType, which: str) -> None:
    rng, reading = np.random.default_rng(3), bound(format_)
    z = points(row, rng, format_)
    method = row.f if which == "activation" else row.derivative
    step = getattr(rounding, which)
    with np.errstate(all="ignore"):
        computed = method(z.astype(format_.numpy))
    assert excess(step(row, Estimate(z), reading), computed, reading).max() <= 1
    # And with z known only to within an error, of which this is one instance.
    for size in (1e-7, 1e-4, 1e-2):
        error = size * np.abs(z)
        moved = rounded(z + rng.uniform(-1, 1, z.size) * error * (1 - 1e-5), format_)
        with np.errstate(all="ignore"):
            computed = method(moved.astype(format_.numpy))
        estimate = step(row, Estimate(z, error + reading.u * np.abs(z)), reading)
        assert excess(estimate, computed, reading).max() <= 1


def in_deviations(estimate: Estimate, computed: Array, reading: Reading) -> float:
    """The largest departure in standard deviations, where there is no jump."""
    found = excess(estimate, computed, reading) * reading.kappa
    return float((found if estimate.jump is None else found[estimate.jump == 0]).max(initial=0))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("which", ["activation", "derivative"])
def test_the_deviation_of_an_activation_is_one(row: Activation, which: str) -> None:
    rng, reading = np.random.default_rng(4), deviation(F32)
    method = row.f if which == "activation" else row.derivative
    step = getattr(rounding, which)
    own: list[float] = []
    through: list[float] = []
    for _ in range(60):
        z = rng.normal(size=100) * 2
        near = rounded(z, F32)
        own.append(in_deviations(step(row, Estimate(near), reading), method(near.astype(F32.numpy)), reading))
        # Pre-activations with a normally distributed error of 1000 u.
        error = 1000 * F32.u * np.abs(z)
        moved = method((z + rng.normal(size=100) * error).astype(F32.numpy))
        through.append(in_deviations(step(row, Estimate(z, error), reading), moved, reading))
    assert max(*own, *through) < 7
    # Where nothing is rounded (a slope of 1 or 1/8), or nothing changes with z, there is no error to be seen.
    assert np.median(own) > BLIND or max(own) == 0
    assert np.median(through) > 0.5 or which == "derivative"


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
    """The rule in `dtype` with every sum in another order: units and rows are renumbered, and the answer numbered
    back.
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
    """Name and departures, in units of the tolerance, of every quantity of many networks as NumPy computes them in the
    format, in an order of its own; or of the exact values.
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
        # E is one number, and NumPy sums pairwise: its largest error is no maximum over many.
        # In float64 NumPy's pass is the oracle's own arithmetic, and says nothing of blindness.
        assert format_ is F64 or np.median(found) > (BLIND if kind != "E" else BLIND / 4), kind


@needs_longdouble
def test_the_oracle_uses_up_no_more_than_its_own_half_in_float64() -> None:
    # The framework under test has the other half: there u counts twice, once for each.
    rng, reading = np.random.default_rng(6), bound(F64)
    for number in range(60):
        network, parameters, x, y = drawn_network(rng, SMOOTH, BIASES[number % 3], F64, 1 + number % 4)
        wide = named(
            backpropagate(network, cast(parameters, np.longdouble), x.astype(np.longdouble), y.astype(np.longdouble))
        )
        for quantity in propagate(network, parameters, x, y, reading):
            assert excess(quantity.estimate, wide[quantity.name], reading).max(initial=0) <= 0.5 + 1e-6, quantity.name


def test_a_mistake_of_the_size_of_a_tolerance_is_beyond_the_bound_too() -> None:
    # That is: the bound is a bound on rounding, not on everything. One part in a thousand is never within it.
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


KINKS = [pytest.param(row, kink, id=f"{row.name}@{kink.point:g}") for row in ROWS for kink in row.kinks]
READINGS = [
    pytest.param(reading(f), id=f"{reading.__name__}-{f.name}") for reading in (bound, deviation) for f in (F32, F64)
]


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
def test_at_a_kink_the_slopes_between_the_one_sided_ones_are_right_and_no_others(
    row: Activation, kink: Any, reading: Reading
) -> None:
    low, high = sorted((kink.left, kink.right))
    estimate = rounding.derivative(row, Estimate(np.array([float(kink.point)])), reading)
    assert excess(estimate, np.array([[low], [(low + high) / 2], [high]]), reading).max() <= 1 + 4 * F64.u
    formula = 0.0 if estimate.error is None else float(estimate.error[0])
    just = 2 * reading.kappa * formula + 1e-12 * (high - low)
    assert just < 1e-4 * (high - low)
    assert (excess(estimate, np.array([[low - just], [high + just]]), reading) > 1).all()


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_slope_is_free_where_rounding_may_cross_the_kink_and_nowhere_else(
    row: Activation, kink: Any, reading: Reading, side: int
) -> None:
    error = 1e-3
    assert kink.blur * reading.u < error / 10
    for distance, free in ((0.2, True), (0.9, True), (1.2, False), (50.0, False)):
        z = Estimate(np.array([kink.point + side * distance * reading.kappa * error]), np.array([error]))
        estimate = rounding.derivative(row, z, reading)
        assert (estimate.jump is not None and estimate.jump[0] > 0) == free, distance
        sides = np.array([[kink.left], [kink.right]])
        within = excess(estimate, sides, reading) <= 1 + 4 * F64.u
        assert within.all() == free or abs(kink.left - kink.right) < 1e-2


@pytest.mark.parametrize(("row", "kink"), KINKS)
def test_an_exact_pre_activation_next_to_a_kink_has_no_freedom(row: Activation, kink: Any) -> None:
    reading = deviation(F64)
    away = (1 + 2 * kink.blur) * 1e-15 * max(1, abs(kink.point))
    for side, slope in ((-1, kink.left), (1, kink.right)):
        estimate = rounding.derivative(row, Estimate(np.array([kink.point + side * away])), reading)
        assert estimate.jump is None
        assert estimate.value[0] == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.kinks], ids=lambda row: row.name)
def test_a_continuous_slope_is_never_free(row: Activation) -> None:
    reading = deviation(F32)
    z = np.concatenate([np.linspace(-8, 8, 161), [0.0]])
    for error in (None, np.full_like(z, 1e-3)):
        estimate = rounding.derivative(row, Estimate(z, error), reading)
        assert estimate.jump is None
        assert np.array_equal(estimate.value, row.derivative(z))


@pytest.mark.parametrize("name", ["elu", "celu"])
def test_at_0_elu_and_celu_have_one_slope(name: str) -> None:
    reading = bound(F32)
    estimate = rounding.derivative(ACTIVATIONS[name], Estimate(np.zeros(1)), reading)
    assert excess(estimate, np.array([1.0]), reading)[0] <= 1
    assert (excess(estimate, np.array([[0.0], [0.5], [0.999]]), reading) > 1).all()


def test_a_value_jumps_where_the_function_does_and_the_pre_activation_is_uncertain() -> None:
    row, reading = ACTIVATIONS["hardshrink"], deviation(F32)
    z = np.array([0.75, 0.7500001, -0.75, 0.2])
    exact, uncertain = (rounding.activation(row, Estimate(z, e), reading) for e in (None, np.full(4, 1e-6)))
    assert exact.jump is None or not exact.jump.any()
    assert uncertain.jump is not None
    assert uncertain.jump.tolist() == [0.75, 0.75, 0.75, 0.0]


@pytest.mark.parametrize("reading", READINGS)
def test_a_jump_is_passed_on_in_full(reading: Reading) -> None:
    rng = np.random.default_rng(8)
    a, b, jump = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), np.abs(rng.normal(size=(3, 4)))
    due = rounding.product(Estimate(a, None, jump), Estimate(b), reading)
    signs = rng.choice([-1, 1], size=(200, 3, 4))
    assert (np.abs((a + signs * jump) @ b - a @ b) <= due.tolerance(reading)).all()
    assert due.jump is not None
    # And exactly that: the worst combination of signs meets it.
    worst = np.einsum("ij,jk->ik", jump, np.abs(b))
    assert np.allclose(due.jump, worst, rtol=1e-14)
    r = rounding.residual(Estimate(a, None, jump), np.zeros_like(a), reading)
    error = rounding.squared_error(r, reading)
    moved = a + np.sign(a) * jump
    assert np.square(moved).sum() / 2 - error.value <= error.tolerance(reading) * (1 + 1e-12)
    k = rounding.hadamard(Estimate(a, None, jump), Estimate(a, None, jump), reading)
    assert (np.abs(moved * moved - a * a) <= k.tolerance(reading) * (1 + 1e-12)).all()


@pytest.mark.parametrize("size", [1e-60, 1e-100, 1e-150, 1e-200, 1e-280])
def test_very_small_numbers_keep_their_deviation(size: float) -> None:
    rng, reading = np.random.default_rng(9), deviation(F64)
    a, b = rng.normal(size=(5, 16)), rng.normal(size=(16, 3))
    usual = rounding.product(inherited(a, reading), inherited(b, reading), reading)
    small = rounding.product(inherited(a * size, reading), inherited(b, reading), reading)
    other = rounding.product(inherited(a, reading), inherited(b * size, reading), reading)
    split = rounding.product(inherited(a * size**0.5, reading), inherited(b * size**0.5, reading), reading)
    assert usual.error is not None
    for estimate in (small, other, split):
        assert estimate.error is not None
        ratio = estimate.error / size / usual.error
        # Above the normal range's own error, a deviation is what it is at any size, within the factor sqrt(n).
        assert ratio.min() > 0.2
        assert ratio.max() < 1.1 + 16 * reading.underflow / (size * usual.error.min())


@pytest.mark.parametrize("scale", [1.0, 1e-40, 1e-70, 1e-100])
def test_the_error_of_a_small_residual_reaches_E(scale: float) -> None:
    rng, reading = np.random.default_rng(10), deviation(F64)
    r = rng.normal(size=(4, 4))
    error = 1e-8 * np.abs(r)  # far above what the sum itself adds
    usual = rounding.squared_error(Estimate(r, error), reading)
    small = rounding.squared_error(Estimate(r * scale, error * scale), reading)
    assert usual.error is not None
    assert small.error is not None
    assert float(small.error) / scale**2 == pytest.approx(float(usual.error), rel=1e-6)


def test_a_subnormal_result_may_be_flushed() -> None:
    for f in (F32, F64):
        for reading in (bound(f), deviation(f)):
            small = np.full((2, 2), f.tiny / 4)
            ones = np.ones((2, 2))
            steps = (
                rounding.product(Estimate(small), Estimate(ones), reading),
                rounding.hadamard(Estimate(small), Estimate(ones), reading),
                rounding.activation(ACTIVATIONS["silu"], Estimate(small), reading),
                rounding.residual(Estimate(small), np.zeros((2, 2)), reading),
            )
            for estimate in steps:
                assert (np.abs(estimate.value) <= estimate.tolerance(reading)).all()


def last_step(depth: int, local: bool, reading: Reading, f: DType) -> dict[str, float]:
    """The median relative error of the quantities of layer 1, and of the outputs."""
    rng = np.random.default_rng(11)
    network = Network((8,) * (depth + 1), ("tanh",) * depth, "pre")
    # Orthogonal weights and small values: the signal neither grows nor dies.
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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_range_of_slopes_is_exact(row: Activation) -> None:
    rng, reading = np.random.default_rng(13), bound(F64)
    special = [kink.point for kink in row.kinks] + list(row.turning) or [0.0]
    z = np.concatenate([rng.normal(size=150) * 3, rng.choice(special, 50) + rng.normal(size=50) / 4, special])
    reach = np.concatenate([np.exp(rng.uniform(-9, 2.2, size=z.size - 4)), [0.0, 1e-9, 3.2, 7.0]])
    reach = rng.permutation(reach)
    low, high, jumps = rounding._slope_range(row, z, reach, reading)
    steps = np.linspace(-1, 1, 4001)
    sampled = row.derivative(z[:, None] + reach[:, None] * steps)
    crossed = np.zeros(z.shape, bool)
    for kink in row.kinks:
        inside = np.abs(z - kink.point) <= reach
        crossed |= inside
        # Both one-sided slopes belong to it, whether a sample falls on that side or not.
        ends = np.where(inside[:, None], [kink.left, kink.right], sampled[:, :1])
        sampled = np.concatenate([sampled, ends], 1)
    for point in row.turning:  # a cusp, as softsign's, may fall between two samples
        inside = np.abs(z - point) <= reach
        ends = np.where(inside, row.derivative(np.full(z.shape, point)), sampled[:, 0])
        sampled = np.concatenate([sampled, ends[:, None]], 1)
    assert np.array_equal(jumps, crossed)
    least, most = sampled.min(1), sampled.max(1)
    assert (low <= least + 1e-14).all()
    assert (high >= most - 1e-14).all()
    # A turning point between two samples, a step apart, is missed by half of |f'''| step**2 / 4 at most; |f'''| < 4.
    slack = 1e-9 + np.square(reach / 2000)
    assert (low >= least - slack).all()
    assert (high <= most + slack).all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_turning_points_are_where_the_slope_turns(row: Activation) -> None:
    z = np.linspace(-12, 12, 240001)
    slope = row.derivative(z)
    rise = np.diff(slope)
    rise[np.abs(rise) < 1e-12] = 0  # a tail that is flat but for rounding
    signs = np.sign(rise)
    moving = np.flatnonzero(signs)
    turns = moving[:-1][signs[moving][:-1] != signs[moving][1:]]
    period = row.turning_period
    known = [kink.point for kink in row.kinks] + (
        list(row.turning) if period is None else [n * period for n in range(-5, 6)]
    )
    for i in turns:
        assert any(abs(z[i] - point) < 1e-2 for point in known), z[i]
