"""The tiles regime: mistakes past the edge of a tile, in what is left over, and in long sums, planted and caught."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product as combinations
from typing import Literal

import ml_dtypes
import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.quantities import arrays, stack_arrays
from kterm.conformance import check_adapter
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.cases.shapes import Deal, tiles
from kterm.conformance.checks.comparison.compare import compare, departures, readings, steps_of, tolerated
from kterm.conformance.checks.examine import examine
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, DTYPES, Array, Parameters, Structure

from ...support.frameworks.miniatures import Miniature, silent

EVERY = replace(describe(Numpy(), "numpy"), dtypes=tuple(DTYPES))
WIDE, NARROW = ("f32", "f64"), ("bf16", "f16")
EDGES = (16, 32, 64, 128, 256)
SEEDS = (1, 2)
# Where one seed has to do: each with one of the two, so that both seeds meet every edge.
SHOWS = [pytest.param(True, 1, id="shown"), pytest.param(False, 2, id="silent")]

Kind = Literal["input", "hidden", "output", "batch"]
KINDS: tuple[Kind, ...] = ("input", "hidden", "output", "batch")
Axes = tuple[Kind, Kind, Kind]
"""What the rows, the inner dimension and the columns of a product are of."""
Product = Callable[[Array, Array, str, Axes], Array]
"""The product of two matrices for a symbol of the rule: z, s (passed back), W or b."""


def plain(a: Array, b: Array, symbol: str, axes: Axes) -> Array:
    return a @ b


def widened(a: Array, b: Array, symbol: str, axes: Axes) -> Array:
    """Summed up in float32 and rounded once, as products of a narrow format are."""
    return (a.astype(np.float32) @ b.astype(np.float32)).astype(a.dtype)


class Kernel(Miniature):
    """The rule by hand, with a product of one's own, and a hand in every slope."""

    name = "kernel"
    dtypes = tuple(DTYPES)

    def __init__(
        self, product: Product = plain, slope: Callable[[Array], Array] = lambda d: d, shows: bool = True
    ) -> None:
        super().__init__()
        self._product, self._slope, self.shows = product, slope, shows

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        network, mul, dtype = structure.network, self._product, x.dtype
        # Between products a narrow format is computed in a wider one and rounded, as frameworks do.
        inside = np.dtype(np.float32) if structure.format.is_narrow else dtype
        last = network.depth
        kind: list[Kind] = ["input", *(["hidden"] * (last - 1)), "output"]  # pyright: ignore[reportAssignmentType]
        zs, xs, ks, sides = [], [x], list[Array](), list[Array]()
        for i, name in enumerate(network.activations):
            z = mul(xs[i], parameters.weights[i], "z", ("batch", kind[i], kind[i + 1]))
            z = z + parameters.biases[i] if network.bias == "pre" else z
            out = ACTIVATIONS[name].f(z.astype(inside)).astype(dtype)
            zs.append(z)
            xs.append(out + parameters.biases[i] if network.bias == "post" else out)
        residual = xs[-1].astype(inside) - y.astype(inside)
        s = residual.astype(dtype)
        for i in reversed(range(last)):
            slope = self._slope(ACTIVATIONS[network.activations[i]].derivative(zs[i].astype(inside)))
            k = (s.astype(inside) * slope.astype(dtype).astype(inside)).astype(dtype)
            ks.insert(0, k)
            sides.insert(0, s)
            if i:
                s = mul(k, parameters.weights[i].T, "s", ("batch", kind[i + 1], kind[i]))
        found = Observation(
            xs[-1],
            np.asarray(np.square(residual).sum() / 2).astype(dtype),
            tuple(mul(xs[i].T, ks[i], "W", (kind[i], "batch", kind[i + 1])) for i in range(last)),
            () if network.bias == "none" else tuple(self._summed(ks if network.bias == "pre" else sides, kind)),
            tuple(zs),
            tuple(xs[1:]),
            tuple(ks),
        )
        return found if self.shows else silent(found)

    def _summed(self, terms: list[Array], kind: list[Kind]) -> Iterator[Array]:
        for i, term in enumerate(terms):
            one = np.ones((1, len(term)), term.dtype)
            yield self._product(one, term, "b", ("input", "batch", kind[i + 1]))[0]


