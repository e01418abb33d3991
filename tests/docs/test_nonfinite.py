"""The table of infinities and NaN is what the frameworks give."""

import pytest

from kterm.adapters.registry import load
from kterm.conformance.arithmetic.nonfinite import GIVEN, due_values, format_value, measure_nonfinite
from kterm.conformance.commands.facts.nonfinite import format_cell
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS

from . import page

pytest.importorskip("torch")
pytest.importorskip("jax")


def test_the_table_is_what_pytorch_and_jax_give() -> None:
    found = [
        {(fact.activation, fact.given): format_cell([fact]) for fact in measure_nonfinite(runner, ("f32",))}
        for runner in (LocalRunner(load(name, None)) for name in ("torch", "jax"))
    ]
    due = []
    for name, row in ACTIVATIONS.items():
        for given, value in GIVEN.items():
            cells = [some[name, given] for some in found]
            if set(cells) != {"as due"}:
                right = due_values(row, value)
                due.append([f"`{name}`", given, format_value(right["x"]), format_value(right["k"]), *cells])
    text = page("docs/divergences.md").partition("<!-- nonfinite -->\n")[2].partition("<!-- end -->")[0]
    listed = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert listed == due
