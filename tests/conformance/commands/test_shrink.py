"""`kterm shrink`: what it prints, and its exit codes."""

import re
from pathlib import Path

import pytest

from ...support.command import assert_one_line, kterm
from ...support.here import kterm_here

PAGE = Path(__file__).parents[3] / "docs" / "shrinking.md"


def test_the_command_prints_the_smallest_case_which_replays(tmp_path: Path) -> None:
    case = "4x8x3-silu.tanh-b5-pre-f32-normal-s0"
    done = kterm("shrink", case, "numpy", "--mutant", "no-slope-last", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{case} on numpy: k_terms wrong, k_2"
    assert "it is consistent with the rule with no f' at the output layer" in done.stdout
    assert "the smallest case that fails in the same way: 1x1-tanh-b1-none-f64, normal" in lines
    assert any(line.startswith("  W_1 = [[") for line in lines)
    assert f"write it as a script: kterm reproduce {case} numpy --mutant no-slope-last -o bug.py" in lines
    (replay,) = [line.partition("kterm ")[2].split() for line in lines if "kterm replay" in line]
    assert kterm_here(*replay, folder=tmp_path).returncode == 1


def test_the_printed_commands_name_the_device_and_only_commands_that_work(tmp_path: Path) -> None:
    adapter = tmp_path / "bad.py"
    adapter.write_text(
        "from kterm.adapters import Adapter\n"
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class WithoutScript(Adapter):\n"
        "    name, version, activations = 'bad', '1', Numpy.activations\n"
        "    slopes_at_kinks = Numpy.slopes_at_kinks\n"
        "    def build(self, structure):\n"
        "        program = Numpy().build(structure)\n"
        "        return lambda parameters, x, y: program(parameters, x + 1, y)\n",
        encoding="utf-8",
    )
    done = kterm_here(
        "shrink", "2x2-tanh-b3-pre-f64-normal-s0", "bad.py:WithoutScript", "--device", "cpu", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"kterm replay \S+ bad.py:WithoutScript --device cpu$", done.stdout, re.M)
    assert "kterm reproduce" not in done.stdout


def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    shown = re.search(r"<!-- shrunk: (.*?) -->\n```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert shown is not None

    def without_digits(text: str) -> str:
        # The last digits of a framework's numbers depend on the machine, and so do times.
        return re.sub(r"\d+\.\d+(e[+-]\d+)?", "...", text)

    assert without_digits(kterm_here("shrink", *shown[1].split(), folder=tmp_path).stdout) == without_digits(shown[2])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2x2-tanh-b3-pre-f64-normal-s0", "numpy"), 1, "does not fail on numpy"),
        (("2x2-tanh-b3-pre-bf16-normal-s0", "numpy"), 1, "numpy has no dtype bf16"),
        (("2x2-tanh", "numpy"), 2, "it should look like"),
        (("2x2-tanh-b3-pre-f64-normal-s0", "numpy", "--mutant", "no-slop"), 2, "did you mean no-slope"),
        (("2x2-tanh-b3-pre-f64-normal-s0", "tensorflop"), 3, "tensorflop"),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    assert_one_line(kterm_here("shrink", *arguments, folder=tmp_path), code, words)
