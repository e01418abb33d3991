"""The cases of `kterm smoke`: few, small, and what the adapter declares."""

from dataclasses import replace

import pytest

from kterm.adapters import Limits
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.interfaces.smoke.cases import plan_smoke


@pytest.fixture(scope="module")
def adapter() -> Description:
    return describe(Numpy(), "numpy")


def test_every_part_of_what_is_declared_is_asked_for(adapter: Description) -> None:
    groups = [group for group in plan_smoke(adapter) if group.regime != "layout"]
    structures = [group.structure for group in groups]
    assert {structure.dtype for structure in structures} == set(adapter.dtypes)
    assert {structure.network.bias for structure in structures} == set(adapter.biases)
    assert {name for structure in structures for name in structure.network.activations} == set(adapter.activations)
    assert {structure.batch for structure in structures} >= {0, 1}
    assert {1} <= {structure.network.widths[-1] for structure in structures}
    assert {1} <= {width for structure in structures for width in structure.network.widths[1:-1]}
    in_f32 = [structure for structure in structures if structure.dtype == "f32"]
    assert {name for structure in in_f32 for name in structure.network.activations} == set(adapter.activations)
    assert sum(len(group.draws) for group in groups) <= 100
    assert all(max(structure.network.widths) <= 6 for structure in structures)


def test_no_two_structures_have_one_shape_but_those_that_are_about_it(adapter: Description) -> None:
    """A framework that keeps programs by shape alone would answer "post" with the program for "pre"."""
    shapes: dict[tuple[int, ...], set[str]] = {}
    for group in plan_smoke(adapter):
        if group.regime == "normal":
            network = group.structure.network
            kind = f"{network.bias} {group.structure.dtype}"
            shapes.setdefault((*network.widths, group.structure.batch), set()).add(kind)
    assert all(len(kinds) == 1 for kinds in shapes.values()), shapes


def test_limits_are_kept(adapter: Description) -> None:
    limits = Limits(width=4, depth=2, batch=3, least_batch=1, hidden_alike=True, last_identity=True)
    groups = plan_smoke(replace(adapter, limits=limits))
    assert {group.regime for group in groups} >= {"layout", "normal", "strided"}
    assert not [group.id for group in groups if limits.problem_of(group.structure)]


def test_limits_that_leave_nothing_are_one_line(adapter: Description) -> None:
    with pytest.raises(OptionError, match="its limits leave no network"):
        plan_smoke(replace(adapter, limits=Limits(width=3, entries=3)))
