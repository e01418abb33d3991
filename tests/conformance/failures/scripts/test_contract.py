"""Scripts of failures in which no number is compared with the rule; and they pass without the flaw."""

from pathlib import Path

import pytest

from kterm.adapters import Adapter
from kterm.conformance.failures.scripts.write import write_script

from ....support.frameworks import flawed
from ....support.scripts import assert_fails_as_it_says, assert_fit_to_paste, loaded, run_alone, write_own


@pytest.mark.parametrize(
    ("kind", "bad", "case", "words"),
    [
        (
            "form",
            flawed.Misshapen,
            "2x3-relu-b3-pre-f32-normal-s0",
            "dE/db_1 is float32[1, 3]; it should be float32[3]",
        ),
        ("raised", flawed.Raises, "2x3-gelu-b3-none-f32-normal-s0", "RuntimeError('no kernel for this shape')"),
        ("inputs", flawed.Modifies, "2x3-sin-b3-post-f64-normal-s0", "y was [["),
        ("repeat", flawed.Unsteady, "2x3-mish-b3-pre-f64-normal-s0", "call 2 gives E as"),
        ("overwritten", flawed.Overwrites, "2x3-gelu_tanh-b2-pre-f64-normal-s0", "outputs of call 1 was [["),
        ("sum", flawed.RowsMeet, "2x3-tanh-b4-pre-f64-normal-s0", "its parts add up to"),
    ],
)
def test_each_kind_of_failure_is_shown(tmp_path: Path, kind: str, bad: type[Adapter], case: str, words: str) -> None:
    failure, source = write_own(case, bad())
    assert failure.kind == kind
    assert_fit_to_paste(source, "numpy")
    assert words in assert_fails_as_it_says(source, tmp_path)
    sound = loaded("numpy").script(failure.structure)
    done = run_alone(write_script(failure, sound, "1"), tmp_path)
    assert done.returncode == 0, done.stderr
