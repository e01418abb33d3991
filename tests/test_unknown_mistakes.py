"""The mistakes that the diagnosis was not built from: the framework that they are planted in conforms, and how a first
cause is scored.
"""

import re
import sys
from subprocess import run

import pytest

from benchmarks._common import ROOT
from benchmarks.mistakes.unknown.engine import Engine, Port
from benchmarks.mistakes.unknown.score import MISTAKES_BY_NAME, READ_LATER, score
from benchmarks.mistakes.unknown.torch_functions import Model, TorchPort
from kterm.conformance.interfaces.api import check_adapter


@pytest.mark.parametrize("shown", [True, False])
def test_the_framework_that_mistakes_are_planted_in_conforms(shown: bool) -> None:
    check_adapter(Port(Engine, shown), profile="smoke").raise_if_failed()
    check_adapter(TorchPort(Model, shown), profile="smoke").raise_if_failed()


def test_every_row_says_what_is_wrong() -> None:
    assert len(MISTAKES_BY_NAME) >= 120
    assert set(READ_LATER) <= set(MISTAKES_BY_NAME)
    for name, one in MISTAKES_BY_NAME.items():
        assert name == one.name
        assert one.wrong
        assert all(re.compile(pattern) for pattern in one.accepted)
        assert set(one.dtypes) <= set(one.make(True).dtypes)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("loss-scale-kept", "right"), ("width-one-zero", "not caught"), ("atomic-order", "in words")],
)
def test_the_first_cause_is_held_against_what_is_accepted(name: str, outcome: str) -> None:
    assert score(MISTAKES_BY_NAME[name], shown=True, profile="smoke").outcome == outcome


@pytest.mark.heavy
def test_worker_processes_give_the_scores_of_this_one() -> None:
    command = [sys.executable, "-m", "benchmarks.mistakes.unknown", "--shown", "--profile", "smoke", "--only"]
    both = [run([*command, "loss-scale-kept", "-n", n], cwd=ROOT, capture_output=True, text=True) for n in ("0", "1")]
    assert [one.returncode for one in both] == [0, 0], both[1].stderr
    assert both[0].stdout == both[1].stdout