@cache
def groups(dtype: str, seed: int, profile: str = "quick") -> list[Group]:
    """Of a seed above 0, which tells them from those of the smoke profile."""
    planned = plan(EVERY, make_options(profile, seed)).groups
    return [g for g in planned if (g.regime, g.structure.dtype, g.seed) == ("tiles", dtype, seed)]


@cache
def drawn(group: Group) -> Draw:
    return make_draws(group.cases)


def answers(adapter: Kernel, group: Group) -> list[Observation]:
    program, stack = adapter.program(group.structure), drawn(group)
    with np.errstate(over="ignore"):
        return [program(one.parameters, one.x, one.y) for one in (stack[i] for i in range(len(group.draws)))]


@cache
def right_answers(group: Group, shows: bool) -> list[Observation]:
    return answers(Kernel(widened if group.structure.format.is_narrow else plain, shows=shows), group)


def is_equal(a: Observation, b: Observation) -> bool:
    mine, others = arrays(a), arrays(b)
    return all(np.array_equal(mine[name], others[name]) for name in mine)


def largest_error(group: Group, observed: list[Observation]) -> float:
    """In units of tolerance: what `compare` gives, without the second reading of the errors, which costs as much again
    and only grades a departure.
    """
    structure, views = group.structure, stack_arrays(observed)
    reading, _ = readings(structure, group.regime)
    worst = 0.0
    with np.errstate(over="ignore"):
        for step in steps_of(structure, drawn(group), views, reading):
            last = step.name == f"x_{structure.network.depth}"
            for name in (step.name, "outputs") if last else (step.name,):
                if name in views:
                    seen, tolerance = views[name].astype(np.float64), tolerated(step.estimate, reading)
                    ratio = departures(structure.format.max, step.estimate.value, seen, tolerance)
                    worst = max(worst, float(ratio.max(initial=0.0)))
    return worst


def caught(adapter: Kernel, dtype: str, seed: int) -> float:
    """The largest error in units of tolerance, of the first structure with a finding; 0 where none has one."""
    for group in groups(dtype, seed):
        observed, right = answers(adapter, group), right_answers(group, adapter.shows)
        if all(map(is_equal, observed, right)):
            continue  # test_right_products_are_not_found shows that these have no finding
        worst = largest_error(group, observed)
        if not worst <= 1:
            return worst
    return 0.0


def past(edge: int, kind: Kind, symbol: str) -> Product:
    """What lies past an edge of one kind of dimension is not computed: terms are lost, or entries left at zero."""

    def cut(a: Array, b: Array, at: str, axes: Axes) -> Array:
        if at != symbol:
            return a @ b
        rows, inner, columns = (edge if axis == kind else None for axis in axes)
        result = np.zeros((len(a), b.shape[1]), a.dtype)
        result[:rows, :columns] = a[:rows, :inner] @ b[:inner, :columns]
        return result

    return cut


def left_over(tile: int, kind: Kind, symbol: str) -> Product:
    """What does not fill a tile of one kind of dimension is not computed, where there is a whole tile."""

    def cut(a: Array, b: Array, at: str, axes: Axes) -> Array:
        sizes = (len(a), a.shape[1], b.shape[1])
        whole = [n - n % tile for n, axis in zip(sizes, axes, strict=True) if axis == kind]
        edge = min(whole, default=0)
        return past(edge, kind, symbol)(a, b, at, axes) if edge else a @ b

    return cut


DIMENSIONS: dict[str, tuple[Kind, ...]] = {
    "z": KINDS,
    "s": ("hidden", "output", "batch"),
    "W": KINDS,
    "b": ("hidden", "output", "batch"),
}
"""Which kinds of dimension the products for a symbol have."""


