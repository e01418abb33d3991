"""Values of parameters that a framework does not let one set: declared, they are what its cases have."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.adapters.declarations import check_declarations
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.interfaces.api import check_adapter
from kterm.conformance.runners.process import ProcessRunner, open_runner
from kterm.reference import ACTIVATIONS, OTHER_VALUES, base_of, name_with

from ..support.here import kterm_here
from ..support.program import as_program

ADAPTER = """
import numpy as np

from kterm.adapters import Adapter, Observation
from kterm.reference import base_of

F = {"identity": lambda z: z, "tanh": np.tanh, "leaky_relu": lambda z: np.where(z > 0, z, {slope} * z).astype(z.dtype)}
SLOPES = {
    "identity": np.ones_like, "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "leaky_relu": lambda z: np.where(z > 0, 1, {slope}).astype(z.dtype),
}

class Fixed(Adapter):
    name, version, biases = "fixed", "1.0", ("none", "pre")
    activations = F
    fixed_parameters = {"leaky_relu": {"slope": 0.2}}
    slopes_at_kinks = {"leaky_relu": {0: 0.2}}

    def build(self, structure):
        self.require(structure)
        names = [base_of(name) for name in structure.network.activations]

        def program(parameters, x, y):
            zs, xs = [], [x]
            for i, name in enumerate(names):
                zs.append(xs[-1] @ parameters.weights[i] + (parameters.biases[i] if parameters.biases else 0))
                xs.append(F[name](zs[-1]))
            side, ks = xs[-1] - y, []
            for weight, z, name in zip(parameters.weights[::-1], zs[::-1], names[::-1]):
                ks.insert(0, side * SLOPES[name](z))
                side = ks[0] @ weight.T
            by_weight = tuple(before.T @ k for before, k in zip(xs, ks))
            by_bias = tuple(k.sum(0) for k in ks) if parameters.biases else ()
            return Observation(xs[-1], np.asarray(np.square(xs[-1] - y).sum() / 2), by_weight, by_bias)

        return program
