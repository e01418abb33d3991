"""The adapters of frameworks beside PyTorch and JAX: short, registered, described, and conforming where installed."""

import ast
import tomllib
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from kterm.adapters.quantities import arrays
from kterm.adapters.registry import AdapterError, is_installed, load, registered
from kterm.reference import Network, Parameters, Structure

from ..support.command import kterm

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRIES: dict[str, str] = PROJECT["entry-points"]["kterm.adapters"]
NAMES = tuple(name for name, value in ENTRIES.items() if ".frameworks." in value)
MOST_LINES = 80
MEDIAN = 45
SLOW = ("torch-compile",)  # it takes half a minute for a structure


def _source(name: str) -> str:
    module = ENTRIES[name].partition(":")[0].removeprefix("kterm.").replace(".", "/")
    return (ROOT / f"{module}.py").read_text(encoding="utf-8")


def test_every_adapter_of_the_folder_is_registered() -> None:
    files = {path.stem for path in (ROOT / "adapters" / "frameworks").rglob("*_adapter.py")}
    assert {ENTRIES[name].partition(":")[0].rpartition(".")[2] for name in NAMES} == files
    assert set(NAMES) <= set(registered())


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_has_an_extra_with_a_bound(name: str) -> None:
    assert all(">=" in requirement for requirement in PROJECT["optional-dependencies"][name])


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_framework_is_one_line_with_its_extra(name: str) -> None:
    if is_installed(name):
        pytest.skip(f"{name}'s framework is installed")
    with pytest.raises(AdapterError, match=rf"^{name}: \w+ is not installed; pip install 'kterm\[{name}\]'$"):
        load(name)


def test_adapters_are_short() -> None:
    # One file may hold several adapters.
    files = {ENTRIES[name].partition(":")[0]: len(_source(name).splitlines()) for name in ENTRIES}
    assert max(files.values()) <= MOST_LINES, files
    assert median(files.values()) <= MEDIAN, files


def _ignored(tree: ast.Module) -> set[str]:
    """The parameters of activations that the functions of an adapter take and do not use."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.args.args[:1]]
    return {
        parameter.arg
        for function in functions
        if function.args.args[0].arg == "z"
        for parameter in function.args.args[1:]
        if parameter.arg not in {node.id for node in ast.walk(function.body) if isinstance(node, ast.Name)}
    }


def test_a_parameter_that_a_function_ignores_is_declared_as_fixed() -> None:
    # Else the suite asks for other values of it, and every case with one is wrong.
    assert _ignored(ast.parse("f = lambda z, alpha: elu(z)")) == {"alpha"}
    for name in NAMES:
        source = _source(name)
        declared = source.partition("fixed_parameters")[2].partition("\n")[0]
        assert all(f'"{parameter}":' in declared for parameter in _ignored(ast.parse(source))), name


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_an_adapter_conforms_where_its_framework_is_installed(name: str, tmp_path: Path) -> None:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    done = kterm("check", name, "--profile", "smoke", "-n", "0", folder=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_torch_compile_takes_the_gradients_of_what_it_compiles() -> None:
    """Compiled into PyTorch's own operations, in place of C++, which takes a second and needs no compiler."""
    pytest.importorskip("torch")
    from kterm.adapters.frameworks.libraries.torch_compile_adapter import TorchCompile

    adapter, other = TorchCompile(), load("torch-func")
    adapter.backend = "aot_eager"
    structure = Structure(Network((3, 2, 4), ("tanh", "softplus"), "pre"), 5, "f64")
    random = np.random.Generator(np.random.Philox(0))
    shapes = [(3, 2), (2, 4)], [(2,), (4,)]
    weights, biases = (tuple(random.standard_normal(shape) for shape in some) for some in shapes)
    x, y = random.standard_normal((5, 3)), random.standard_normal((5, 4))
    program, due = adapter.program(structure), other.program(structure)(Parameters(weights, biases), x, y)
    for observed in (program(Parameters(weights, biases), x, y), program(Parameters(weights, biases), x, y)):
        for name, array in arrays(observed).items():
            np.testing.assert_allclose(array, arrays(due)[name], rtol=1e-12)
