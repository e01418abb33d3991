"""Sums of errors: which entries enter them, and that they can be merged in any order without a change."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.conformance.cases.case import Group
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.findings import ExpectationFor
from kterm.conformance.checks.whole_run.moments import (
    UNIT,
    WIDE_DRAWS,
    Key,
    Sums,
    collect,
    from_rows,
    key_of,
    merge,
    to_rows,
    total,
)
from kterm.conformance.checks.whole_run.verdicts import judge_run
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array, Network, Parameters, Structure

from ....support.frameworks.miniatures import Miniature, right
from ....support.rounding import needs_longdouble

SHAPE = Network((3, 20, 4, 2), ("relu", "tanh", "identity"), "pre")


def _moments(
    adapter: Adapter, network: Network = SHAPE, dtype: str = "f32", regime: str = "normal", draws: int = 3
) -> dict[Key, Sums]:
    group = Group(Structure(network, 5, dtype), regime, 0, tuple(range(draws)))
    return dict(examine(group, LocalRunner(adapter)).moments)


def test_the_sums_of_a_cluster_are_those_of_its_entries() -> None:
    rows = np.array([[2, 0.5, -0.25, 1.5, 0.75, 0.125, 2.0], [0, 0, 0, 0, 0, 0, 0], [3, -1.0, 1.0, 0.5, 0.25, 0, 0.5]])
    found = collect([(("f32", "z", "", "short"), rows)])["f32", "z", "", "short"]
    unit = round(1 / UNIT)
    assert (found.clusters, found.entries, found.entries_2) == (2, 5, 13)
    assert (found.plain, found.outward, found.square, found.size) == (-unit // 2, 3 * unit // 4, 2 * unit, unit)
    assert found.plain_2 == (unit // 2) ** 2 + unit**2
    assert found.outward_size == -(unit // 4) * (3 * unit // 4) + unit * (unit // 4)
    assert found.square_entries == (3 * unit // 2) * 2 + (unit // 2) * 3
    assert found.size_entries == (3 * unit // 4) * 2 + (unit // 4) * 3


def test_parts_merge_exactly_in_any_order_and_through_json() -> None:
    rng = np.random.Generator(np.random.Philox(key=1))
    keys: list[Key] = [("f32", "z", "", "short"), ("f32", "z", "", "long"), ("f64", "k", "relu", "short")]
    # Sizes from 1e-9 to 1e9, which floats would not add to the same sum in every order.
    parts = [
        collect([(key, np.abs(rng.normal(size=(4, 7))) * 10.0 ** rng.integers(-9, 9) + 1) for key in keys])
        for _ in range(4)
    ]
    due = merge(parts)
    for order in permutations(parts):
        assert merge(from_rows(json.loads(json.dumps(to_rows(part)))) for part in order) == due
    assert merge([merge(parts[:1]), merge(parts[1:])]) == due
    assert list(due) == sorted(keys)
    assert total(due.values()).clusters == sum(sums.clusters for part in parts for sums in part.values())


@pytest.mark.parametrize(
    "row",
    [
        ["f32", "z", "", "short", *[1] * 17],
        ["f32", "z", "", "short", *[1.0] * 18],
        ["f32", "z", 3, "short", *[1] * 18],
        ["f32", "z", "", "short", *[True] * 18],
        [],
    ],
)
def test_what_are_no_moments_is_refused(row: list[str | int]) -> None:
    with pytest.raises(ValueError, match="no row of moments"):
        from_rows([row])
    good: list[str | int] = ["f32", "z", "", "short", *[1] * 18]
    with pytest.raises(ValueError, match="repeats one"):
        from_rows([good, good])


def test_local_steps_enter_and_what_follows_from_the_residual_alone_does_not() -> None:
    found = _moments(Miniature())
    assert {key[1:3] for key in found} == {
        ("z", ""), ("x", "relu"), ("x", "tanh"), ("x", "identity"), ("k", "relu"), ("k", "tanh"), ("dE/dW", ""),
        ("dE/db", ""),
    }  # fmt: skip
    # Three draws of three layers.
    assert sum(sums.clusters for key, sums in found.items() if key[1] == "z") == 9
    after = _moments(Miniature(), replace(SHAPE, bias="post"))
    # With "post" dE/db_n is the sum of the residuals.
    assert sum(sums.clusters for key, sums in after.items() if key[1] == "dE/db") == 6


class _HidingK(Miniature):
    """Shows no k."""

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        return replace(super().answer(structure, parameters, x, y), k=None)


def test_a_gradient_enters_only_beside_its_k() -> None:
    assert {key[1] for key in _moments(_HidingK())} == {"z", "x"}


@pytest.mark.parametrize("regime", ["lattice", "kinks", "tails", "subnormal", "degenerate"])
def test_regimes_of_special_numbers_do_not_enter(regime: str) -> None:
    network = Network((2, 2, 2), ("relu", "relu"), "pre")
    assert _moments(Miniature(), network, regime=regime, draws=2) == {}


class _WrongInOneDraw(Miniature):
    """A gradient far off in its second call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        self.calls += 1
        found = right(structure, parameters, x, y)
        if self.calls != 2:
            return found
        first, *others = found.weight_gradients
        return replace(found, weight_gradients=(first * x.dtype.type(2), *others))


def test_a_draw_with_a_finding_does_not_enter() -> None:
    found = _moments(_WrongInOneDraw())
    assert sum(sums.clusters for key, sums in found.items() if key[1] == "z") == 6


def test_an_expected_finding_keeps_a_draw_out_too() -> None:
    group = Group(Structure(SHAPE, 5, "f32"), "normal", 0, (0, 1, 2))
    found = examine(group, LocalRunner(_WrongInOneDraw()), ExpectationFor(lambda _: "1")).moments
    assert sum(sums.clusters for key, sums in found.items() if key[1] == "z") == 6


def test_sums_are_kept_apart_by_their_length() -> None:
    structure = Structure(SHAPE, 17, "f32")
    assert key_of(structure, "z", 1) == ("f32", "z", "", "short")
    assert key_of(structure, "z", 2) == ("f32", "z", "", "long")
    assert key_of(structure, "W", 1) == ("f32", "dE/dW", "", "long")
    assert key_of(structure, "k", 1) == ("f32", "k", "relu", "short")
    assert key_of(structure, "x", 2) == ("f32", "x", "tanh", "")
    assert key_of(replace(structure, network=replace(SHAPE, bias="post")), "b", 1) == ("f32", "dE/db", "", "")


@needs_longdouble
def test_in_float64_a_sample_of_the_draws_enters() -> None:
    found = _moments(Miniature(), dtype="f64", draws=WIDE_DRAWS + 2)
    assert sum(sums.clusters for key, sums in found.items() if key[1] == "z") == 3 * WIDE_DRAWS


def test_an_error_counts_outward_by_the_sign_of_the_value() -> None:
    class Outward(Miniature):
        """Each pre-activation 1 + 2e-7 times what it should be."""

        def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
            found = right(structure, parameters, x, y)
            scaled = tuple((z.astype(np.float64) * (1 + 2e-7)).astype(z.dtype) for z in found.z or ())
            return replace(found, z=scaled)

    one = next(one for one in judge_run(_moments(Outward(), draws=20)) if one.quantity == "z")
    assert one.means["outward"].value > 0.5
    assert abs(one.means["plain"].value) < 0.25
