"""What each regime promises of its numbers, and the mistake that each is for, planted and caught."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES, Draw, make_draws
from kterm.conformance.cases.exact_numbers import exact
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import aimed_layer
from kterm.conformance.checks.comparison.compare import compare
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, DTYPES, Array, Parameters, Structure, backpropagate

from ...support.frameworks import miniatures
from ...support.frameworks.miniatures import Miniature, right, silent

EVERY = replace(describe(Miniature(), "sound"), dtypes=tuple(DTYPES))


@cache
def _planned(profile: str, seed: int) -> tuple[Group, ...]:
    return plan(EVERY, make_options(profile, seed)).groups


@cache
def _drawn(group: Group) -> Draw:
    return make_draws(group.cases)


def groups(regime: str, profile: str = "quick", seed: int = 0) -> list[Group]:
    planned = [g for g in _planned(profile, seed) if g.regime == regime]
    assert planned
    return planned


def wide(drawn: Draw) -> Draw:
    return drawn.astype(np.dtype(np.float64))


def group_of(text: str, draws: int = 6) -> Group:
    case = parse_case(f"{text}-s0", tuple(REGIMES))
    return Group(case.structure, case.regime, 0, tuple(range(draws)))


def verdicts_of(adapter: Miniature, group: Group) -> list[list[Verdict]]:
    return examine(group, LocalRunner(adapter), draws=_drawn(group)).verdicts


def findings(adapter: Miniature, group: Group) -> list[Verdict]:
    return [v for some in verdicts_of(adapter, group) for v in some if v.is_finding]


# Lattice.


@pytest.mark.parametrize("seed", [0, 5])
def test_lattice_draws_are_exact_in_every_format(seed: int) -> None:
    dead = total = 0
    for group in groups("lattice", "standard", seed):
        stack = make_draws(group.cases)
        given = wide(stack)
        good = exact(group.structure, given.parameters, given.x, given.y)
        assert (good == ~stack.dead).all(), group.id
        dead, total = dead + int(stack.dead.sum()), total + len(good)
        # Eight bits are soon full where a slope of 1/8 is applied twice.
        assert not stack.dead.any() or group.structure.format.is_narrow, group.id
    assert dead <= total / 20


def _any_order(structure: Structure, one: Draw, order: np.random.Generator) -> dict[str, Array]:
    """Gradients with the inner dimensions summed one by one, in a random order, rounded after every addition."""
    network, dtype = structure.network, structure.format.numpy

    def product(a: Array, b: Array) -> Array:
        total = np.zeros((a.shape[0], b.shape[1]), dtype)
        for j in order.permutation(a.shape[1]):
            total = total + a[:, j : j + 1] * b[j : j + 1]
        return total

    x, zs, xs = one.x, [], [one.x]
    for i, name in enumerate(network.activations):
        z = product(x, one.parameters.weights[i])
        z = z + one.parameters.biases[i] if network.bias == "pre" else z
        x = ACTIVATIONS[name].f(z)
        x = x + one.parameters.biases[i] if network.bias == "post" else x
        zs.append(z)
        xs.append(x)
    s, found = x - one.y, {}
    for i in reversed(range(network.depth)):
        k = s * ACTIVATIONS[network.activations[i]].derivative(zs[i])
        found[f"W{i}"] = product(xs[i].T, k)
        s = product(k, one.parameters.weights[i].T)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_lattice_sums_come_out_the_same_in_any_order(dtype: str) -> None:
    order = np.random.default_rng(0)
    for group in groups("lattice"):
        if group.structure.dtype != dtype:
            continue
        stack = make_draws(group.cases)
        for i in range(len(group.draws)):
            if stack.dead[i]:
                continue
            one, given = stack[i], wide(stack[i])
            rule = backpropagate(group.structure.network, given.parameters, given.x, given.y)
            for name, gradient in _any_order(group.structure, one, order).items():
                assert (gradient.astype(float) == rule.weight_gradients[int(name[1:])]).all(), group.id


class OneBit(Miniature):
    """Flips the last bit of one entry of the last layer's weight gradient."""

    name = "one-bit"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = right(structure, parameters, x, y)
        last = found.weight_gradients[-1].copy()
        at = np.unravel_index(int(np.abs(last.astype(float)).argmax()), last.shape)
        bits = last.view(np.dtype(f"u{last.dtype.itemsize}"))
        bits[at] ^= 1
        return silent(replace(found, weight_gradients=(*found.weight_gradients[:-1], last)))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_single_bit_in_a_lattice_draw_is_wrong(dtype: str) -> None:
    group = group_of(f"3x4x2-leaky_relu.relu6-b4-pre-{dtype}-lattice")
    assert not findings(Miniature(), group)
    answered = verdicts_of(OneBit(), group)
    assert all(any(v.grade == "wrong" and v.quantity == "dE/dW_2" for v in some) for some in answered)


