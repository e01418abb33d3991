"""Records of small runs, each made once."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ....support.here import kterm_here

TAILS = Path(__file__).resolve().parents[3] / "support" / "frameworks" / "tails.py"
ADAPTERS = f"""
from runpy import run_path

from kterm.adapters import Limits

Coarse = run_path({str(TAILS)!r})["Coarse"]


class Port(Coarse):
    name = "port"
    version = "1.0"
    activations = {{name: Coarse.activations[name] for name in ("identity", "tanh", "relu")}}
    max_structures = 10


class Narrow(Port):
    name = "narrow"
    limits = Limits(width=8)


class Wide(Port):
    name = "wide"
    max_structures = 24


class Off(Port):
    name = "off"

    def slope(self, name, z):
        return super().slope(name, z) * z.dtype.type(1.001 if name == "tanh" else 1)


class Wild(Port):
    name = "wild"

    def slope(self, name, z):
        return super().slope(name, z) + z.dtype.type(1)


class Silent(Wide):
    name = "silent"
    is_silent = True


class Lazy(Wide):
    name = "lazy"

    def build(self, structure):
        if structure.dtype == "f32" and structure.network.bias == "post":
            raise NotImplementedError("no bias behind the activation in f32")
        return super().build(structure)
"""
ENTRY = '[[expectation]]\nadapter = "off"\ncheck = "k_terms"\nactivation = "tanh"\nreason = "coarse"\n'
FILES = {
    "port.py": ADAPTERS,
    "bounded.toml": ENTRY + 'size = "0.01"\n',
    "unbounded.toml": ENTRY,
    "wild.toml": '[[expectation]]\nadapter = "wild"\nreason = "anything"\n',
    "unmatched.toml": '[[expectation]]\nadapter = "port"\ncase = "99x99-*"\nreason = "old"\n',
}
Recorder = Callable[..., Path]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """A function that records `kterm check` with some arguments in the profile quick, once for the same arguments."""
    folder = tmp_path_factory.mktemp("runs")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    made: dict[tuple[str, ...], Path] = {}

    def run(*arguments: str) -> Path:
        if arguments not in made:
            path = made[arguments] = folder / f"run-{len(made)}.jsonl"
            profile = () if "--profile" in arguments else ("--profile", "quick")
            done = kterm_here("check", *arguments, *profile, "-n", "0", "--report", path.name, folder=folder)
            assert done.returncode in (0, 1), done.stdout + done.stderr
        return made[arguments]

    return run


def read_rows(path: Path) -> Rows:
    """The lines of a record, as they are in its file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    """A record of these lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