@pytest.mark.parametrize(("shows", "seed"), SHOWS)
@pytest.mark.parametrize("symbol", DIMENSIONS)
@pytest.mark.parametrize("dtype", WIDE)
def test_whatever_is_wrong_past_an_edge_is_found(dtype: str, symbol: str, shows: bool, seed: int) -> None:
    for kind, edge in combinations(DIMENSIONS[symbol], EDGES):
        if (kind, symbol) == ("hidden", "b"):
            continue  # of an adapter with all placements, the structures with a long hidden layer have no bias
        assert caught(Kernel(past(edge, kind, symbol), shows=shows), dtype, seed) > 10, (kind, edge, seed)


@pytest.mark.parametrize(("shows", "seed"), SHOWS)
@pytest.mark.parametrize("symbol", DIMENSIONS)
@pytest.mark.parametrize("dtype", WIDE)
def test_what_is_left_over_of_a_tile_is_missed(dtype: str, symbol: str, shows: bool, seed: int) -> None:
    for kind, tile in combinations(DIMENSIONS[symbol], (4, 8, 16, 32)):
        if (kind, symbol) == ("hidden", "b"):
            continue
        assert caught(Kernel(left_over(tile, kind, symbol), shows=shows), dtype, seed) > 10, (kind, tile, seed)


BATCHES: dict[str, Callable[[int], bool]] = {
    "odd": lambda b: b % 2 == 1 and b > 1,
    "3 of 4": lambda b: b % 4 == 3,
    "above 16": lambda b: b > 16,
    "one": lambda b: b == 1,
}


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", WIDE)
def test_a_last_row_lost_for_some_batch_sizes_is_found(dtype: str, batch: str, shows: bool) -> None:
    def product(a: Array, b: Array, symbol: str, axes: Axes) -> Array:
        most = -1 if symbol in "Wb" and BATCHES[batch](len(b)) else None
        return a[:, :most] @ b[:most]

    for seed in range(1, 5):
        assert caught(Kernel(product, shows=shows), dtype, seed) > 10, seed


def rounded_to(bits: int) -> Callable[[Array], Array]:
    """To a significand of so many bits, of float32, as tensor cores do with 11."""

    def rounded(a: Array) -> Array:
        mantissa, exponent = np.frexp(a)
        return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(a.dtype)

    return rounded


def cast(dtype: type) -> Callable[[Array], Array]:
    return lambda a: a.astype(dtype).astype(a.dtype)


ACCUMULATORS: dict[tuple[str, str], Callable[[Array], Array]] = {
    ("f64", "f32"): cast(np.float32),
    ("f32", "bf16"): cast(ml_dtypes.bfloat16),
    ("f32", "f16"): cast(np.float16),
    ("f32", "tf32"): rounded_to(11),
    ("bf16", "bf16"): cast(ml_dtypes.bfloat16),
    ("f16", "f16"): cast(np.float16),
}


def narrowly(round_: Callable[[Array], Array], symbol: str, least: int) -> Product:
    """Terms added one after another to a sum that is rounded each time, where there are at least so many."""

    def summed(a: Array, b: Array, at: str, axes: Axes) -> Array:
        right = widened if a.dtype.itemsize == 2 else plain
        if at != symbol or a.shape[1] < least:
            return right(a, b, at, axes)
        inside = np.promote_types(a.dtype, np.float32)
        terms, total = (a.astype(inside).T, b.astype(inside)), np.zeros((len(a), b.shape[1]), inside)
        for left, other in zip(*terms, strict=True):
            total = round_(total + left[:, None] * other)
        return total.astype(a.dtype)

    return summed


