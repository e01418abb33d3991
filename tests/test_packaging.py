"""What users install: the wheel, alone in a fresh virtual environment, away from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("reference", "adapters", "conformance")


def _run(command: Sequence[str | Path], folder: Path, accepted: int = 0) -> str:
    """Run a command as a user would, outside this test run, and give what it printed."""
    # An outer pytest-xdist tells its workers who they are through the environment; the inner one must not believe it.
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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel.

    From a copy: setuptools leaves a `build` folder behind, whose stale files would get into the next wheel, and
    pytest-xdist may build two at a time.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*ROOMS, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source], folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_three_rooms_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {name for name in names if ".dist-info/" not in name}
    due = {
        f"kterm/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packaged == due
    assert {f"kterm/{room}/py.typed" for room in ROOMS} <= packaged
    # Without an __init__ of its own `kterm` is a namespace, into which other distributions may put adapters.
    assert "kterm/__init__.py" not in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_wheel_alone_checks_the_numpy_adapter(wheel: Path, tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    # This environment's pip installs into that one, which saves installing another pip.
    venv.create(environment, with_pip=False, symlinks=True)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", binaries / "python"]
    _run([*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel], empty)
    installed = _run([*pip, "list", "--format", "freeze"], empty)
    assert not [line for line in installed.splitlines() if line.startswith(("torch==", "jax==", "jaxlib=="))]

    # No adapter is named: with neither torch nor jax installed the default is what is left.
    checked = _run([binaries / "kterm", "check", "--profile", "quick"], empty)
    assert "numpy" in checked
    suite = ["--pyargs", "kterm.conformance", "--kterm-adapter", "numpy", "--kterm-profile", "quick"]
    shown = _run([binaries / "python", "-m", "pytest", "-q", *suite], empty)
    assert " passed" in shown
