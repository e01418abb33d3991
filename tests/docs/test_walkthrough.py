"""The names that pages link to exist where the link points, and the walk-through prints what it shows."""

import contextlib
import io
import re

import pytest

from . import NAMES, defined_names, linked_names, page

WALK = "docs/how-a-case-becomes-a-verdict.md"
_STEP = re.compile(
    r"<!-- executed -->\n```python\n(?P<code>.*?)^```\n(?:\n<!-- prints -->\n```\n(?P<output>.*?)^```\n)?", re.M | re.S
)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_link_to_a_file_are_defined_in_it(name: str) -> None:
    for linked, path in linked_names(name):
        assert path.exists(), f"{name}: {path} does not exist"
        assert linked in defined_names(path), f"{name}: {path.name} defines no {linked}"


def test_the_walk_through_names_the_functions_on_the_way() -> None:
    named = {linked for linked, _ in linked_names(WALK)}
    way = "parse_case make_options plan Group make_draws LocalRunner.build LocalRunner.call ProcessRunner.call examine"
    way += " check_answer compare propagate judge verdict_on write_part finish read"
    way += " locate_failures locate search Hypothesis confirm diagnose summarize_failures failure_lines"
    assert set(way.split()) <= named


def test_the_walk_through_prints_what_it_shows() -> None:
    names: dict[str, object] = {"__name__": "docs"}
    steps = list(_STEP.finditer(page(WALK)))
    assert len(steps) == page(WALK).count("```python\n") >= 8
    for step in steps:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(step["code"], f"<{WALK}>", "exec"), names)
        assert _without_rounding(printed.getvalue()) == _without_rounding(step["output"] or ""), step["code"]


def _without_rounding(text: str) -> str:
    """The text without the figures that are rounding errors: how far right numbers are off differs with the machine."""
    return re.sub(r'(?<="worst":)[\d.e-]+|\d\.\d+(?= tolerances)|[\d.]+(?= σ, fits)|(?<=residual )[\d.]+', "...", text)
