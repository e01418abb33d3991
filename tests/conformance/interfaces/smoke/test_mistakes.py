"""Each mistake of an adapter is found with its fix, and nothing is said that is wrong."""

import re
from collections.abc import Callable

import pytest

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.interfaces.smoke.advise import findings_of
from kterm.conformance.interfaces.smoke.finding import Finding
from kterm.conformance.interfaces.smoke.lines import lines_of
from kterm.conformance.interfaces.smoke.look import look_at
from kterm.conformance.mutants.loading import planted
from kterm.conformance.runners.runner import LocalRunner

from ....docs import page
from ....support.frameworks.forms.columns import ColumnVectors
from ....support.frameworks.forms.modules import Modules
from ....support.frameworks.forms.per_example import PerExample
from ....support.frameworks.forms.regressor import FixedForm
from ....support.frameworks.forms.scalar_graph import ScalarGraph
from ....support.frameworks.miniatures import Miniature, Silent
from ....support.mistakes.adapters import Mine
from ....support.mistakes.table import MISTAKES, Mistake

PAGE = "docs/validate-a-port.md"


def _found(adapter: Adapter) -> list[Finding]:
    return findings_of(look_at(LocalRunner(adapter)))


def row(mistake: Mistake, found: Finding) -> str:
    """The row of the page for a mistake: what is seen first, with figures to three digits and without the line of an
    exception, and the advice.
    """
    seen = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.3g}", found.seen[0])
    seen = re.sub(r" \([\w./]+:\d+\)$", "", seen)
    return f"| {mistake.words} | `{seen}` | `{found.advice}` |"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.words)
def test_a_mistake_is_found_with_its_fix_and_no_other(mistake: Mistake) -> None:
    first, *others = _found(mistake.adapter())
    assert mistake.says in " ".join(first.seen), first
    assert mistake.fix in first.advice, first
    assert (first.whose == "adapter") == mistake.is_certain, first
    # Whatever else is seen follows from it. It is not said to be a mistake of the adapter too.
    assert [one for one in others if one.whose == "adapter"] == []
    assert row(mistake, first) in page(PAGE).splitlines()


@pytest.mark.parametrize(
    "make", [Numpy, Mine, Miniature, Silent, ColumnVectors, Modules, PerExample, FixedForm, ScalarGraph]
)
def test_nothing_is_said_of_a_sound_adapter(make: Callable[[], Adapter]) -> None:
    look = look_at(LocalRunner(make()))
    assert findings_of(look) == []
    *_, said, command = lines_of(look, [])
    assert said == "nothing wrong seen in the adapter; next:"
    assert command.startswith("  kterm check ")


FRAMEWORK = (
    "mean-over-batch",
    "factor-2",
    "sign",
    "no-slope-hidden",
    "no-transpose",
    "gradient-transposed",
    "accumulated",
    "bias-zero",
    "forward-no-bias",
    "stale-program",
    "constant-weights",
    "float32-inside",
    "strides-ignored",
    "error-mean",
    "inputs-modified",
    "empty-mean",
    "bias-unsummed",
    "transposed-if-square",
)
"""Mistakes that frameworks make."""


@pytest.mark.parametrize("name", FRAMEWORK)
def test_a_mistake_of_the_framework_is_not_said_to_be_the_adapters(name: str) -> None:
    found = _found(planted(Miniature(), name))
    assert found
    assert [one for one in found if one.whose == "adapter"] == [], found
    assert all("the framework" in one.advice or "kterm replay" in one.advice for one in found), found


def test_the_page_has_no_other_rows() -> None:
    for is_certain, heading in ((True, "mistakes of the adapter"), (False, "of the adapter or of the framework")):
        table = re.search(rf"<!-- {heading} -->\n\| [^\n]*\n\|[-|]+\n(.*?)<!-- end -->", page(PAGE), re.S)
        assert table is not None
        listed = [line.split(" | ")[0].removeprefix("| ") for line in table[1].splitlines()]
        assert listed == [mistake.words for mistake in MISTAKES if mistake.is_certain == is_certain]
