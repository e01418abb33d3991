"""The names that pages link to exist where the link points, and the walk-through prints what it shows."""

import contextlib
import io
import re

import pytest

from . import NAMES, defined_names, linked_names, page

WALK = "docs/how-a-case-becomes-a-verdict.md"
DERIVATION = "docs/derivation.md"
_STEP = re.compile(
    r"<!-- executed(?P<torch> with torch)? -->\n```python\n(?P<code>.*?)^```\n"
    r"(?:\n<!-- prints -->\n```\n(?P<output>.*?)^```\n)?",
    re.M | re.S,
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
        printed = _printed(step["code"], names)
        assert _without_rounding(printed) == _without_rounding(step["output"] or ""), step["code"]


def _without_rounding(text: str) -> str:
    """The text without the figures that are rounding errors: how far right numbers are off differs with the machine."""
    return re.sub(r'(?<="worst":)[\d.e-]+|\d\.\d+(?= tolerances)|[\d.]+(?= σ, fits)|(?<=residual )[\d.]+', "...", text)


def test_the_derivation_prints_what_it_shows() -> None:
    # Its numbers are exact, so every digit counts.
    names: dict[str, object] = {"__name__": "docs"}
    steps = list(_STEP.finditer(page(DERIVATION)))
    assert len(steps) == page(DERIVATION).count("```python\n") >= 10
    assert [bool(step["torch"]) for step in steps] == [*[False] * (len(steps) - 1), True]
    for step in steps:
        if step["torch"]:
            pytest.importorskip("torch")
        assert _printed(step["code"], names) == step["output"], step["code"]


@pytest.mark.parametrize(
    ("right", "wrong"), [("* slope_1\n", "\n"), ("x_0.T @ k_1", "x_0.T @ k_1 * 2"), ("W_3.T)", "W_3)")]
)
def test_a_mistake_in_the_derivation_is_found(right: str, wrong: str) -> None:
    text = page(DERIVATION)
    assert right in text
    with pytest.raises((AssertionError, ValueError)):
        _follow(text.replace(right, wrong))


def _follow(text: str) -> None:
    names: dict[str, object] = {"__name__": "docs"}
    for step in _STEP.finditer(text):
        assert _printed(step["code"], names) == step["output"]


def _printed(code: str, names: dict[str, object]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<docs>", "exec"), names)
    return printed.getvalue()
