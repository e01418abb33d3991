"""The transcript in docs/protocol.md is what the suite sends, and the answers in it are accepted."""

import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from kterm.conformance.runners.process import ProcessRunner
from kterm.reference import Network, Parameters, Structure

PAGE = Path(__file__).resolve().parents[4] / "docs" / "protocol.md"

_REPLAYS = """
import sys
for asked, answer in {pairs!r}:
    if sys.stdin.readline() != asked + "\\n":
        sys.exit("another request than " + asked)
    print(answer, flush=True)
"""


def test_the_transcript_is_what_is_said(tmp_path: Path) -> None:
    block = PAGE.read_text(encoding="utf-8").split("<!-- transcript -->\n```text\n")[1].split("```")[0]
    lines = block.splitlines()
    pairs = [(a.removeprefix("> "), b.removeprefix("< ")) for a, b in zip(lines[::2], lines[1::2], strict=True)]
    assert len(pairs) == 4
    program = tmp_path / "program.py"
    program.write_text(_REPLAYS.format(pairs=pairs), encoding="utf-8")
    one = np.ones((1, 1))
    with closing(ProcessRunner(f"command:{sys.executable} {program}")) as runner:
        runner.build(Structure(Network((1, 1), ("identity",)), 1, "f64"))
        answer = runner.call("normal", Parameters((2 * one,)), 3 * one, 5 * one)
    assert not answer.problems
    assert answer.observation is not None
    assert answer.observation.outputs.tolist() == [[6.0]]
    assert answer.observation.error == 0.5
    assert answer.observation.weight_gradients[0].tolist() == [[3.0]]
