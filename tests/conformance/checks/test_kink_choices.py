"""Slopes that an adapter declares exactly at kinks: the check requires them there, and nothing else."""

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.registry import load
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.regimes import Draw, aimed_layer
from kterm.conformance.checks.comparison.compare import Comparison, compare
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, DTYPES, Activation, Array, Kink, Network, Parameters, Structure, rounding
from kterm.reference.rounding import Estimate, Reading, bound, deviation

from ...support.command import kterm
from ...support.frameworks.miniatures import Miniature, by_hand, silent

KINKS = [pytest.param(row, kink, id=f"{row.name}@{kink.point:g}") for row in ACTIVATIONS.values() for kink in row.kinks]
READINGS = [
    pytest.param(reading(DTYPES[f]), id=f"{reading.__name__}-{f}") for reading in (bound, deviation) for f in DTYPES
]
SHIPPED = ("numpy", "torch", "torch-func", "jax", "jax-eager", "jax-vmap")
SHIPPED_HERE = (*SHIPPED[:4], *(pytest.param(name, marks=pytest.mark.heavy) for name in SHIPPED[4:]))


class Sloped(Miniature):
    """Takes another slope exactly at one kink; declares, unless told otherwise, what the reference takes."""

    name = "sloped"

    def __init__(
        self,
        name: str,
        point: float,
        slope: float,
        show: bool = True,
        declared: Mapping[str, Mapping[float, float]] = Numpy.slopes_at_kinks,
    ) -> None:
        super().__init__()
        self._name, self._point, self._slope, self._show = name, point, slope, show
        self.slopes_at_kinks = declared

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        def derivative(name: str, z: Array) -> Array:
            own = ACTIVATIONS[name].derivative(z)
            return np.where((z == self._point) & (name == self._name), z.dtype.type(self._slope), own)

        found = by_hand(structure.network, parameters, x, y, derivative)
        return found if self._show else silent(found)


def other(row: Activation, kink: Kink) -> float:
    """The one-sided derivative that the reference does not take."""
    return kink.left if Numpy.slopes_at_kinks[row.name][kink.point] == kink.right else kink.right


@cache
def _planned(seed: int) -> tuple[Group, ...]:
    every = replace(describe(Miniature(), "sound"), dtypes=tuple(DTYPES))
    return plan(every, make_options("quick", seed)).groups


@cache
def _drawn(group: Group) -> Draw:
    return make_draws(group.cases)


def aimed_at(name: str, dtype: str, seed: int = 0) -> list[Group]:
    """The groups of the quick profile that aim at kinks of an activation."""

    def target(structure: Structure) -> str:
        return structure.network.activations[aimed_layer(structure) - 1]

    kinks = [group for group in _planned(seed) if group.regime == "kinks"]
    return [group for group in kinks if group.structure.dtype == dtype and target(group.structure) == name]


def of_every_regime(dtype: str) -> list[Group]:
    """Two groups of each regime of the quick profile, and all that aim at the kink of relu."""
    of_regime = {
        regime: [g for g in _planned(0) if (g.regime, g.structure.dtype) == (regime, dtype)] for regime in REGIMES
    }
    others = [group for regime, groups in of_regime.items() if regime != "kinks" for group in groups[:2]]
    return aimed_at("relu", dtype) + others


def findings(adapter: Adapter, groups: list[Group]) -> list[Verdict]:
    return [
        v
        for group in groups
        for some in examine(group, LocalRunner(adapter), draws=_drawn(group)).verdicts
        for v in some
        if v.is_finding
    ]


# Framework against declaration.


