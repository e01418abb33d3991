"""`kterm replay`: every odd case id is answered, or refused in one line."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from typer.testing import CliRunner

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.commands import replay
from kterm.conformance.commands.cli import app
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import BIASES, Array, Parameters, Structure

from ...support.frameworks import stateful
from ...support.frameworks.miniatures import Miniature

Replay = Callable[..., tuple[int, str]]


class Raising(Miniature):
    """Raises when it is called, with a message of two lines."""

    name = "raising"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        raise RuntimeError("no kernel\nfor this")


class Writing(Miniature):
    """Answers rightly, and then changes its inputs."""

    name = "writing"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        answered = super().answer(structure, parameters, x, y)
        x[:] = 0
        return answered


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Runs `kterm replay` on an adapter in this process; gives the exit code and what was printed."""

    def run(case: str, adapter: Adapter | None = None) -> tuple[int, str]:
        class Here(LocalRunner):
            def __init__(self, *given: Any, **options: Any) -> None:
                super().__init__(adapter or Numpy())

            def close(self) -> None:
                pass

        monkeypatch.setattr(replay, "ProcessRunner", Here)
        done = CliRunner().invoke(app, ["replay", case, "numpy"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_is_replayed_with_and_without_rows(regime: str, run: Replay) -> None:
    for batch, dtype, bias in product((0, 1), ("f64", "f32"), BIASES):
        case = f"3x2x1-identity.relu-b{batch}-{bias}-{dtype}-{regime}-s0"
        code, said = run(case)
        assert code == 0, said
        assert said.splitlines()[0].startswith(f"{case} on numpy ")
        assert said.splitlines()[-1] in ("every step agrees with the rule", "no step departs from the rule")


def test_a_draw_that_is_not_exact_is_inconclusive_as_in_a_check(run: Replay) -> None:
    code, said = run("1x1-tanh-b5-none-f32-lattice-s0")
    assert code == 0, said
    assert "inconclusive" in said
    assert "This draw can show little" in said
    assert "no step departs from the rule" in said


@pytest.mark.parametrize(
    ("case", "adapter", "code", "words"),
    [
        ("2x2x2-relu-b1-pre-f16-normal-s0", None, 2, "is not for numpy: numpy has no dtype f16"),
        ("999999x2x2-relu-b1-pre-f32-normal-s0", None, 2, "width 999999 is too large; the most is 131,072"),
        ("60000x60000-relu-b1-pre-f32-normal-s0", None, 2, "it would hold 3,600,180,000 numbers"),
        ("2x2x2-relu-b1-pre-f32-layouts-s0", None, 2, "regime 'layouts' should be one of normal, "),
        ("2x2x2-relu-b1-pre-f32-normal-s0", Raising(), 1, "raised: RuntimeError: no kernel"),
        ("2x2x2-relu-b0-pre-f32-lattice-s0", Raising(), 1, "raised: RuntimeError: no kernel"),
        ("2x2x2-relu-b1-pre-f32-layout-s0", Raising(), 1, "raised: RuntimeError: no kernel"),
    ],
)
def test_errors_are_one_line(case: str, adapter: Adapter | None, code: int, words: str, run: Replay) -> None:
    found, said = run(case, adapter)
    assert found == code, said
    assert words in said
    assert len(said.strip().splitlines()) == 1, said


def test_a_broken_contract_is_a_failure_though_every_step_agrees(run: Replay) -> None:
    code, said = run("2x2x2-relu-b1-pre-f32-normal-s0", Writing())
    assert "contract: inputs were modified in place" in said
    assert "every step agrees with the rule" in said
    assert code == 1


@pytest.mark.parametrize(
    ("case", "adapter", "calls", "last"),
    [
        ("3x2-tanh-b3-pre-f64-normal-s3", stateful.Momentum(), "calls 1 and 2:", "dE/dW_1"),
        ("3x2-tanh-b3-pre-f64-normal-s0", stateful.FirstWeights(), "call 2:", "z_1"),
        ("3x2x2-tanh.silu-b3-pre-f32-soak-s0", stateful.OneIn300(), "calls 1 to 300:", "dE/dW_1"),
    ],
)
def test_a_failure_that_needs_earlier_calls_is_shown_with_them(
    case: str, adapter: Adapter, calls: str, last: str, run: Replay
) -> None:
    code, said = run(case, adapter)
    assert code == 1
    assert "Alone, this call agrees with the rule. It does not show a failure that needs other calls:" in said
    assert f"  {calls} " in said
    assert f"first step that departs: {last}" in said
    assert "every step agrees with the rule" not in said


def test_twins_that_are_confused_are_shown_with_the_calls_that_confuse_them(run: Replay) -> None:
    code, said = run("3x2x2-tanh.silu-b3-pre-f64-twins-s0", stateful.LastBuilt())
    assert code == 1
    assert "contract: the program of 3x2x2-silu.tanh-b3-pre-f64, built earlier, changed its answer" in said
    assert "The calls that it needs, in a new process:" in said
    assert "every step agrees with the rule" not in said


def test_agreement_names_the_calls_that_were_made(run: Replay) -> None:
    code, said = run("3x2-tanh-b3-pre-f64-normal-s3")
    assert code == 0
    assert "Made as well: 10 calls in the same process" in said
