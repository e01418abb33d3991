"""Inputs that real mistakes needed: memory orders that differ from draw to draw, sizes past 16 bits beside a width of
1, pre-activations between the plain ones and the far tails, and layers without units. For each, a mistake is planted
and caught.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.conformance.cases import regimes
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import make_draws, present_arrays
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import REGIMES, aimed_layer
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import (
    ACTIVATIONS,
    DTYPES,
    OTHER_VALUES,
    Array,
    Network,
    Parameters,
    Structure,
    backpropagate,
    base_of,
    name_with,
)

from ...support.frameworks.miniatures import Miniature, by_hand, right

EVERY = replace(describe(Miniature(), "sound"), dtypes=tuple(DTYPES))


def groups(regime: str, profile: str = "quick", seed: int = 1) -> list[Group]:
    return [group for group in plan(EVERY, make_options(profile, seed)).groups if group.regime == regime]


def group_of(text: str, draws: tuple[int, ...]) -> Group:
    case = parse_case(f"{text}-s0", tuple(REGIMES))
    return Group(case.structure, case.regime, 0, draws)


def findings(adapter: Miniature, group: Group) -> list[Verdict]:
    return [v for some in examine(group, LocalRunner(adapter)).verdicts for v in some if v.is_finding]


def failing_cases(adapter: Miniature, group: Group, check: str = "") -> set[str]:
    return {v.case for v in findings(adapter, group) if check in ("", v.check)}


# Memory orders.


def way(array: Array) -> str:
    if not array.flags.writeable:
        return "read-only"
    if any(stride < 0 for stride in array.strides):
        return "reversed"
    return "Fortran" if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous else "other"


@pytest.mark.parametrize("seed", [0, 1])
def test_over_the_draws_of_a_structure_each_array_lies_in_memory_in_each_way(seed: int) -> None:
    for group in (g for g in groups("strided", "quick", seed) if len(g.draws) > 1):
        stack, shown = make_draws(group.cases), list[tuple[Array, ...]]()
        for i in range(len(group.cases)):
            parameters, x, y = present_arrays("strided", stack[i].parameters, stack[i].x, stack[i].y)
            shown.append((*parameters.weights, *parameters.biases, x, y))
        for same in zip(*shown, strict=True):
            ways = set(map(way, same))
            assert ways >= {"read-only", "reversed"}, group.id
            assert "Fortran" in ways or min(same[0].shape) == 1 or same[0].ndim == 1, group.id


class FlatTargets(Miniature):
    """A loss kernel that reads its targets in the order of memory if they are in Fortran order."""

    name = "flat-targets"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        in_order = y.ravel(order="K").reshape(y.shape) if y.flags.f_contiguous else y
        return right(structure, parameters, x, in_order)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_strides_that_one_array_alone_has_wrong_are_found_at_any_depth(depth: int) -> None:
    widths = "x".join(["4"] * (depth + 1))
    group = group_of(f"{widths}-tanh-b3-none-f64-strided", (0, 1, 2, 3))
    assert not findings(Miniature(), group)
    assert len(failing_cases(FlatTargets(), group)) == 1  # of the four draws


# Sizes.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_dimension_past_16_bits_lies_beside_a_width_of_1(seed: int) -> None:
    for dtype in DTYPES:
        own = [g.structure for g in groups("large", "standard", seed) if g.structure.dtype == dtype]
        assert all(1 in one.network.widths for one in own)
        sizes = [max(one.batch, *one.network.widths) for one in own]
        assert sizes[0] * own[0].batch > 4096
        assert all(size > 2**16 for size in sizes[1:])
        assert all(one.network.depth == 1 for one in own[1:])
    for group in groups("large", "standard", seed):
        assert not make_draws(group.cases).dead.any(), group.id


class ShortIndex(Miniature):
    """Entries of an array past the 65,536th are read from its beginning: an index of 16 bits."""

    name = "short-index"
    dtypes = tuple(DTYPES)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def wrapped(a: Array) -> Array:
            return a.ravel()[np.arange(a.size) % 2**16].reshape(a.shape)

        weights = tuple(map(wrapped, parameters.weights))
        return right(structure, replace(parameters, weights=weights), wrapped(x), wrapped(y))


class NothingFromOneUnit(Miniature):
    """The error that one unit passes back is 0 where more than 4,096 numbers are due."""

    name = "nothing-from-one-unit"
    dtypes = tuple(DTYPES)

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        widths = structure.network.widths

        def lost(i: int) -> bool:
            return widths[i + 1] == 1 and structure.batch * widths[i] > 4096

        observed = right(structure, parameters, x, y)
        depth, gradients = structure.network.depth, list(observed.weight_gradients)
        ks = list(observed.k or ())
        for i in range(depth - 1):
            if lost(i + 1):
                gradients[i], ks[i] = gradients[i] * 0, ks[i] * 0
        return replace(observed, weight_gradients=tuple(gradients), k=tuple(ks))


@pytest.mark.parametrize("made", [ShortIndex, NothingFromOneUnit])
def test_mistakes_of_large_sizes_are_found_in_large_alone(made: Callable[[], Miniature]) -> None:
    found = {g.id for g in groups("large") if g.structure.dtype == "f32" and findings(made(), g)}
    assert found
    assert not any(findings(Miniature(), g) for g in groups("large") if g.structure.dtype == "f32")
    for regime in ("normal", "tiles", "means", "degenerate"):
        for group in groups(regime):
            if group.structure.dtype == "f32":
                assert not findings(made(), replace(group, draws=group.draws[:1])), group.id


# Between plain numbers and far tails.


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_fifth_draw_of_tails_lies_where_slopes_are_small_and_not_yet_zero(dtype: str) -> None:
    for name in ("tanh", "gelu_tanh", "squareplus"):
        group = group_of(f"6x5-{name}-b6-none-{dtype}-tails", tuple(range(4, 40, 5)))
        stack = make_draws(group.cases)
        assert not stack.dead.any()
        z = np.abs(stack.parameters.weights[aimed_layer(group.structure) - 1].astype(float))
        shoulder = (z >= 4) & (z <= 20)
        assert shoulder.mean() > 0.4
        far = z > 20
        if dtype == "f16":
            assert (far.sum((1, 2)) == 1).all()
            assert z[far].min() >= 148
        else:
            assert not far.any()


class Miniature16(Miniature):
    """A sound framework with narrow dtypes."""

    dtypes = tuple(DTYPES)


class Sloped(Miniature):
    """The rule with another f'."""

    dtypes = tuple(DTYPES)

    def __init__(self, activation: str, slope: Callable[[Array], Array]) -> None:
        super().__init__()
        self._activation, self._slope = activation, slope

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def slope(name: str, z: Array) -> Array:
            with np.errstate(all="ignore"):
                return self._slope(z) if name == self._activation else ACTIVATIONS[name].derivative(z)

        return by_hand(structure.network, parameters, x, y, slope)


