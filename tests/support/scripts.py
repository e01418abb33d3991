"""Reproducers as tests take them: written in this process, run where there is no kterm."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.adapters.registry import is_installed, load
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.failures.known_causes import describe_cause
from kterm.conformance.failures.scripts.failure import Failure, calls_of, find
from kterm.conformance.failures.scripts.write import write
from kterm.conformance.runners.runner import LocalRunner

from . import flawed

FLAWED = Path(flawed.__file__)
FRAMEWORKS = ("jax", "jax-eager", "jax-vmap", "torch", "torch-func")
# Nothing of kterm can be imported, whatever is installed.
_ALONE = "import runpy, sys; sys.modules['kterm'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


@cache
def loaded(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


def sources(text: str, adapter: Adapter) -> tuple[Failure, str]:
    """What `kterm reproduce` writes of a case, without a process for the adapter."""
    case, runner = parse_case(text, tuple(REGIMES)), LocalRunner(adapter)
    found = find(case, calls_of(case), runner)
    assert found is not None, f"{text} does not fail"
    failure, verdict = found
    described = runner.describe()
    script = adapter.script(failure.structure)
    return failure, write(failure, script, described.version, describe_cause(verdict, described))


def alone(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script, run where there is no kterm."""
    path = folder / "bug.py"
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-I", "-c", _ALONE, str(path)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def imports(source: str) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def prose(source: str) -> str:
    """A script with its comments and paragraphs each in one line."""
    return re.sub(r"\s+(?:# +)?", " ", source)


def assert_fails_as_it_says(source: str, folder: Path) -> str:
    """That it ends in the assertion whose numbers its docstring states; the line that the assertion says."""
    done = alone(source, folder)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("AssertionError: "), done.stderr
    numbers = r"(\S+) is (\S+); it should be (\S+) within (\S+)$"
    stated, found = re.search(f"^    {numbers}", source, re.M), re.search(numbers, said)
    if stated:
        assert found
        # NumPy's script has other formulas than the reference, and need not give its very bits.
        allowed = 2 * float(stated[4]) if "import torch" not in source and "import jax" not in source else 0.0
        assert (found[1], found[3], found[4]) == (stated[1], stated[3], stated[4])
        assert abs(float(found[2]) - float(stated[2])) <= allowed or np.isnan([float(found[2]), float(stated[2])]).all()
    return said


def assert_fit_to_paste(source: str, framework: str) -> None:
    assert imports(source) <= {"math", "numpy", *([framework] if framework != "numpy" else [])}
    assert "import kterm" not in source
    assert max(map(len, source.splitlines())) <= 120
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    # What a framework gives as one tuple is named as a whole.
    assert stored - read <= {"E", "zs", "xs", "ks", "dW", "db"} | {name for name in stored if name[1:2] == "_"}


REAL = {
    "torch": (
        ("3x3-softplus-b3-none-f64-tails-s2", "x_1", "55587"),
        ("3x4x2-softplus.tanh-b4-post-f64-tails-s4", "x_1", "55587"),
        ("2x2-hard_sigmoid-b2-pre-f64-normal-s0", "k_1", "1.0f / 6.0f"),
    ),
    "jax": (
        ("2x3-elu-b2-pre-f32-tails-s0", "k_1", "39794"),
        ("2x3-selu-b2-none-f64-tails-s1", "k_1", "39794"),
        ("2x2x2-relu.identity-b2-none-f32-subnormal-s3", "z_1", "16200"),
    ),
}
