"""Environments: a framework that cannot share one with others is installed into one of its own, for its adapter's host.

`kterm env create tensorflow` makes a virtual environment in the user's data folder, with the pinned packages that
environments.toml lists for it. `kterm check tensorflow` then runs the adapter's host under the interpreter there. This
package itself is not installed a second time: the environment finds the one that runs, through a folder of links.
"""

import json
import os
import shutil
import subprocess
import tomllib
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from platformdirs import user_data_path

TABLE = Path(__file__).with_name("environments.toml")
VARIABLE = "KTERM_ENVIRONMENTS"
"""The user's variable: a folder to keep environments in, instead of the one in the user's data folder."""

_MARKER = "kterm-environment.json"
State = Literal["ready", "outdated", "incomplete", "absent"]


class EnvironmentFailure(Exception):
    """An environment that cannot be made. The message is one line that says what to do."""


@dataclass(frozen=True)
class Environment:
    """The environment of one or several adapters: its name, their names, and the pinned packages that it holds."""

    name: str
    adapters: tuple[str, ...]
    packages: tuple[str, ...]
    notes: str = ""

    @property
    def folder(self) -> Path:
        """Where it is, or would be."""
        return environments_folder() / self.name

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def state(self) -> State:
        """`ready`, or `outdated` if its packages are not those that are listed now, or `incomplete` if making it was
        interrupted, or `absent`.
        """
        try:
            marker = json.loads((self.folder / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "incomplete" if self.folder.exists() else "absent"
        if not self.interpreter.exists():
            return "incomplete"
        return "ready" if marker.get("packages") == list(self.packages) else "outdated"


def environments_folder() -> Path:
    """The folder that holds all environments: `~/.local/share/kterm/environments` on Linux."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else user_data_path("kterm", appauthor=False) / "environments"


@cache
def read_environments(table: Path = TABLE) -> dict[str, Environment]:
    """The environments that are listed, by name."""
    data: dict[str, dict[str, Any]] = tomllib.loads(table.read_text(encoding="utf-8"))
    return {
        name: Environment(name, tuple(row["adapters"]), tuple(row["packages"]), row.get("notes", ""))
        for name, row in data.items()
    }


def find_environment(name: str) -> Environment | None:
    """The environment of an adapter's or an environment's name; None if none is listed for it."""
    known = read_environments()
    return known.get(name) or next((one for one in known.values() if name in one.adapters), None)


def find_interpreter(spec: str) -> Path | None:
    """The interpreter that an adapter's host runs under, given the adapter's spec; None for the one that runs here.

    It is that of the adapter's environment if the user has made it, also if its packages are outdated.
    """
    environment = find_environment(spec)
    return environment.interpreter if environment and environment.state in ("ready", "outdated") else None


def create_environment(environment: Environment, run: Callable[[Sequence[str]], int] | None = None) -> None:
    """Make an environment anew: a virtual environment, its packages by pip, and links to this package.

    `run` runs a command and gives its exit code. Raises EnvironmentFailure if pip fails; what there is stays, without
    the marker that says that it is complete.
    """
    folder = environment.folder
    if folder.exists():
        shutil.rmtree(folder)
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    packages = [*_own_requirements(environment.packages), *environment.packages]
    command = [str(environment.interpreter), "-m", "pip", "install", "--disable-pip-version-check", *packages]
    if code := (run or _run)(command):
        raise EnvironmentFailure(
            f"pip ended with {code} for the environment {environment.name}; its messages are above, and "
            f"`kterm env create {environment.name}` tries again"
        )
    _link_package(environment)
    text = json.dumps({"packages": list(environment.packages)})
    (folder / _MARKER).write_text(text + "\n", encoding="utf-8")


def _run(command: Sequence[str]) -> int:
    return subprocess.run(list(command), check=False, stdin=subprocess.DEVNULL).returncode


def _own_requirements(pinned: Sequence[str]) -> list[str]:
    """What this package needs, without extras, as requirements. What the environment pins itself is left out: a host
    works with an older NumPy than the suite needs.
    """
    requirements = map(Requirement, distribution("kterm").requires or ())
    own = {canonicalize_name(Requirement(one).name) for one in pinned}
    return [
        str(one)
        for one in requirements
        if canonicalize_name(one.name) not in own and (one.marker is None or one.marker.evaluate({"extra": ""}))
    ]


def _link_package(environment: Environment) -> None:
    """Let the environment import this package, and find its entry points, from where they are now."""
    links = environment.folder / "kterm-links"
    links.mkdir()
    for source in (Path(__file__).parents[2], _metadata_folder()):
        name = "kterm" if source.name != _metadata_folder().name else source.name
        try:
            (links / name).symlink_to(source, target_is_directory=True)
        except OSError:  # Windows without developer mode
            shutil.copytree(source, links / name, ignore=shutil.ignore_patterns("__pycache__"))
    site = next(environment.folder.glob("lib/python*/site-packages"), environment.folder / "Lib" / "site-packages")
    (site / "kterm-links.pth").write_text(f"{links}\n", encoding="utf-8")


def _metadata_folder() -> Path:
    files = distribution("kterm").files or ()
    for file in files:
        if file.name in ("METADATA", "PKG-INFO"):
            return Path(str(file.locate())).parent
    raise PackageNotFoundError("kterm")