def _clamped_tanh(z: Array) -> Array:
    """The slope of a tanh whose argument is clamped to -5..5."""
    return np.where(np.abs(z) > 5, z.dtype.type(0), ACTIVATIONS["tanh"].derivative(z))


def _gelu_by_powers(z: Array) -> Array:
    """The slope of the tanh form in the dtype itself, where 3 z**2 overflows."""
    one = z.dtype.type
    inside = one(0.7978846) * (z + one(0.044715) * z * z * z)
    t = np.tanh(inside)
    rise = one(0.7978846) * (one(1) + one(0.044715) * (one(3) * z * z))
    return (one(0.5) * (one(1) + t) + one(0.5) * z * (one(1) - t * t) * rise).astype(z.dtype)


@pytest.mark.parametrize(
    ("name", "slope", "dtype", "check"),
    [("tanh", _clamped_tanh, "f32", "k_terms"), ("gelu_tanh", _gelu_by_powers, "f16", "contract")],
)
def test_mistakes_between_plain_numbers_and_far_tails_are_found(
    name: str, slope: Callable[[Array], Array], dtype: str, check: str
) -> None:
    text = f"6x5-{name}-b6-none-{dtype}-tails"
    far, shoulders = group_of(text, (0, 1, 2, 3, 5, 6, 7, 8)), group_of(text, (4, 9))
    assert not failing_cases(Miniature16(), shoulders, check)
    assert not failing_cases(Sloped(name, slope), far, check)
    assert failing_cases(Sloped(name, slope), shoulders, check)


