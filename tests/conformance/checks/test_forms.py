"""Frameworks of other forms than a dense layer and a squared error: each conforms, and each known mistake is found."""

from pathlib import Path

import pytest

from kterm.adapters import IN_OUT, Adapter, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.interfaces.api import check_adapter
from kterm.conformance.records.record import read
from kterm.reference import Structure

from ...support.frameworks.forms.columns import ColumnVectors
from ...support.frameworks.forms.modules import Forgetful, Modules
from ...support.frameworks.forms.per_example import PerExample
from ...support.frameworks.forms.regressor import FixedForm
from ...support.frameworks.forms.scalar_graph import ScalarGraph
from ...support.here import kterm_here

FORMS = Path(__file__).resolve().parents[2] / "support" / "frameworks" / "forms"


@pytest.mark.parametrize(
    ("sound", "profile"),
    [
        (ScalarGraph, "quick"),
        (FixedForm, "quick"),
        (ColumnVectors, "smoke"),
        (PerExample, "smoke"),
        (Modules, "smoke"),
    ],
)
def test_a_framework_of_another_form_conforms_with_nothing_unsupported(sound: type[Adapter], profile: str) -> None:
    results = check_adapter(sound(), profile=profile, seed=3, dtypes=["f64"])
    assert results.conforms, str(results)
    assert "unsupported" not in results.statuses().values()


def test_gradients_that_are_not_cleared_are_found() -> None:
    results = check_adapter(Forgetful(), profile="smoke", dtypes=["f64"])
    assert any("the same call, made again, gave other bits in dE/dW_1" in v.message for v in results.failures)


class _Unscaled(FixedForm):
    """Leaves the loss as it is, a mean over rows."""

    name = "unscaled"

    def error_scale(self, structure: Structure) -> float:
        return 1.0


class _InRows(ColumnVectors):
    """Declares its weights as (in, out) and takes them as (out, in)."""

    name, weight_layout = "in-rows", IN_OUT


@pytest.mark.parametrize(("wrong", "check"), [(_Unscaled, "error"), (_InRows, "layout")])
def test_a_wrong_declaration_is_found(wrong: type[Adapter], check: str) -> None:
    results = check_adapter(wrong(), profile="smoke", dtypes=["f64"])
    assert check in {v.check for v in results.failures}


def test_a_run_says_what_the_limits_left_out(tmp_path: Path) -> None:
    done = kterm_here("check", f"{FORMS / 'scalar_graph.py'}:ScalarGraph", "--profile", "smoke", "-n", "0",
                      folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the limits of scalar-graph leave out 4 structures: 3 tiles, 1 degenerate" in done.stdout
    assert "the limits of scalar-graph change structures: " in done.stdout


class _OnlyProbes(Numpy):
    """Builds the networks of the layout probes and no others."""

    name = "only-probes"

    def build(self, structure: Structure) -> Program:
        if structure.network.widths not in ((3, 3, 3), (2, 3, 4)):
            raise NotImplementedError("only two networks")
        return super().build(structure)


def test_layout_probes_alone_are_no_conformance(tmp_path: Path) -> None:
    results = check_adapter(_OnlyProbes(), profile="smoke", dtypes=["f64"])
    assert set(results.statuses().values()) == {"passed", "unsupported"}
    assert not results.conforms
    assert str(results).endswith("nothing was checked beside the layout")
    (tmp_path / "mine.py").write_text(_ONLY_PROBES)
    done = kterm_here("check", "mine.py:Mine", "--profile", "smoke", "-n", "0", "--report", "r.jsonl", folder=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "nothing was checked of mine: 2 passed and " in done.stdout
    assert ", no case beside the layout probes" in done.stdout
    assert read(tmp_path / "r.jsonl").unchecked == ("mine",)


_ONLY_PROBES = """
from kterm.adapters.numpy_adapter import Numpy

class Mine(Numpy):
    name = "mine"

    def build(self, structure):
        if structure.network.widths not in ((3, 3, 3), (2, 3, 4)):
            raise NotImplementedError("only two networks")
        return super().build(structure)
"""


def test_what_is_declared_and_not_judged_is_named(tmp_path: Path) -> None:
    lacking = _ONLY_PROBES.replace("widths not in ((3, 3, 3), (2, 3, 4))", "depth > 9 or structure.dtype == 'f64'")
    (tmp_path / "mine.py").write_text(lacking)
    kept = ["--activation=sin", "--activation=tanh", "--regime=converged", "--regime=twins"]
    done = kterm_here("check", "mine.py:Mine", "--profile", "smoke", *kept, "-n", "0", folder=tmp_path)
    assert "; profile smoke, sin only, tanh only, regime converged only, regime twins only, seed 0" in done.stdout
    assert "mine declares but no case judged: dtypes f64" in done.stdout, done.stdout
