"""What users install: the wheel, the source archive and the editable installation, each away from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from kterm.conformance.runners.environments import read_environments

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("reference", "adapters", "conformance")
FACE = ("__init__.py", "__main__.py", "py.typed")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _run(command: Sequence[str | Path], folder: Path, accepted: int = 0) -> str:
    """Run a command as a user would, outside this test run, and give what it printed."""
    # pytest-xdist names its workers in the environment, and a run inside one would take the name for its own.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "KTERM_")) and name not in ("PYTHONPATH", "PYTHONHOME")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == accepted, f"{command} ended with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, links included.

    Building in the checkout would leave a `build` folder there, whose stale files would get into the next wheel, and
    pytest-xdist may build two at a time.
    """
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in (*FOLDERS, "src", "tests"):
        shutil.copytree(
            ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    # A new folder with an __init__.py is a package, without any list of packages.
    (copy / "conformance" / "new_room").mkdir()
    (copy / "conformance" / "new_room" / "__init__.py").write_text("")
    return copy


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source archive, and the wheel that is built from that archive."""
    folder = tmp_path_factory.mktemp("built")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source], folder)
    return folder


def _dependencies(names: Sequence[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The installed distributions of these names, and all that they need, without extras."""
    for name in names:
        if name not in found:
            found[name] = distribution(name)
            needed = map(Requirement, found[name].requires or ())
            _dependencies([r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})], found)
    return found