@pytest.mark.parametrize("show", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_relu_with_the_slope_1_at_0_is_caught_where_0_is_declared(dtype: str, show: bool) -> None:
    found = findings(Sloped("relu", 0, 1, show), of_every_regime(dtype))
    assert "kinks" in {parse_case(v.case, tuple(REGIMES)).regime for v in found}
    assert {v.check for v in found} <= {"k_terms", "weight_gradients", "bias_gradients"}
    assert {v.activation for v in found if v.check == "k_terms"} == ({"relu"} if show else set())
    # It is a wrong rule, and no matter of accuracy.
    assert {v.grade for v in found} == {"wrong"}
    assert min(v.worst for v in found if v.worst is not None) > 10


@pytest.mark.parametrize(
    ("declared", "dtype"),
    [({}, "f32"), ({"relu": {0: 1}}, "f64"), ({"tanh": {}, "relu6": {0: 0}}, "f32")],
    ids=["none", "1", "others"],
)
def test_relu_with_the_slope_1_at_0_conforms_where_nothing_else_is_declared(declared: Any, dtype: str) -> None:
    assert not findings(Sloped("relu", 0, 1, declared=declared), of_every_regime(dtype))


def test_the_slopes_that_the_reference_takes_are_those_that_it_declares() -> None:
    for dtype in ("f32", "f64"):
        groups = of_every_regime(dtype)
        assert {"kinks", "normal", "twins"} <= {group.regime for group in groups}
        assert not findings(Numpy(), groups)
        assert not findings(Sloped("relu", 0, 0, show=False), groups)


@pytest.mark.parametrize("show", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("row", "kink"), KINKS)
def test_the_other_one_sided_derivative_is_caught_at_every_kink(
    row: Activation, kink: Kink, dtype: str, show: bool
) -> None:
    slope = other(row, kink)
    for seed in (0, 1):
        groups = aimed_at(row.name, dtype, seed)
        found = findings(Sloped(row.name, kink.point, slope, show), groups)
        assert found, seed
        assert all(v.grade == "wrong" for v in found)
        assert not findings(Sloped(row.name, kink.point, slope, show, declared={}), groups)
        assert not findings(Sloped(row.name, kink.point, slope, show, {row.name: {kink.point: slope}}), groups)


@pytest.mark.parametrize("show", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("name", "point", "slope"),
    [("relu", 0, 0.5), ("hard_sigmoid", -3, 1 / 6), ("leaky_relu", 0, 0.3), ("selu", 0, 1.4)],
)
def test_any_slope_may_be_declared_and_is_held_to_within_rounding(
    name: str, point: float, slope: float, dtype: str, show: bool
) -> None:
    groups, declared = aimed_at(name, dtype), {name: {point: slope}}
    u = DTYPES[dtype].u
    assert not findings(Sloped(name, point, slope, show, declared), groups)
    assert findings(Sloped(name, point, slope * (1 - 256 * u), show, declared), groups)


def _observed(group: Group, adapter: Miniature) -> list[Observation]:
    stack = make_draws(group.cases)
    return [adapter.answer(group.structure, stack[i].parameters, stack[i].x, stack[i].y) for i in range(len(stack.x))]


def test_a_draw_is_judged_at_its_kinks_whatever_the_others_of_its_stack_show() -> None:
    """A z that was rounded in one draw, or is below the normal range there, leaves the next as exact as it was."""
    case = parse_case("6x4x3-relu.tanh-b6-none-f64-kinks-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0, 1))
    first, second = _observed(group, Sloped("relu", 0, 1))
    assert first.z is not None
    off = replace(first, z=(np.nextafter(first.z[0], np.inf), *first.z[1:]))
    stack, conventions = make_draws(group.cases), describe(Numpy(), "numpy").conventions

    def judged(observed: list[Observation]) -> list[Comparison]:
        return list(compare(group.structure, stack, observed, "kinks", conventions))

    for together, apart in zip(judged([off, second]), judged([first, second]), strict=True):
        assert together.worst[1] == pytest.approx(apart.worst[1], rel=1e-6), together.quantity
    assert max(c.worst[1] for c in judged([off, second]) if c.check == "k_terms") > 1


# Slopes and their errors.


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
def test_a_declared_slope_is_the_value_where_no_error_takes_z_away(
    row: Activation, kink: Kink, reading: Reading
) -> None:
    z = np.array([float(kink.point)])
    for declared in (kink.left, kink.right, (kink.left + kink.right) / 2):
        for error in (None, np.zeros(1)):
            audited = rounding.derivative(row, Estimate(z, error), reading, {kink.point: declared})
            assert audited.value[0] == declared
            assert audited.jump is None or audited.jump[0] == 0
            formula = reading.kappa * row.slope_ulps * reading.u
            most = 2 * formula + reading.kappa * reading.underflow
            assert formula * abs(declared) * (1 - 1e-12) <= audited.tolerance(reading)[0] <= most
        elsewhere = rounding.derivative(row, Estimate(z), reading, {kink.point + 1: declared})
        assert elsewhere.jump is not None
        assert elsewhere.jump[0] == abs(kink.left - kink.right) / 2


@pytest.mark.parametrize(("row", "kink"), KINKS)
@pytest.mark.parametrize("reading", READINGS)
def test_a_declared_slope_changes_nothing_within_reach_or_beside(row: Activation, kink: Kink, reading: Reading) -> None:
    at, jump = np.array([float(kink.point)]), np.array([1e-3])
    step = 2 * reading.u * max(abs(kink.point), 1.0)  # less than the blur, where there is one
    for z in (
        Estimate(at, np.array([1e-3])),
        Estimate(at, None, jump),
        Estimate(at + 1e-4, np.array([1e-3])),
        Estimate(at + step),
        Estimate(at - step),
        Estimate(at - step, np.zeros(1)),
    ):
        free = rounding.derivative(row, z, reading)
        held = rounding.derivative(row, z, reading, {kink.point: other(row, kink)})
        for before, after in zip((free.value, free.error, free.jump), (held.value, held.error, held.jump), strict=True):
            assert before is after is None or (before is not None and after is not None and (before == after).all())


# Declarations.


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"rleu": {0: 0}}, "slopes_at_kinks: unknown activation 'rleu'; known are identity, "),
        ({"relu": {1: 0}}, "slopes_at_kinks: relu has no kink at 1; it has 0"),
        ({"relu6": {0: 0, 5.5: 1}}, "slopes_at_kinks: relu6 has no kink at 5.5; it has 0, 6"),
        ({"elu": {0: 1}}, "slopes_at_kinks: elu has no kink at 0; it has none"),
        ({"relu": {0: 1.5}}, "slopes_at_kinks: relu at 0: 1.5 is not between its one-sided derivatives, 0 and 1"),
        ({"hard_swish": {-3: 0.25}}, "hard_swish at -3: 0.25 is not between its one-sided derivatives, -0.5 and 0"),
        ({"relu": {0: float("nan")}}, "slopes_at_kinks: relu at 0: nan is not between its one-sided derivatives"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_slope_that_is_none_is_refused(declared: dict[str, Any], told: str) -> None:
    adapter: Adapter = type("Odd", (Numpy,), {"slopes_at_kinks": declared, "name": "odd"})()
    with pytest.raises(ValueError, match="adapter odd: ") as caught:
        describe(adapter, "odd")
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_declaration_travels_as_plain_data() -> None:
    described = describe(Numpy(), "numpy")
    assert described.conventions == Numpy.slopes_at_kinks
    assert Description.from_json(described.to_json()) == described
    assert Description.from_json(json.loads(json.dumps(described.to_json()))) == described
    assert pickle.loads(pickle.dumps(described)) == described
    assert hash(described) == hash(describe(Numpy(), "numpy"))


def test_what_is_declared_of_activations_that_an_adapter_lacks_is_left_out() -> None:
    class Few(Numpy):
        activations = {name: Numpy.activations[name] for name in ("tanh", "relu")}  # noqa: RUF012

    assert describe(Few(), "few").conventions == {"relu": {0: 0}}


def test_nothing_is_declared_by_default() -> None:
    class Silent(Adapter):
        name, version, activations = "silent", "1", Numpy.activations

        def build(self, structure: Structure) -> Any: ...

    assert describe(Silent(), "silent").slopes_at_kinks == ()


_PORT = '''
from kterm.adapters.numpy_adapter import Numpy

class Port(Numpy):
    """Declares the slope from the right, where it takes that from the left."""
    name = "port"
    slopes_at_kinks = {"relu": {0: %s}}
'''


def test_replay_and_kinks_hold_an_adapter_to_what_it_declares(tmp_path: Path) -> None:
    (tmp_path / "port.py").write_text(_PORT % 1, encoding="utf-8")
    (tmp_path / "none.py").write_text(_PORT % 0, encoding="utf-8")
    case = "6x4x3-relu.tanh-b6-none-f32-kinks-s0"
    replayed = kterm("replay", case, "port.py:Port", folder=tmp_path)
    assert replayed.returncode == 1, replayed.stderr
    assert "first step that departs: k_1, at layer 1" in replayed.stdout
    assert kterm("replay", case, "none.py:Port", folder=tmp_path).returncode == 0
    told = kterm("kinks", "port.py:Port", "--dtype", "f32", folder=tmp_path)
    assert told.returncode == 1
    assert "k_terms wrong" in told.stdout
    (tmp_path / "odd.py").write_text(_PORT % 2, encoding="utf-8")
    refused = kterm("check", "odd.py:Port", folder=tmp_path)
    assert refused.returncode == 3
    assert "slopes_at_kinks: relu at 0: 2 is not between" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


# The shipped adapters.


def slopes_taken(adapter: Adapter, row: Activation, dtype: str) -> Iterator[tuple[float, float]]:
    """(kink, the slope that the adapter's own program takes there)."""
    points, format_ = [float(kink.point) for kink in row.kinks], DTYPES[dtype].numpy
    n = len(points)
    program = adapter.program(Structure(Network((n, n), (row.name,), "none"), n, dtype))
    parameters, x = Parameters((np.array([points] * n).astype(format_),)), np.eye(n).astype(format_)
    out = program(parameters, x, np.zeros_like(x)).outputs
    y = (out - format_.type(1)).astype(format_)
    side = out.astype(float) - y.astype(float)
    (gradient,) = program(parameters, x, y).weight_gradients
    # Every row of the batch selects the same row of points: the gradient has the k of one of them in each.
    yield from zip(points, (gradient.astype(float) / side)[0], strict=True)


@pytest.mark.parametrize("name", SHIPPED_HERE)
def test_a_shipped_adapter_declares_the_slope_that_it_takes_at_every_kink_in_every_dtype(name: str) -> None:
    pytest.importorskip(name.split("-")[0])
    adapter = load(name)
    conventions = describe(adapter, name).conventions
    for row in (row for row in ACTIVATIONS.values() if row.kinks):
        assert list(conventions[row.name]) == [kink.point for kink in row.kinks]
        for dtype in adapter.dtypes:
            for point, slope in slopes_taken(adapter, row, dtype):
                due = conventions[row.name][point]
                assert slope == pytest.approx(due, rel=4 * DTYPES[dtype].u, abs=0), (row.name, point, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_framework_is_held_to_another_declaration(name: str, dtype: str) -> None:
    """In vain, of course: as if it had changed its slope."""
    pytest.importorskip(name)
    adapter = load(name)
    group = Group(parse_case(f"6x4x3-relu.tanh-b6-none-{dtype}-kinks-s0", tuple(REGIMES)).structure, "kinks", 0, (0, 1))
    assert not findings(adapter, [group])
    adapter.slopes_at_kinks = {"relu": {0: 1}}
    found = findings(adapter, [group])
    assert {v.quantity for v in found if v.check == "k_terms"} == {"k_1"}
    adapter.slopes_at_kinks = {}
    assert not findings(adapter, [group])