"""
VALUES = {
    "leaky_relu": {"slope": 0.3},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 2.3},
    "softshrink": {"threshold": 0.3},
    "hardshrink": {"threshold": 0.6},
    "squareplus": {"b": 1.1},
}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "fixed.py").write_text(ADAPTER.replace("{slope}", "0.2"), encoding="utf-8")
    return f"{tmp_path / 'fixed.py'}:Fixed"


class AllFixed(Numpy):
    """Has another value of each parameter, none of them a number of a narrow format."""

    name, slopes_at_kinks, fixed_parameters = "all-fixed", {}, VALUES


@pytest.mark.parametrize("as_a_program", [False, True])
def test_a_framework_with_a_value_of_its_own_conforms(spec: str, tmp_path: Path, as_a_program: bool) -> None:
    results = check_adapter(as_program(spec, tmp_path) if as_a_program else spec, profile="smoke")
    assert results.conforms, str(results)
    assert "activation leaky_relu with slope = 0.125 (it has slope = 0.2)" in results.unsupported
    assert results.coverage.activations == ("identity", "tanh", "leaky_relu_0d2")
    assert "activation leaky_relu" not in results.unsupported


def test_a_framework_with_another_value_than_declared_is_wrong(spec: str, tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(ADAPTER.replace("{slope}", "0.25"), encoding="utf-8")
    results = check_adapter(spec, profile="smoke", dtypes=["f64"])
    assert {v.check for v in results.failures} == {"forward"}
    assert all("leaky_relu_0d2" in v.case for v in results.failures)


def test_every_parameter_may_be_fixed() -> None:
    results = check_adapter(
        AllFixed(), profile="quick", dtypes=["f32"], activations=list(VALUES), regimes=["kinks", "normal", "twins"]
    )
    assert results.conforms, str(results)
    assert {base_of(name) for name in results.coverage.activations} == set(VALUES)
    assert not set(VALUES) & set(results.coverage.activations)


def test_declared_values_cross_the_link(spec: str, tmp_path: Path) -> None:
    with closing(open_runner(spec)) as here:
        own = here.describe()
    assert own.activations == ("identity", "tanh", "leaky_relu_0d2")
    assert own.slopes_at_kinks == (("leaky_relu_0d2", 0.0, 0.2),)
    assert Description.from_json(own.to_json()) == own
    for other in (spec, as_program(spec, tmp_path)):
        with closing(ProcessRunner(other)) as runner:
            assert replace(runner.describe(), spec=own.spec) == own


def test_a_value_that_is_that_of_the_table_changes_nothing() -> None:
    class Usual(Numpy):
        fixed_parameters = {"leaky_relu": {"slope": 0.125}, "elu": {"alpha": 1}}  # noqa: RUF012

    options = make_options("smoke", 0)
    assert plan(describe(Usual(), "numpy"), options) == plan(describe(Numpy(), "numpy"), options)


def test_no_other_value_is_asked_for_if_the_fixed_one_is_that_of_the_table() -> None:
    class Usual(Numpy):
        fixed_parameters = {"elu": {"alpha": 1}}  # noqa: RUF012  (declared by the base)

    described, options = describe(Usual(), "numpy"), make_options("quick", 0)
    assert Description.from_json(described.to_json()) == described
    planned = plan(described, options)
    names = {name for group in planned.groups for name in group.structure.network.activations}
    assert {name for name in names if base_of(name) == "elu"} == {"elu"}
    assert {base_of(name) for name in names - set(ACTIVATIONS)} == OTHER_VALUES.keys() - {"elu"}
    free = plan(describe(Numpy(), "numpy"), options)
    assert set(planned.unsupported) - set(free.unsupported) == {"activation elu with another alpha than 1"}


def test_a_case_of_a_value_is_replayed_and_refused_by_others(spec: str, tmp_path: Path) -> None:
    case = "2x3x1-leaky_relu_0d2.identity-b2-pre-f32-normal-s0"
    done = kterm_here("replay", case, spec, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kterm_here("replay", case, "numpy", folder=tmp_path).returncode == 0  # it has any value
    done = kterm_here("replay", case.replace("0d2", "0d3"), spec, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(" has no activation leaky_relu_0d3\n")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (3, "3 is not a mapping; write fixed_parameters"),
        ({"leaky": {"slope": 0.2}}, "unknown activation 'leaky'; known are"),
        ({"leaky_relu": 0.2}, "leaky_relu: 0.2 is not a mapping from parameters to values"),
        ({"leaky_relu": {"alpha": 0.2}}, "leaky_relu has no parameter 'alpha'; it has slope"),
        ({"relu": {"slope": 0.2}}, "relu has no parameter 'slope'; it has none"),
        ({"leaky_relu": {"slope": 1.5}}, "leaky_relu: slope = 1.5 should be a number between 0 and 1"),
        ({"elu": {"alpha": float("nan")}}, "elu: alpha = nan should be a number between 0 and inf"),
        ({"elu": {"alpha": "1"}}, "elu: alpha = '1' is not a number"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_line(declared: Any, said: str) -> None:
    adapter: Adapter = type("Wrong", (Numpy,), {"fixed_parameters": declared})()
    with pytest.raises(ValueError, match="adapter numpy: fixed_parameters: ") as refused:
        check_declarations(adapter)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_activation_with_a_parameter_may_have_another_value() -> None:
    assert set(VALUES) == {row.name for row in ACTIVATIONS.values() if row.parameters}
    assert all(len(row.parameters) <= 1 for row in ACTIVATIONS.values())


@pytest.mark.parametrize("name", list(VALUES))
def test_a_row_is_made_for_each_name_in_its_one_form(name: str) -> None:
    own = name_with(name, VALUES[name])
    row = ACTIVATIONS[own]
    assert own in ACTIVATIONS
    assert own not in list(ACTIVATIONS)
    assert (base_of(own), row.name, dict(row.parameters)) == (name, own, VALUES[name])
    assert name_with(name, ACTIVATIONS[name].parameters) == name
    for other in (f"{own}0", f"{name}_nan", f"{name}_m1d0", f"{name}_", f"{name}_0d0"):
        assert other not in ACTIVATIONS
        with pytest.raises(KeyError):
            ACTIVATIONS[other]
    # f' is the derivative of f, away from kinks and seams.
    z = np.linspace(-4, 4, 801) + 0.0013
    near = np.min([np.abs(z - k.point) for k in row.kinks] + [np.abs(z)], axis=0) < 0.01
    slope = (row.f(z + 1e-6) - row.f(z - 1e-6)) / 2e-6
    assert np.allclose(slope[~near], row.derivative(z)[~near], atol=1e-6)