@pytest.mark.parametrize("profile", ["quick", "standard"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_run_with_f16_has_draws_in_which_powers_of_z_overflow(seed: int, profile: str) -> None:
    own = [g for g in groups("tails", profile, seed) if g.structure.network.activations == ("gelu_tanh",)]
    (group,) = (g for g in own if (g.structure.dtype, g.structure.network.widths) == ("f16", (6, 5)))
    assert failing_cases(Sloped("gelu_tanh", _gelu_by_powers), group, "contract") == {
        case.id for case in group.cases if case.draw % 5 == 4
    }


def test_targets_of_the_shoulders_leave_no_draw_dead_in_a_plan() -> None:
    for seed in range(3):
        for group in groups("tails", "standard", seed):
            late = replace(group, draws=group.draws[4::5][:2])
            stack = make_draws(late.cases)
            assert not stack.dead.any(), group.id
            wide = stack.astype(np.dtype(np.float64))
            rule = backpropagate(group.structure.network, wide.parameters, wide.x, wide.y)
            assert np.isfinite(rule.error).all()


# Layers without units.


class Hollow(Miniature):
    """A sound framework whose layers may have no units."""

    name, zero_width = "hollow", True


class LeavesUnset(Hollow):
    """A product over no terms that leaves its result as it lies in memory, where 0 is due."""

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        observed = right(structure, parameters, x, y)
        assert observed.z is not None
        z = tuple(a + 7 if n == 0 else a for n, a in zip(structure.network.widths, observed.z, strict=False))
        return replace(observed, z=z)


def _hollow(adapter: Miniature, profile: str = "quick") -> list[Group]:
    planned = plan(describe(adapter, "hollow"), make_options(profile, 1)).groups
    return [group for group in planned if 0 in group.structure.network.widths]


def test_layers_without_units_are_planned_where_they_are_declared() -> None:
    found = _hollow(Hollow())
    assert not _hollow(Miniature())
    assert not _hollow(Hollow(), "smoke")
    for dtype in ("f32", "f64"):
        own = [group.structure.network.widths for group in found if group.structure.dtype == dtype]
        assert [widths.index(0) for widths in own] == [1, 0, 2]
    assert {group.regime for group in found} == {"degenerate"}
    for group in found:
        assert parse_case(group.cases[0].id, tuple(REGIMES)) == group.cases[0]
        assert not make_draws(group.cases).dead.any()
        assert not findings(Hollow(), group), group.id
    everything = [set(plan(describe(a, "a"), make_options("quick", 1)).groups) for a in (Hollow(), Miniature())]
    assert everything[0] - everything[1] == set(found)
    assert not everything[1] - everything[0]


def test_a_product_over_nothing_that_is_not_zero_is_found() -> None:
    failing = [group.structure.network.widths.index(0) for group in _hollow(Hollow()) if findings(LeavesUnset(), group)]
    assert failing == [1, 0, 1, 0]


def test_a_structure_without_units_is_unsupported_where_it_is_not_declared() -> None:
    structure = Structure(Network((3, 0, 2), ("tanh", "tanh")), 2, "f64")
    with pytest.raises(NotImplementedError, match="does not declare zero_width"):
        Miniature().program(structure)


def test_pre_activations_that_are_all_zero_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shrinking makes them."""
    monkeypatch.setattr(regimes, "_far", lambda structure, rng, sizes: np.zeros((2, 3)))
    case = parse_case("2x3x2-tanh.identity-b3-none-f64-tails-s0", tuple(REGIMES))
    drawn = REGIMES["tails"].make_numbers(case.structure, 0, np.random.default_rng(0))
    assert all(np.isfinite(one).all() for one in (*drawn.parameters.weights, drawn.x, drawn.y))


# Other values of parameters.


class DefaultParameters(Miniature):
    """Each parameter of an activation is what PyTorch, or else JAX, takes by default, whatever is asked for."""

    name = "default-parameters"
    DEFAULTS: Mapping[str, float] = {
        "leaky_relu": 0.01, "elu": 1.0, "celu": 1.0, "softshrink": 0.5, "hardshrink": 0.5, "squareplus": 4.0,
    }  # fmt: skip

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def own(name: str) -> str:
            base = base_of(name)
            (key,) = ACTIVATIONS[base].parameters or ("",)
            return name_with(base, {key: self.DEFAULTS[base]}) if key else name

        network = replace(structure.network, activations=tuple(map(own, structure.network.activations)))
        return right(replace(structure, network=network), parameters, x, y)


def _with_other_values(seed: int, profile: str = "quick") -> list[Group]:
    plain = set(ACTIVATIONS)
    every = plan(EVERY, make_options(profile, seed)).groups
    return [group for group in every if not plain.issuperset(group.structure.network.activations)]


@pytest.mark.parametrize("seed", [0, 1])
def test_every_parameter_has_values_that_are_no_default_and_a_parameter_that_is_ignored_is_found(seed: int) -> None:
    others = _with_other_values(seed)
    assert {base_of(group.structure.network.activations[0]) for group in others} == set(OTHER_VALUES)
    for group in others:
        assert not findings(Miniature(), group), group.id
        assert failing_cases(DefaultParameters(), group, "forward"), group.id
    # The table has elu's default, so that only other values show it.
    elu = group_of("5x6-elu-b6-pre-f64-tails", (0, 1, 2, 3, 4))
    assert not findings(DefaultParameters(), elu)


def test_the_other_values_are_numbers_of_every_dtype_and_all_are_planned_in_standard() -> None:
    for name, values in OTHER_VALUES.items():
        (table,) = ACTIVATIONS[name].parameters.values()
        assert len({table, DefaultParameters.DEFAULTS[name], *values}) == (3 if name == "elu" else 4)
        for value in values:
            assert all(float(np.asarray(value).astype(dtype.numpy)) == value for dtype in DTYPES.values())
    names = [group.structure.network.activations[0] for group in _with_other_values(0, "standard")]
    assert len(set(names)) == 2 * len(OTHER_VALUES)


def test_a_value_that_the_framework_fixes_is_not_asked_for() -> None:
    fixed = replace(EVERY, activations=(*(name for name in EVERY.activations if name != "elu"), "elu_0d5"))
    names = {
        name
        for group in plan(fixed, make_options("standard", 0)).groups
        for name in group.structure.network.activations
    }
    assert {name for name in names if base_of(name) == "elu"} == {"elu_0d5"}
