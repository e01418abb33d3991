"""A host under another interpreter, which may have an older NumPy than the suite needs itself."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ...support.command import kterm as run

ROOT = Path(__file__).parents[3]
OLD = os.environ.get("KTERM_TEST_NUMPY_1", "")
"""The Python of an environment with NumPy 1.26 and autograd, and nothing of kterm. Tests do not make one: that takes a
package index.
"""

NEW = {  # what NumPy 2 added, beside the attribute mT
    *("acos", "acosh", "asin", "asinh", "astype", "atan", "atan2", "atanh", "bitwise_invert", "bitwise_left_shift"),
    *("bitwise_right_shift", "bool", "concat", "cumulative_prod", "cumulative_sum", "isdtype", "long", "matrix_norm"),
    *("matrix_transpose", "matvec", "permute_dims", "pow", "strings", "trapezoid", "ulong", "unique_all"),
    *("unique_counts", "unique_inverse", "unique_values", "unstack", "vecdot", "vecmat"),
}


def _ask_a_host(expression: str) -> list[str]:
    """What an expression gives, line by line, in a process that has imported what a host imports."""
    code = (
        "import sys, kterm.adapters.registry, kterm.conformance.runners.programs\n"
        "import kterm.conformance.runners.link.host, kterm.conformance.runners.link.wire\n"
        f"print(*({expression}), sep='\\n')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def _names_new_in_numpy_2(source: str) -> set[str]:
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    of_numpy = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    return (of_numpy & NEW) | ({node.attr for node in attributes} & {"mT"})


def test_a_host_uses_nothing_that_numpy_1_lacks() -> None:
    files = map(Path, _ask_a_host("m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'kterm'"))
    found = {path.name: _names_new_in_numpy_2(path.read_text(encoding="utf-8")) for path in files}
    assert {"rule.py", "programs.py", "wire.py", "registry.py"} <= set(found)
    assert not {name: new for name, new in found.items() if new}


def test_names_that_numpy_1_lacks_are_found() -> None:
    assert _names_new_in_numpy_2("k @ w.mT + np.concat([a]) + np.sum(a)") == {"mT", "concat"}


def test_a_host_imports_numpy_and_little_else() -> None:
    found = set(_ask_a_host("{n.split('.')[0] for n in sys.modules}"))
    assert "numpy" in found
    # ml_dtypes is imported where it is installed.
    assert not found & {"scipy", "msgspec", "rich", "typer", "pytest", "packaging", "platformdirs"}


@pytest.mark.skipif(not OLD, reason="KTERM_TEST_NUMPY_1 names no interpreter")
@pytest.mark.parametrize("adapter", ["numpy", "autograd", "examples/minimal_adapter.py:MyFramework"])
def test_an_adapter_conforms_under_numpy_1(adapter: str) -> None:
    done = run("check", adapter, "--profile", "smoke", "-n", "0", "--python", OLD, folder=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
