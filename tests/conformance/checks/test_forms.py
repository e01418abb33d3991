"""Frameworks of other forms than a dense layer and a squared error: each conforms, and each known mistake is found."""

from pathlib import Path

import pytest

from kterm.adapters import Adapter
from kterm.conformance.interfaces.api import check_adapter

from ...support.frameworks.forms.regressor import FixedForm
from ...support.frameworks.forms.scalar_graph import ScalarGraph
from ...support.here import kterm_here

FORMS = Path(__file__).resolve().parents[2] / "support" / "frameworks" / "forms"


@pytest.mark.parametrize("sound", [ScalarGraph, FixedForm], ids=lambda kind: kind.name)
def test_a_framework_of_another_form_conforms_with_nothing_unsupported(sound: type[Adapter]) -> None:
    results = check_adapter(sound(), profile="quick", seed=3, dtypes=["f64"])
    assert results.conforms, str(results)
    assert "unsupported" not in results.statuses().values()


def test_a_run_says_what_the_limits_left_out(tmp_path: Path) -> None:
    done = kterm_here("check", f"{FORMS / 'scalar_graph.py'}:ScalarGraph", "--profile", "smoke", "-n", "0",
                      folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the limits of scalar-graph leave out 4 structures: 3 tiles, 1 degenerate" in done.stdout
    assert "the limits of scalar-graph change structures: " in done.stdout
