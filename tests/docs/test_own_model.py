"""The stories of docs/judge-your-model.md: the scripts run, and the judge prints what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.here import kterm_here
from . import ROOT, page

_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
STORIES = {"port": ("port-trace", 1), "upgrade": ("new-trace", 1), "training": ("training-trace", 1)}


def _blocks() -> list[list[str]]:
    text = page("docs/judge-your-model.md")
    return [block.splitlines() for block in re.findall(r"\n```\n(trace of .*?)```", text, re.DOTALL)]


def _shape(line: str) -> str:
    """A line without the digits that another machine may give, and without the padding of a table."""
    return " ".join(_NUMBER.sub("N", line).split())


@pytest.mark.parametrize("name", STORIES)
def test_a_story_prints_what_the_page_shows(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, str(ROOT / f"examples/own_model/{name}.py")], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    folder, code = STORIES[name]
    judged = kterm_here("judge", folder, folder=tmp_path)
    assert judged.returncode == code
    shown = next(block for block in _blocks() if block[0].endswith(f"in {folder}"))
    *printed, seconds = judged.stdout.splitlines()
    assert re.fullmatch(r"\d+\.\d s", seconds)
    assert [*map(_shape, printed)] == [*map(_shape, shown)]


def test_the_trace_before_the_upgrade_conforms(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script = str(ROOT / "examples/own_model/upgrade.py")
    subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, check=True)
    judged = kterm_here("judge", "old-trace", "--quiet", folder=tmp_path)
    assert judged.returncode == 0
    assert judged.stdout.startswith("PASS torch ")


def test_a_trace_can_be_written_without_kterm(tmp_path: Path) -> None:
    script = ROOT / "examples/own_model/trace_from_numpy.py"
    assert "kterm" not in re.sub(r'"kterm-trace"|without kterm', "", script.read_text(encoding="utf-8"))
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, check=True)
    judged = kterm_here("judge", "numpy-trace", folder=tmp_path)
    assert judged.returncode == 0
    assert "PASS numpy" in judged.stdout
    assert "not judged" not in judged.stdout