@pytest.mark.parametrize(("shows", "seed"), SHOWS)
@pytest.mark.parametrize("symbol", "zsW")
@pytest.mark.parametrize(("dtype", "accumulator"), ACCUMULATORS, ids=lambda name: name)
def test_long_sums_in_a_narrow_accumulator_are_found(
    dtype: str, accumulator: str, symbol: str, shows: bool, seed: int
) -> None:
    product = narrowly(ACCUMULATORS[dtype, accumulator], symbol, least=2048)
    assert caught(Kernel(product, shows=shows), dtype, seed) > 1


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", WIDE)
def test_a_slope_that_is_off_in_what_is_left_of_a_vector_is_found(dtype: str, shows: bool) -> None:
    def remainder(d: Array) -> Array:
        flat = d.ravel().copy()
        flat[d.size - d.size % 8 :] *= d.dtype.type(1 + 2.0**-7)
        return flat.reshape(d.shape) if d.size > 256 else d

    for seed in SEEDS:
        assert caught(Kernel(slope=remainder, shows=shows), dtype, seed) > 1, seed


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_right_products_are_not_found(dtype: str, shows: bool) -> None:
    for seed in range(1, 5):
        for group in groups(dtype, seed):
            assert largest_error(group, right_answers(group, shows)) <= 1, group


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "silent"])
def test_the_largest_error_is_that_of_a_comparison(shows: bool) -> None:
    for group in groups("f32", 1)[:6]:
        for observed in (right_answers(group, shows), answers(Kernel(past(128, "batch", "W"), shows=shows), group)):
            compared = compare(group.structure, drawn(group), observed, group.regime)
            assert largest_error(group, observed) == max(float(one.worst.max()) for one in compared)


@pytest.mark.parametrize("dtype", WIDE)
def test_long_sums_keep_their_power(dtype: str) -> None:
    """With sums of up to 4095 terms, whose tolerance grows as the root of that."""
    for seed in range(1, 5):
        for group in groups(dtype, seed)[:4]:
            for some in examine(group, LocalRunner(Kernel())).verdicts:
                powers = [v.power for v in some if v.check in ("forward", "weight_gradients") and v.quantity != "x_n"]
                assert min(p for p in powers if p is not None) > 2e-5 / DTYPES[dtype].u, some[0].case


def test_no_other_regime_sees_past_128() -> None:
    results = check_adapter(Kernel(past(128, "hidden", "z")), dtypes=["f64"])
    assert not results.conforms
    assert {case.rsplit("-", 2)[1] for case in (verdict.case for verdict in results.failures)} <= {"tiles", "large"}
    assert {verdict.check for verdict in results.failures} == {"forward"}


# Structures.


def kinds(structure: Structure) -> set[Kind]:
    """The kinds of dimension that are large."""
    widths = structure.network.widths
    sizes = {
        "input": widths[:1],
        "hidden": widths[1:-1],
        "output": widths[-1:],
        "batch": (structure.batch,),
    }
    return {kind for kind in KINDS if max(sizes[kind], default=0) >= 15}


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("profile", ["quick", "standard", "thorough"])
def test_every_kind_of_dimension_and_every_edge_comes_up(profile: str, dtype: str) -> None:
    for seed in range(1, 6):
        structures = [group.structure for group in groups(dtype, seed, profile)]
        large = [max(structure.batch, *structure.network.widths) for structure in structures]
        assert all(len(kinds(structure)) == 1 for structure in structures)
        assert [kinds(structure) for structure in structures[:4]] == [{"input"}, {"batch"}, {"output"}, {"hidden"}]
        assert all(2048 < size < 4096 and size % 2 for size in large[:4])
        assert {min(EDGES, key=lambda edge: abs(edge - size)) for size in large[4:]} == set(EDGES)
        assert {structure.batch for structure in structures} >= {1, 3}


def test_sixty_structures_are_all_combinations() -> None:
    rng = np.random.default_rng(0)
    deal = Deal(list(ACTIVATIONS), rng)
    made = [tiles(i, deal, deal, rng) for i in range(4, 64)]
    sizes = {(i % 4, max(shape.batch, *shape.widths)) for i, shape in enumerate(made)}
    assert sizes == set(combinations(range(4), [edge + side for edge in EDGES for side in (-1, 0, 1)]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_draws_are_alive(dtype: str) -> None:
    """E and gradients of a long batch stay in range in f16 too."""
    dead = [make_draws(group.cases).dead.any() for seed in range(1, 6) for group in groups(dtype, seed, "standard")]
    assert sum(dead) <= len(dead) / 20
