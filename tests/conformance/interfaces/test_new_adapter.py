"""`kterm new-adapter`: what it writes is sound as it stands, and conforms once its holes are filled."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kterm.conformance.cases.plan import OptionError
from kterm.conformance.interfaces.kit.write import STYLES, write_new_adapter

from ...support.command import pytest_run
from ...support.here import kterm_here

_TABLE = 'ACTIVATIONS: Mapping[str, Callable[..., Any]] = {"tanh": np.tanh, "identity": lambda z: z}'
_RULE = "from kterm.reference import Array, Parameters, Structure, backpropagate"
_HEAD = {
    r"^ACTIVATIONS.*$": _TABLE,
    r"^from kterm.reference import .*$": _RULE,
    r"^from typing import Any$": "from typing import Any\n\nimport numpy as np",
}
_CALL = """found = backpropagate(structure.network, parameters, x, y)
            error = np.asarray(found.error)
            return Observation(found.outputs, error, found.weight_gradients, found.bias_gradients)"""
FILLINGS: dict[str, dict[str, str]] = {
    "functional": {
        **_HEAD,
        r"raise RuntimeError\(.*\)$": """found = backpropagate(structure.network, Parameters(weights, biases), x, y)
            return found.weight_gradients, found.bias_gradients""",
    },
    "module": {**_HEAD, r"raise RuntimeError\(.*\)$": _CALL},
    "raw": {**_HEAD, r"raise RuntimeError\(.*\)$": _CALL},
    "per-sample": {
        **_HEAD,
        r"raise RuntimeError\(.*\)$": """found = backpropagate(structure.network, parameters, x[None], y[None])
            return found.outputs[0], found.error, [*found.weight_gradients], [*found.bias_gradients]""",
    },
    "process": {
        r"^ACTIVATIONS.*$": 'ACTIVATIONS: list[str] = ["tanh", "identity"]',
        r"^from typing import Any$": """from typing import Any

import numpy as np
from kterm.reference import Network, Parameters, backpropagate""",
        r"raise RuntimeError\(f?\"fill in hole 2.*\)$": """formats = {"f64": "<f8", "f32": "<f4"}
    return np.frombuffer(data, formats[tensor["dtype"]]).reshape(tensor["shape"])""",
        r"dtype, shape, data = .*$": """array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
    dtype, shape, data = f"f{8 * array.itemsize}", list(array.shape), array.tobytes()""",
        r"raise RuntimeError\(f?\"fill in hole 7.*\)$": """named = structure["activations"]
    names = tuple(one["name"] for one in named)
    network = Network(tuple(structure["widths"]), names, structure["bias"])
    found = backpropagate(network, Parameters(tuple(weights), tuple(biases)), x, y)
    return found.outputs, found.error, found.weight_gradients, found.bias_gradients""",
    },
}
"""What NumPy puts into the holes of each style."""


def _fill(path: Path, style: str) -> None:
    text = path.read_text(encoding="utf-8")
    for hole, filling in FILLINGS[style].items():
        text, count = re.subn(hole, lambda _, filling=filling: filling, text, flags=re.M)
        assert count >= 1, hole
    # The files that need NumPy for themselves import it already.
    path.write_text(text.replace("import numpy as np\n\nimport numpy as np\n", "import numpy as np\n"), "utf-8")


def _spec(folder: Path, style: str) -> str:
    if style == "process":
        return f"command:'{sys.executable}' '{folder / 'adapter.py'}'"
    return f"{folder / 'adapter.py'}:MyPort"


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("style", STYLES)
def test_with_its_holes_filled_it_conforms(style: str, tmp_path: Path) -> None:
    write_new_adapter("my-port", style, tmp_path)
    _fill(tmp_path / "my-port" / "adapter.py", style)
    spec = _spec(tmp_path / "my-port", style)
    done = kterm_here("check", spec, "--profile", "smoke", "--dtype", "f32", "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my-port" in done.stdout


@pytest.mark.parametrize("style", ["raw", "process"])
def test_its_test_passes_once_the_holes_are_filled(style: str, tmp_path: Path) -> None:
    write_new_adapter("my-port", style, tmp_path)
    folder = tmp_path / "my-port"
    unfilled = pytest_run("-q", "-p", "no:cacheprovider", "test_adapter.py", folder=folder)
    assert unfilled.returncode != 0
    assert "activations" in unfilled.stdout
    _fill(folder / "adapter.py", style)
    filled = pytest_run("-q", "-p", "no:cacheprovider", "test_adapter.py", folder=folder)
    assert filled.returncode == 0, filled.stdout


@pytest.mark.parametrize("style", STYLES)
def test_an_unfilled_one_says_in_one_line_what_is_missing(style: str, tmp_path: Path) -> None:
    write_new_adapter("my-port", style, tmp_path)
    spec = _spec(tmp_path / "my-port", style)
    done = kterm_here("check", spec, "--profile", "smoke", "-n", "0", folder=tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "activations: none declared" in done.stderr


def test_every_hole_has_a_number_in_order() -> None:
    for text in STYLES.values():
        holes = [int(number) for number in re.findall(r"HOLE (\d+):", text)]
        assert holes == [*range(1, len(holes) + 1)]
        assert len(holes) >= 5


def test_what_is_written_passes_linters_and_type_checkers_as_it_stands(tmp_path: Path) -> None:
    for style in STYLES:
        write_new_adapter(f"my-{style}", style, tmp_path)
    options = ("--isolated", "--line-length", "120", "--no-cache")
    _run("ruff", "check", *options, "--select", "E,F,I,B,UP,SIM,C4,RUF,PT", str(tmp_path), folder=tmp_path)
    _run("ruff", "format", *options, "--check", str(tmp_path), folder=tmp_path)
    _run("pyright", "--pythonpath", sys.executable, folder=tmp_path)


@pytest.mark.parametrize("style", STYLES)
def test_no_package_is_guessed(style: str, tmp_path: Path) -> None:
    for path in write_new_adapter("my-port", style, tmp_path):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install (?!-r requirements\.txt)", text), path
        assert "@" not in re.sub(r"@v\d|@parametrize|x @ W|x @ weights", "", text), path


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    paths = write_new_adapter("my-port", "raw", tmp_path)
    before = [path.read_bytes() for path in paths]
    done = kterm_here("new-adapter", "my-port", "--style", "module", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("kterm: my-port exists; nothing is overwritten")
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("name", ["", "My Port", "../up", "a/b", "-x", "1st", "é", "a--b", "x" * 65, "a\nb"])
def test_a_name_that_is_none_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no adapter's name") as raised:
        write_new_adapter(name, "raw", tmp_path)
    assert "\n" not in str(raised.value)
    assert not [*tmp_path.iterdir()]


def test_the_command_writes_and_names_the_files(tmp_path: Path) -> None:
    done = kterm_here("new-adapter", "none", folder=tmp_path)
    assert done.returncode == 0
    *files, following, command = done.stdout.splitlines()
    assert all((tmp_path / line).is_file() for line in files)
    assert following == "next: fill in what is marked with HOLE, then"
    assert command == "  cd none && kterm smoke adapter.py:NoneAdapter"
    assert "class None_(" not in (tmp_path / "none" / "adapter.py").read_text(encoding="utf-8")
    assert "class NoneAdapter(Adapter):" in (tmp_path / "none" / "adapter.py").read_text(encoding="utf-8")
    unknown = kterm_here("new-adapter", "my-port", "--style", "magic", folder=tmp_path)
    assert unknown.returncode == 2
    assert "known are functional, module" in unknown.stderr


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be written"):
        write_new_adapter("my-port", "raw", tmp_path / "nowhere")