def test_a_lattice_leaves_no_slope_free_near_a_kink() -> None:
    """In eight bits a pre-activation of 5.875 is within ten roundings of relu6's kink, but there are none."""

    class Halved(Miniature):
        def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
            def slope(activation: str, z: Array) -> Array:
                right = ACTIVATIONS[activation].derivative(z)
                return np.where((z > 5) & (z < 6), z.dtype.type(0.5), right)

            return silent(miniatures.by_hand(structure.network, parameters, x, y, slope))

    case = parse_case("1x1-relu6-b2-none-bf16-lattice-s0", tuple(REGIMES))
    one = np.ones((1, 1, 1))
    number = DTYPES["bf16"].numpy.type
    stack = Draw(
        Parameters((one.astype(number),)),
        np.array([[[5.875], [1.0]]]).astype(number),
        np.array([[[1.875], [1.0]]]).astype(number),
        np.zeros(1, bool),
    )
    answer = Halved().answer(case.structure, *_single(stack))
    worst = {c.quantity: float(c.worst[0]) for c in compare(case.structure, stack, [answer], "lattice")}
    assert worst["dE/dW_1"] > 1
    sound = silent(right(case.structure, *_single(stack)))
    assert all(c.worst[0] <= 1 for c in compare(case.structure, stack, [sound], "lattice"))


def _single(stack: Draw) -> tuple[Parameters, Array, Array]:
    one = wide(stack)[0]
    return one.parameters, one.x, one.y


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_frameworks_match_lattice_draws_bit_for_bit(framework: str, dtype: str) -> None:
    pytest.importorskip(framework)
    from kterm.adapters.registry import load

    runs = LocalRunner(load(framework))
    for group in groups("lattice"):
        if group.structure.dtype == dtype:
            answered = examine(group, runs).verdicts
            assert {status(some) for some in answered} == {"passed"}, group.id


# Kinks and tails.


@pytest.mark.parametrize("regime", ["kinks", "tails"])
def test_aimed_pre_activations_are_exactly_what_was_aimed_at(regime: str) -> None:
    for group in groups(regime):
        layer, dtype = aimed_layer(group.structure), group.structure.format.numpy
        given = wide(make_draws(group.cases))
        rule = backpropagate(group.structure.network, given.parameters, given.x, given.y)
        z = rule.z[layer - 1]
        assert (z.astype(dtype).astype(float) == z).all(), group.id


def test_every_kink_and_its_neighbours_are_met_in_every_wide_dtype() -> None:
    met: dict[tuple[str, str, float], set[str]] = {}
    for group in groups("kinks"):
        layer = aimed_layer(group.structure)
        row = ACTIVATIONS[group.structure.network.activations[layer - 1]]
        given = wide(make_draws(group.cases))
        z = backpropagate(group.structure.network, given.parameters, given.x, given.y).z[layer - 1]
        u = group.structure.format.u
        for point in (*(kink.point for kink in row.kinks), *row.seams):
            near = max(4 * u * abs(point), 2 * group.structure.format.tiny)
            here = met.setdefault((group.structure.dtype, row.name, point), set())
            here |= {"at"} if (z == point).any() else set()
            here |= {"beside"} if ((z != point) & (np.abs(z - point) <= near)).any() else set()
    due = [(n, p) for n, row in ACTIVATIONS.items() for p in (*(k.point for k in row.kinks), *row.seams)]
    for dtype in ("f32", "f64"):
        for name, point in due:
            assert met[dtype, name, point] == {"at", "beside"}, (dtype, name, point)


