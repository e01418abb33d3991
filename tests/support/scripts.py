"""Reproducers as tests take them: written in this process, and run where kterm cannot be imported."""

import ast
import atexit
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.adapters.registry import is_installed, load
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.description import Description
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.known_causes import describe_cause, shipped_expectation_for
from kterm.conformance.failures.reproduce import FoundFailure, find_failure_to_show
from kterm.conformance.failures.scripts.failure import Failure, compute_addends
from kterm.conformance.failures.scripts.write import write_script
from kterm.conformance.runners.runner import LocalRunner

from .frameworks import flawed

FLAWED = Path(flawed.__file__)
Change = Callable[[Observation], Observation]
FRAMEWORKS = ("jax", "jax-eager", "jax-vmap", "torch", "torch-func")

# A process that has imported NumPy and one framework, and in which kterm cannot be imported, whatever is installed.
# For each path that it reads it forks a process that runs the script at that path, with what it prints in files beside
# it, and writes the exit code. So every script starts from a framework just imported, and the import is paid once.
_SERVER = """
import os, runpy, signal, sys
sys.modules["kterm"] = None
import numpy
if sys.argv[1]:
    __import__(sys.argv[1])
while path := sys.stdin.readline().strip():
    child = os.fork()
    if not child:
        signal.alarm(300)
        for stream, suffix in ((0, None), (1, ".out"), (2, ".err")):
            os.dup2(os.open(path + suffix if suffix else os.devnull, os.O_RDWR | os.O_CREAT | os.O_TRUNC), stream)
        runpy.run_path(path, run_name="__main__")
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def loaded(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


@cache
def local_runner(name: str) -> LocalRunner:
    return LocalRunner(loaded(name))


def write_own(text: str, adapter: Adapter) -> tuple[Failure, str]:
    """What `kterm reproduce --no-shrink` writes of a case, without a process for the adapter."""
    case, runner = parse_case(text, tuple(REGIMES)), LocalRunner(adapter)
    described = runner.describe()
    found = find_failure_to_show(case, runner, shipped_expectation_for(described), shrinks=False)
    assert found is not None, f"{text} does not fail"
    return found.failure, write_found(found, adapter, described)


def write_found(found: FoundFailure, adapter: Adapter, described: Description) -> str:
    """The script of a failure that was found."""
    failure = found.failure
    cause = describe_cause(found.verdict, described, found.original)
    programs = () if failure.history is None else failure.history.programs
    scripts = [adapter.script(structure) for structure in programs]
    return write_script(failure, adapter.script(failure.structure), described.version, cause, scripts)


@cache
def _server(framework: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-c", _SERVER, framework]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """End a server: at the end of its input, it ends itself."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait()


def run_alone(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where there is no kterm, in a process of its own."""
    path = folder / "bug.py"
    path.write_text(source, encoding="utf-8")
    server = _server(next((name for name in ("torch", "jax") if name in imports(source)), ""))
    assert server.stdin is not None
    assert server.stdout is not None
    print(path, file=server.stdin, flush=True)
    code = int(server.stdout.readline())
    out, err = (Path(f"{path}{suffix}").read_text(encoding="utf-8") for suffix in (".out", ".err"))
    return subprocess.CompletedProcess([str(path)], code, out, err)


def imports(source: str) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def prose(source: str) -> str:
    """A script with each comment and each paragraph on one line."""
    return re.sub(r"\s+(?:# +)?", " ", source)


def assert_fails_as_it_says(source: str, folder: Path) -> str:
    """That a script ends in the assertion whose numbers its docstring states. Returns the assertion's line."""
    done = run_alone(source, folder)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("AssertionError: "), done.stderr
    numbers = r"(\S+) is (\S+); it should be (\S+) within (\S+)$"
    stated, found = re.search(f"^    {numbers}", source, re.M), re.search(numbers, said)
    if stated:
        assert found
        # NumPy's script uses other formulas than the reference, so its last bits may differ.
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
    assert stored - read <= {"_", "E", "zs", "xs", "ks", "dW", "db"} | {name for name in stored if name[1:2] == "_"}


def planted_failure(adapter: Adapter, text: str, quantity: str, text_of_mistake: str, change: Change) -> Failure:
    """A case in whose results a mistake is planted: `change` makes the wrong observation of the right one."""
    case = parse_case(text, tuple(REGIMES))
    one = make_draws([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    wrong = change(right)
    mistake = compute_addends(text_of_mistake, right, wrong)
    return Failure("numbers", case.structure, case.regime, one, wrong, quantity, "", text, planted=mistake)


def deep_failure(scale: float) -> tuple[Failure, Adapter]:
    """One entry of k_1 in a deep network, too large by a factor 1 + scale."""
    adapter = loaded("torch")

    def change(right: Observation) -> Observation:
        assert right.k is not None
        off = right.k[0].copy()
        off[1, 1] *= np.float32(1 + scale)
        return replace(right, k=(off, *right.k[1:]))

    case = "3x3x3x3x3x3x3x3x3x3-tanh-b2-pre-f32-normal-s1"
    return planted_failure(adapter, case, "k_1", "k_1 a little off", change), adapter


def without_mistake(source: str) -> str:
    """A script without the mistake that is planted in it."""
    changed = source.replace(" + addend\n", "\n")
    assert changed != source
    return changed


REAL = {
    "torch": (
        ("3x3-softplus-b3-none-f64-tails-s2", "x_1", "55587"),
        ("3x4x2-softplus.tanh-b4-post-f64-tails-s3", "x_1", "55587"),
        ("2x2-hard_sigmoid-b2-pre-f64-normal-s0", "k_1", "1.0f / 6.0f"),
    ),
    "jax": (
        ("2x3-elu-b2-pre-f32-tails-s0", "k_1", "39794"),
        ("2x3-selu-b2-none-f64-tails-s1", "k_1", "39794"),
        ("2x2x2-relu.identity-b2-none-f32-subnormal-s3", "z_1", "16200"),
    ),
}
