"""`kterm smoke` as a command: what it prints, its exit codes, and adapters of every kind."""

import sys
from pathlib import Path

import pytest

from ....support.command import assert_one_line
from ....support.here import kterm_here

ADAPTER = """
import numpy as np
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import backpropagate
from kterm import Observation


class Mine(Numpy):
    name = "mine"
    activations = {"tanh": np.tanh, "identity": lambda z: z}

    def build(self, structure):
        def program(parameters, x, y):
            found = backpropagate(structure.network, parameters, x, y)
            return Observation(found.outputs, np.asarray(found.error), found.weight_gradients, found.bias_gradients)

        return program


class Wrong(Mine):
    weight_layout = "in_out"


class Hangs(Mine):
    def build(self, structure):
        import time

        time.sleep(60)


class Dies(Mine):
    def build(self, structure):
        import os

        os._exit(7)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(ADAPTER, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("spec", ["mine.py:Mine", "mine:Mine"])
def test_a_sound_adapter_is_sent_on_to_check(folder: Path, spec: str) -> None:
    done = kterm_here("smoke", spec, "--python", sys.executable, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, said, command = done.stdout.splitlines()
    assert said == "nothing wrong seen in the adapter; next:"
    assert command == f"  kterm check {spec} --python {sys.executable} --profile quick"


def test_a_finding_is_numbered_with_its_fix_and_its_case(folder: Path) -> None:
    done = kterm_here("smoke", "numpy", "--mutant", "views", folder=folder)
    assert done.returncode == 1
    assert "1. the adapter: an earlier observation was changed by a later call" in done.stdout
    assert "\n   fix: return copies" in done.stdout
    assert "\n   in " in done.stdout
    assert "fix the adapter first, then run kterm smoke again" in done.stdout


def test_what_may_be_the_frameworks_names_the_command_that_shows_more(folder: Path) -> None:
    done = kterm_here("smoke", "numpy", "--mutant", "no-slope-hidden", folder=folder)
    assert done.returncode == 1
    assert (
        "1. the adapter or the framework: the answers are those of the rule with no f' in hidden layers" in done.stdout
    )
    assert done.stdout.splitlines()[-1].startswith("  kterm replay ")
    assert done.stdout.splitlines()[-1].endswith(" numpy --mutant no-slope-hidden")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nosuch"], 3, "nosuch: no such adapter"),
        (["mine.py:Wrong"], 3, "weight_layout: 'in_out' has no name"),
        (["mine.py:Mine", "--timeout", "0"], 2, "timeout 0: give a positive number of seconds"),
        (["mine.py:Mine", "--mutant", "no-slpe"], 2, "unknown mutant"),
        (["command:"], 3, "name the program"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(folder: Path, arguments: list[str], code: int, words: str) -> None:
    assert_one_line(kterm_here("smoke", *arguments, folder=folder), code, words)


@pytest.mark.parametrize(("name", "words"), [("Hangs", "no answer"), ("Dies", "exited with code 7")])
def test_a_lost_process_ends_it(folder: Path, name: str, words: str) -> None:
    done = kterm_here("smoke", f"mine.py:{name}", "--timeout", "1", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert words in done.stdout
    assert "nothing was asked for after that" in done.stdout