def test_tails_reach_where_exponentials_end() -> None:
    for dtype, most in (("f64", 745), ("f32", 745), ("bf16", 745), ("f16", 40)):
        sizes: list[float] = []
        for group in groups("tails"):
            if group.structure.dtype == dtype:
                given = wide(make_draws(group.cases[:4]))
                layer = aimed_layer(group.structure)
                rule = backpropagate(group.structure.network, given.parameters, given.x, given.y)
                sizes.append(float(np.abs(rule.z[layer - 1]).max()))
        assert most * 0.9 < max(sizes) <= most * 1.01


def _slopes(wrong: Callable[[str, Array], Array]) -> Callable[..., Observation]:
    return lambda structure, parameters, x, y: miniatures.by_hand(structure.network, parameters, x, y, wrong)


class Sloped(Miniature):
    """The rule with another f'."""

    slopes_at_kinks = {}  # noqa: RUF012  (declared by the base)

    def __init__(self, wrong: Callable[[str, Array], Array], show: bool) -> None:
        super().__init__()
        self._answer, self._show = _slopes(wrong), show

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = self._answer(structure, parameters, x, y)
        return found if self._show else silent(found)


def at_point(name: str, point: float, value: float) -> Callable[[str, Array], Array]:
    def slope(activation: str, z: Array) -> Array:
        right = ACTIVATIONS[activation].derivative(z)
        return np.where((z == point) & (activation == name), z.dtype.type(value), right)

    return slope


@pytest.mark.parametrize("show", [True, False])
@pytest.mark.parametrize(
    ("name", "point", "value", "sound"),
    [
        ("relu", 0, 0, True),
        ("relu", 0, 0.5, True),
        ("relu", 0, 1, True),
        ("relu", 0, 2, False),
        ("relu", 0, -0.25, False),
        ("hardtanh", 1, 1, True),
        ("hardtanh", 1, 1.5, False),
        ("selu", 0, 1.5, True),
        ("selu", 0, 1.0507, False),  # the slope from the right to five digits, and so outside by 1e-6
        ("elu", 0, 1, True),
        ("elu", 0, 0, False),
        ("celu", 0, 2, False),
    ],
)
def test_any_value_between_the_one_sided_derivatives_passes_and_no_other(
    name: str, point: float, value: float, sound: bool, show: bool
) -> None:
    group = group_of(f"6x4x3-{name}.tanh-b6-none-f64-kinks", 10)
    assert (not findings(Sloped(at_point(name, point, value), show), group)) == sound


@pytest.mark.parametrize("show", [True, False])
def test_beside_a_kink_one_value_is_right(show: bool) -> None:
    def shifted(activation: str, z: Array) -> Array:
        return ACTIVATIONS[activation].derivative(np.where(np.abs(z - 6) < 1e-4, z.dtype.type(6), z))

    group = group_of("6x4x3-relu6.tanh-b6-none-f32-kinks", 10)
    assert findings(Sloped(shifted, show), group)


@pytest.mark.parametrize("name", ["elu", "softplus", "mish", "silu"])
def test_a_derivative_lost_in_the_tail_is_found(name: str) -> None:
    def cut(activation: str, z: Array) -> Array:
        right = ACTIVATIONS[activation].derivative(z)
        return np.where(z < -20, z.dtype.type(0), right) if activation == name else right

    group = group_of(f"6x5-{name}-b6-none-f64-tails", 10)
    assert not findings(Miniature(), group)
    assert findings(Sloped(cut, show=True), group)


