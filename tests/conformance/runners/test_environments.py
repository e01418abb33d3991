"""Environments of their own: found by adapter, made with the pinned packages, and used once they are complete."""

import json
import sys
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kterm.adapters.registry import registered
from kterm.conformance.runners import environments as known
from kterm.conformance.runners.environments import Environment

from ...support.command import kterm


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(known.VARIABLE, str(tmp_path))
    # Installing pip takes seconds, and pip is not called here.
    monkeypatch.setattr(known.venv, "create", partial(_create_without_pip, venv.create))
    return tmp_path


def _create_without_pip(create: Callable[..., None], folder: Path, with_pip: bool, symlinks: bool) -> None:
    assert with_pip
    create(folder, with_pip=False, symlinks=symlinks)


def _fake(environment: Environment, packages: Sequence[str]) -> None:
    environment.interpreter.parent.mkdir(parents=True)
    environment.interpreter.symlink_to(sys.executable)
    (environment.folder / "kterm-environment.json").write_text(json.dumps({"packages": list(packages)}))


def test_every_environment_is_for_registered_adapters_and_pins_its_packages() -> None:
    for environment in known.read_environments().values():
        assert set(environment.adapters) <= set(registered())
        for requirement in map(Requirement, environment.packages):
            assert [one.operator for one in requirement.specifier] == ["=="], requirement


def test_an_environment_is_found_by_its_name_and_by_its_adapters() -> None:
    found = known.find_environment("flax")
    assert found is not None
    assert found == known.find_environment(found.name) == known.find_environment("haiku")
    assert known.find_environment("torch") is None


def test_an_environment_is_used_once_it_is_complete(folder: Path) -> None:
    environment = known.find_environment("thinc")
    assert environment is not None
    assert environment.folder.parent == folder
    assert (environment.state, known.find_interpreter("thinc")) == ("absent", None)
    environment.folder.mkdir()
    assert (environment.state, known.find_interpreter("thinc")) == ("incomplete", None)
    _fake(environment, environment.packages)
    assert (environment.state, known.find_interpreter("thinc")) == ("ready", environment.interpreter)
    (environment.folder / "kterm-environment.json").write_text(json.dumps({"packages": ["thinc==1"]}))
    assert (environment.state, known.find_interpreter("thinc")) == ("outdated", environment.interpreter)
    assert known.find_interpreter("path/to/file.py:Thinc") is None


def test_creating_one_installs_the_packages_and_links_this_package(folder: Path) -> None:
    environment, commands = Environment("mine", ("thinc",), ("some-package==1.2",)), list[Sequence[str]]()
    known.create_environment(environment, lambda command: commands.append(command) or 0)
    (command,) = commands
    assert command[0] == str(environment.interpreter)
    assert command[-1] == "some-package==1.2"
    assert any(part.startswith("numpy") for part in command)
    assert environment.state == "ready"
    links = folder / "mine" / "kterm-links"
    assert (links / "kterm" / "__init__.py").exists()
    assert list(links.glob("kterm-*.dist-info"))


def test_what_an_environment_pins_itself_replaces_what_this_package_needs(folder: Path) -> None:
    environment, commands = Environment("old", ("thinc",), ("NumPy==1.26.4",)), list[Sequence[str]]()
    known.create_environment(environment, lambda command: commands.append(command) or 0)
    assert [part for part in commands[0] if part.lower().startswith("numpy")] == ["NumPy==1.26.4"]
    assert any(part.startswith("scipy") for part in commands[0])


def test_a_failed_installation_is_one_line_and_leaves_no_complete_environment(folder: Path) -> None:
    environment = Environment("mine", ("thinc",), ("some-package==1.2",))
    with pytest.raises(known.EnvironmentFailure, match=r"^pip ended with 7 for the environment mine; "):
        known.create_environment(environment, lambda command: 7)
    assert environment.state == "incomplete"


def test_the_command_lists_environments_and_refuses_an_unknown_name(folder: Path) -> None:
    listed = kterm("env", "list", folder=folder)
    assert listed.returncode == 0
    assert "thinc          absent     thinc" in listed.stdout
    refused = kterm("env", "create", "tensorfow", folder=folder)
    assert refused.returncode == 2
    assert "there is no environment for 'tensorfow'; there are autograd, " in refused.stderr
