"""The example of a port's own repository: installed into a folder, found by its entry point, and tested there."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from ..docs import ROOT
from ..support.command import kterm, pytest_run

PORT = ROOT / "examples" / "port"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, with its package installed into the folder `site` beside it."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("port")
    copy = shutil.copytree(PORT, folder / "port")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", str(folder / "site"), str(copy)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy


def _environment(repository: Path) -> Mapping[str, str]:
    return {"PYTHONPATH": str(repository.parent / "site")}


def test_its_own_tests_pass(repository: Path) -> None:
    done = pytest_run("tests", "-q", folder=repository, environment=_environment(repository))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_wrong_derivative_fails_its_tests(repository: Path, tmp_path: Path) -> None:
    site = shutil.copytree(repository.parent / "site", tmp_path / "site")
    path = site / "my_port" / "__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace("(1 - x) * (1 + x)", "1 - x"), encoding="utf-8")
    done = pytest_run("tests", "-q", folder=repository, environment={"PYTHONPATH": str(site)})
    assert done.returncode == 1, done.stdout + done.stderr


def test_kterm_and_its_pytest_plugin_find_the_adapter_by_name(repository: Path) -> None:
    environment = _environment(repository)
    assert "my-port" in kterm("adapters", folder=repository, environment=environment).stdout
    done = kterm("check", "my-port", "--profile", "smoke", "-n", "0", folder=repository, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ("--pyargs", "kterm.conformance", "--kterm-adapter", "my-port", "--kterm-profile", "smoke")
    done = pytest_run(*words, folder=repository, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_what_is_tested_here() -> None:
    text = (PORT / ".github" / "workflows" / "gradients.yml").read_text(encoding="utf-8")
    project = tomllib.loads((PORT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["entry-points"]["kterm.adapters"]) == {"my-port"}
    assert "kterm check my-port" in text
    assert "pytest tests" in text
