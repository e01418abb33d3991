"""What users install: the wheel, the source archive and the editable installation, each away from the checkout."""

import json
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

from .docs.site import addresses, command_names, trouble_with

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("reference", "adapters", "conformance")
FACE = ("__init__.py", "__main__.py", "py.typed")
KEPT = (
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "README.md", "adapters",
    "benchmarks", "conformance", "constraints.txt", "docs", "examples", "mkdocs.yml", "pyproject.toml", "reference",
    "src", "tests",
)  # fmt: skip
"""What is in the repository, and so in the source archive."""
_LEFT = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules", ".*_cache")
CASE = "4x8x3-silu.tanh-b5-pre-f32-normal-s0"
SMALL = "--profile smoke --dtype f32 --activation tanh --activation relu -n 0"
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
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=_LEFT)
        else:
            shutil.copy(ROOT / name, copy)
    (copy / "examples" / "c" / "adapter").unlink(missing_ok=True)  # what a test compiles
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


def test_the_source_archive_holds_the_whole_repository(built: Path, source: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()}
    whole = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file() and not path.is_symlink()}
    # setuptools adds its own, and the folders that src/kterm links to are files there.
    added = {one for one in names if one.startswith("src/kterm.egg-info/") or one in ("PKG-INFO", "setup.cfg")}
    assert names - added == {one for one in whole if ".egg-info/" not in one} | _due("src/kterm/")


def test_the_repository_holds_nothing_else() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout")
    tracked = _run(["git", "ls-files"], ROOT).split()
    assert {name.partition("/")[0] for name in tracked} == set(KEPT)


def test_what_was_installed_from_the_source_archive_passes_tests_of_the_archive(
    built: Path, source: Path, tmp_path: Path
) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    binaries = _environment(tmp_path / "environment", (*NEEDED, "setuptools"))
    _install(binaries, unpacked, folder=tmp_path)
    part = ["tests/test_layering.py", "tests/reference/test_network.py", "tests/docs/test_architecture.py"]
    shutil.rmtree(unpacked / "conformance" / "new_room")  # it was planted, and is no room
    said = _run([binaries / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *part], unpacked)
    assert re.search(r"^\d{3,} passed", said, re.M), said


def test_the_wheel_alone_checks_the_numpy_adapter(installed: Path, tmp_path: Path) -> None:
    absent = "from importlib.util import find_spec; print([n for n in ('torch', 'jax', 'jaxlib') if find_spec(n)])"
    assert _run([installed / "python", "-c", absent], tmp_path) == "[]\n"
    checked = _run([installed / "kterm", "check", "numpy", "--profile", "smoke", "-n", "1"], tmp_path)
    assert checked.splitlines()[1].startswith(f"kterm {PROJECT['version']}: numpy ")
    suite = ["--pyargs", "kterm.conformance", "--kterm-adapter", "numpy", "--kterm-profile", "smoke"]
    assert " passed" in _run([installed / "python", "-m", "pytest", "-q", *suite], tmp_path)


FROM_THE_WHEEL: dict[str, int] = {
    "adapters": 0,
    "arithmetic numpy --dtype f32": 0,
    "calibrate numpy --draws 40 --networks 0 --activation tanh --dtype f32 -n 0": 0,
    "certify quick.jsonl -o certificates": 0,
    "check numpy --profile quick -n 0 -o quick.jsonl": 0,
    "campaign numpy --cases 20 --profile smoke -n 0 -o campaign": 2,  # it needs an extra, and says which
    "cases numpy-trace": 0,
    f"check numpy {SMALL} -o run.jsonl": 0,
    f"check numpy {SMALL} --mutant no-slope-hidden -o wrong.jsonl": 1,
    "compare run.jsonl wrong.jsonl": 1,
    "env create no-such-framework": 2,
    "env list": 0,
    "expect wrong.jsonl": 0,
    "judge numpy-trace": 0,
    "kinks numpy": 0,
    "merge run.jsonl -o whole.jsonl": 2,  # it is no part of a run
    "mutants --list": 0,
    "new-adapter my-port": 0,
    "nonfinite numpy": 0,
    "recheck run.jsonl --sample 2": 0,
    f"replay {CASE} numpy": 0,
    f"reproduce {CASE} numpy --mutant no-slope-hidden --no-shrink -o bug.py": 0,
    "report run.jsonl wrong.jsonl -o pages": 0,  # without charts, which need an extra
    "rows run.jsonl -o run.csv": 0,
    f"shrink {CASE} numpy --mutant no-slope-hidden --builds 4": 0,
    "smoke my-port/adapter.py:MyPort": 3,  # its holes are not filled in
    "ulp numpy": 2,  # it needs an extra, and says which
    "vectors answer vectors numpy results": 0,
    "vectors export vectors --profile smoke --dtype f64 --activation tanh": 0,
    "vectors verify vectors results": 0,
    "view run.jsonl": 0,
}
"""Every command, from the wheel alone, and its exit code."""
_FIRST = (f"check numpy {SMALL} -o run.jsonl", "new-adapter my-port", "vectors export", "vectors answer")
_DRIVER = """
import contextlib, io, json, shlex, sys
from kterm.conformance.commands.cli import app
printed = {}
for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app(shlex.split(line), prog_name="kterm")
            code = 0
        except SystemExit as end:
            code = end.code
    printed[line] = [code, said.getvalue()]
json.dump(printed, sys.stdout)
"""


@pytest.fixture(scope="module")
def printed(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The exit code of each of these commands, run in a folder that was empty, and what it printed."""
    folder = tmp_path_factory.mktemp("empty")
    _run([installed / "python", ROOT / "examples" / "own_model" / "trace_from_numpy.py"], folder)
    lines = sorted(FROM_THE_WHEEL, key=lambda line: not line.startswith(_FIRST))
    lines.sort(
        key=lambda line: (
            line.startswith(("certify", "compare", "report", "vectors answer")) + 2 * line.startswith("vectors verify")
        )
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KTERM_"))}
    done = subprocess.run(
        [installed / "python", "-c", _DRIVER], cwd=folder, input=json.dumps(lines), env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {line: (code, said) for line, (code, said) in json.loads(done.stdout).items()}


@pytest.mark.parametrize("line", FROM_THE_WHEEL)
def test_a_command_works_from_the_wheel_alone(line: str, printed: dict[str, tuple[int, str]]) -> None:
    code, said = printed[line]
    assert code == FROM_THE_WHEEL[line], said
    assert "Traceback" not in said
    assert [trouble for one in addresses(said) if (trouble := trouble_with(one))] == []
    # No file of the repository is there to be read.
    assert re.findall(r"\b(?:docs|examples|tests|benchmarks)/[\w./-]+|\b[\w-]+\.md\b|constraints\.txt", said) == []
    assert str(ROOT) not in said


def test_every_command_is_run_from_the_wheel() -> None:
    run = {" ".join(line.split()[:count]) for line in FROM_THE_WHEEL for count in (1, 2)}
    assert {" ".join(name) for name in command_names()} - run == set()


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