def test_nan_in_the_tail_is_found() -> None:
    def overflowing(activation: str, z: Array) -> Array:
        with np.errstate(all="ignore"):
            e = np.exp(z)
            return e / (1 + e) * (1 / (1 + e))

    group = group_of("6x5-sigmoid-b6-none-f32-tails", 10)
    found = findings(Sloped(overflowing, show=True), group)
    assert any(v.check == "contract" and "not finite" in v.message for v in found)


# Converged, subnormal, deep.


def test_converged_residuals_are_small_and_conclusive() -> None:
    for group in groups("converged"):
        if group.structure.dtype != "f64":
            continue
        stack = make_draws(group.cases)
        given = wide(stack)
        rule = backpropagate(group.structure.network, given.parameters, given.x, given.y)
        residual = np.abs(rule.outputs - given.y)
        assert (residual <= 6e-6 * np.abs(rule.outputs)).all()
        powers = [v.power for some in verdicts_of(Miniature(), group) for v in some if v.check == "weight_gradients"]
        assert min(power for power in powers if power is not None) > 1e3


def test_a_mistake_near_convergence_is_found() -> None:
    group = group_of("4x5x3-tanh-b6-pre-f64-converged", 6)
    assert all(
        any(v.is_unexpected for v in some) for some in verdicts_of(miniatures.NoSlopeAtOutput(), group)
    )  # where a fixed absolute tolerance would see nothing


class Flushes(Miniature):
    """Results below the normal range are 0."""

    name = "flushes"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def flushed(a: Array) -> Array:
            return np.where(np.abs(a) < structure.format.tiny, a.dtype.type(0), a)

        found = right(structure, parameters, x, y)
        return replace(
            found,
            z=tuple(map(flushed, found.z or ())),
            x=tuple(map(flushed, found.x or ())),
            k=tuple(map(flushed, found.k or ())),
            weight_gradients=tuple(map(flushed, found.weight_gradients)),
        )


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_flushing_is_found_where_it_is_asked_for_and_nowhere_else(dtype: str) -> None:
    for bias in ("none", "post"):
        group = group_of(f"4x3x2-leaky_relu.identity-b4-{bias}-{dtype}-subnormal", 12)
        assert not findings(Miniature(), group)
        assert findings(Flushes(), group)
    assert not findings(Flushes(), group_of(f"4x3x2-leaky_relu.identity-b4-none-{dtype}-normal", 12))


def test_depth_32_stays_conclusive_with_local_certificates() -> None:
    deep = [g for g in groups("normal") if g.structure.network.depth == 32]
    assert {g.structure.dtype for g in deep} == {"f32", "f64"}
    for group in deep:
        counts = [status(some) for some in verdicts_of(Miniature(), group)]
        assert counts.count("passed") >= 0.9 * len(counts), group.id


# All of them.


# Twins need one runner for all groups: test_twins.py asks the same of that regime.
@pytest.mark.parametrize("regime", [name for name in REGIMES if name not in ("layout", "twins")])
@pytest.mark.parametrize("sound", miniatures.SOUND, ids=lambda m: m.name)
def test_a_sound_framework_has_no_findings(regime: str, sound: type[Miniature]) -> None:
    # Every second framework of every second regime has the other seed.
    seed = 1 + (miniatures.SOUND.index(sound) + list(REGIMES).index(regime)) % 2
    for group in groups(regime, seed=seed):
        if group.structure.dtype in ("f32", "f64"):  # NumPy's products of narrow numbers are not a framework's
            with np.errstate(over="ignore", invalid="ignore"):
                assert not findings(sound(), group), group.id


def test_regimes_say_what_they_are_for() -> None:
    for name, regime in REGIMES.items():
        assert regime.numbers.__doc__ or name == "layout"
        assert name == "layout" or set(regime.wide) == set(regime.narrow) == {"quick", "standard", "thorough"}