def _environment(folder: Path, needed: Sequence[str]) -> Path:
    """A virtual environment that holds links to these distributions and what they need; gives its binaries."""
    venv.create(folder, with_pip=False, symlinks=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    site = Path(
        _run([binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    )
    for one in _dependencies(needed, {}).values():
        for part in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(Path(str(one.locate_file(part))))
    return binaries


def _install(binaries: Path, *what: str | Path, folder: Path) -> None:
    # This environment's pip installs into that one, without the network: what is needed is there.
    pip = [sys.executable, "-m", "pip", "--python", binaries / "python"]
    _run([*pip, "install", "--quiet", "--no-index", "--no-build-isolation", *what], folder)


NEEDED = tuple(Requirement(line).name for line in PROJECT["dependencies"])


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binaries of an environment with the wheel and what it declares to need, and nothing else."""
    binaries = _environment(tmp_path_factory.mktemp("wheel") / "environment", NEEDED)
    # Not --no-deps: pip fails where the links above do not cover what the wheel needs.
    _install(binaries, *built.glob("*.whl"), folder=built)
    return binaries


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binaries of an environment with an editable installation, as README has it."""
    binaries = _environment(tmp_path_factory.mktemp("editable") / "environment", (*NEEDED, "setuptools"))
    _install(binaries, "--constraint", ROOT / "constraints.txt", "--editable", source, folder=source)
    return binaries


def _due(prefix: str) -> set[str]:
    files = {f"{prefix}{name}" for name in FACE} | {f"{prefix}conformance/new_room/__init__.py"}
    return files | {
        f"{prefix}{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == _due("kterm/")
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_source_archive_holds_files_and_no_links(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {name for name in names if name.startswith("src/kterm/")} == _due("src/kterm/")
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_wheel_alone_checks_the_numpy_adapter(installed: Path, tmp_path: Path) -> None:
    absent = "from importlib.util import find_spec; print([n for n in ('torch', 'jax', 'jaxlib') if find_spec(n)])"
    assert _run([installed / "python", "-c", absent], tmp_path) == "[]\n"
    checked = _run([installed / "kterm", "check", "numpy", "--profile", "smoke", "-n", "1"], tmp_path)
    assert checked.splitlines()[1].startswith(f"kterm {PROJECT['version']}: numpy ")
    suite = ["--pyargs", "kterm.conformance", "--kterm-adapter", "numpy", "--kterm-profile", "smoke"]
    assert " passed" in _run([installed / "python", "-m", "pytest", "-q", *suite], tmp_path)


def test_the_module_is_the_command(installed: Path, tmp_path: Path) -> None:
    module = [installed / "python", "-m", "kterm"]
    assert "Usage: kterm " in _run([*module, "--help"], tmp_path)
    _run([*module, "check", "numpy", "--profile", "none"], tmp_path, accepted=2)
    _run([*module, "check", "no-such-adapter"], tmp_path, accepted=3)
    few = ["--profile", "smoke", "--dtype", "f32", "--activation", "relu", "-n", "0"]
    assert "\nconforms (componentwise)\n" in _run([*module, "check", "numpy", *few], tmp_path)
    mutant = ["--mutant", "no-slope-hidden", *few]
    assert "\ndoes not conform (componentwise)\n" in _run([*module, "check", "numpy", *mutant], tmp_path, accepted=1)


def test_the_editable_installation_is_a_path_and_works(editable: Path, source: Path, tmp_path: Path) -> None:
    heavy = "[name for name in ('numpy', 'scipy', 'torch', 'jax') if name in sys.modules]"
    shown = f"import sys, kterm; print(kterm.__file__, kterm.__version__, {heavy})"
    path = source / "src" / "kterm" / "__init__.py"
    assert _run([editable / "python", "-c", shown], tmp_path) == f"{path} {PROJECT['version']} []\n"
    assert _run([editable / "python", "-c", "import kterm.conformance.new_room"], tmp_path) == ""
    suite = ["--pyargs", "kterm.conformance", "--kterm-adapter", "numpy", "--kterm-profile", "smoke"]
    kept = ["--kterm-dtype", "f32", "--kterm-activation", "relu"]
    assert " passed" in _run([editable / "python", "-m", "pytest", "-q", *suite, *kept], tmp_path)
    few = ["--profile", "smoke", "--dtype", "f32", "--activation", "relu", "-n", "0"]
    assert "\nconforms (componentwise)\n" in _run([editable / "kterm", "check", "numpy", *few], tmp_path)


IMPORTS = """
from collections.abc import Callable

import kterm
from kterm import check_adapter, parametrize_with_cases

"""
CALLS = """
results = check_adapter(MyFramework(), profile="quick", dtypes=["f32"])
reveal_type(results)
reveal_type(kterm.__version__)
reveal_type(kterm.parse_case("4x8x3-relu.tanh-b5-pre-f32-normal-s17"))
reveal_type(results.rows())
results.raise_if_failed()


@parametrize_with_cases(MyFramework(), draws=2)
def test_gradients(check: Callable[[], None]) -> None:
    check()
"""
REVEALED = {"Results", "str", "Case", "list[dict[str, Any]]"}


@pytest.fixture(scope="module")
def typed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """README's adapter with calls of the public face, and a stub of the framework, which is not installed."""
    folder = tmp_path_factory.mktemp("types")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    (adapter,) = (block for block in blocks if "class MyFramework" in block)
    (folder / "port.py").write_text(f"{IMPORTS}{adapter}{CALLS}", encoding="utf-8")
    stub = folder / "autograd"
    stub.mkdir()
    for name in ("__init__.pyi", "numpy.pyi"):
        (stub / name).write_text("from typing import Any\n\ndef __getattr__(name: str) -> Any: ...\n")
    return folder


def test_pyright_accepts_an_adapter_after_an_editable_installation(editable: Path, typed_file: Path) -> None:
    said = _run([sys.executable, "-m", "pyright", "--pythonpath", editable / "python", "port.py"], typed_file)
    assert set(re.findall(r'Type of ".*" is "(.*)"', said)) == REVEALED, said


def test_mypy_accepts_an_adapter_after_an_editable_installation(editable: Path, typed_file: Path) -> None:
    options = ["--python-executable", editable / "python", "--cache-dir", typed_file / "cache"]
    said = _run([sys.executable, "-m", "mypy", *options, "port.py"], typed_file)
    revealed = {name.rpartition(".")[2] for name in re.findall(r'Revealed type is "([\w.]*)', said)}
    assert {"Results", "str", "Case", "list"} == revealed, said


def test_no_lower_bound_is_above_the_version_that_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    # Frameworks that have an environment of their own are pinned there.
    lines += [line for one in read_environments().values() for line in one.packages]
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): Version(version) for name, version in _pins(lines)}
    asked = [*PROJECT["dependencies"], *(line for some in PROJECT["optional-dependencies"].values() for line in some)]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]), requirement


def _pins(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (name, version) for name, _, version in (line.partition("==") for line in lines if not line.startswith("#"))
    ]
