"""Adapters are found by name, module and file. An error is one line that says what is wrong."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kterm.adapters import Adapter, registry
from kterm.adapters.registry import AdapterError, is_installed, load, registered
from kterm.reference import Network, Structure

from ..support.command import kterm

OWN = """
from dataclasses import dataclass
from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy

class Own(Numpy):
    name = "own"

class Fussy(Numpy):
    def __init__(self, device="cpu"):
        raise RuntimeError("no licence\\nfound")

@dataclass
class Setting:
    value: int = 1

def helper(): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with own.py in it; sys.path and sys.modules are restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own", "package", "package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def _refusal(spec: str) -> str:
    with pytest.raises(AdapterError) as caught:
        load(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{spec}: ")
    return message.removeprefix(f"{spec}: ")


def test_registered_names_are_sorted() -> None:
    assert list(registered()) == sorted(registered())
    assert {"jax", "jax-eager", "jax-vmap", "numpy", "torch", "torch-func"} <= set(registered())


def test_loading_by_name() -> None:
    adapter = load("numpy")
    assert isinstance(adapter, Adapter)
    assert adapter.name == "numpy"
    assert load("numpy", device="cpu").device == "cpu"


def test_importing_the_registry_and_asking_what_is_installed_imports_no_framework() -> None:
    code = (
        "import sys; from kterm.adapters.registry import *; from kterm.adapters import registry as r; "
        "[r.is_installed(name) for name in r.registered()]; r.load('numpy'); "
        "print(sorted({'torch', 'jax', 'jaxlib', 'kterm.adapters.torch_adapter'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_from_a_module_and_from_a_file(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "inner.py").write_text(OWN)
    for spec in ("own:Own", "package.inner:Own", "own.py:Own", "./own.py:Own", f"{folder / 'own.py'}:Own"):
        assert load(spec).name == "own"


def test_a_file_may_be_named_as_a_framework_is(folder: Path) -> None:
    (folder / "numpy.py").write_text("import numpy\nassert numpy.ndarray\n" + OWN)
    assert load("numpy.py:Own").name == "own"
    assert sys.modules["numpy"].__file__ != str(folder / "numpy.py")


def test_a_changed_file_is_read_again(folder: Path) -> None:
    assert load("own.py:Own").name == "own"
    (folder / "own.py").write_text(OWN.replace('"own"', '"another"'))
    assert load("own.py:Own").name == "another"


def test_unknown_name() -> None:
    message = _refusal("torhc")
    assert message.startswith("no such adapter; did you mean torch? registered are ")
    assert ", ".join(registered()) in message
    assert "did you mean" not in _refusal("zzzzz")
    with pytest.raises(AdapterError, match="no such adapter"):
        is_installed("torhc")


def test_framework_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # For Python, None in sys.modules says that there is no such module.
    for name in [name for name in sys.modules if name.split(".")[0] == "jax" or name.endswith("jax_adapter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    assert not is_installed("jax")
    assert is_installed("numpy")
    message = _refusal("jax")
    assert message == "jax is not installed; pip install 'kterm[jax]'"
    (folder / "own.py").write_text("import no_such_framework.nn\n")
    absent = f"no_such_framework is neither installed nor beside the adapter's file, in {folder}"
    assert _refusal("own.py:Own") == absent
    assert _refusal("own:Own") == f"no_such_framework is neither installed nor in {folder}"
    monkeypatch.chdir("/")
    assert _refusal(f"{folder}/own.py:Own") == f"{absent} nor in the current directory"


def test_a_registered_adapter_without_an_extra_for_what_it_lacks(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "own.py").write_text("import no_such_framework\n")
    monkeypatch.syspath_prepend(folder)
    entry = EntryPoint("another", "own:Own", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert _refusal("another") == "no_such_framework is not installed"


# The helper has the name of a package on PyPI that is not installed here.
HELPED = """
import our_toolz
from kterm.adapters.numpy_adapter import Numpy

class Own(Numpy):
    name = our_toolz.NAME

    def build(self, structure):
        import late_helper
        return late_helper.program(super().build(structure))
"""


def test_modules_beside_the_file_can_be_imported_while_it_loads_and_later(folder: Path) -> None:
    beside = folder / "deep" / "er"
    beside.mkdir(parents=True)
    (beside / "helped.py").write_text(HELPED)
    (beside / "our_toolz.py").write_text("NAME = 'helped'\n")
    (beside / "late_helper.py").write_text("def program(made):\n    return made\n")
    adapter = load("deep/er/helped.py:Own")
    assert adapter.name == "helped"
    adapter.program(Structure(Network((1, 1), ("relu",)), 1, "f32"))
    # In the host process of a command too.
    for name in ("our_toolz", "late_helper"):
        sys.modules.pop(name)
    done = kterm("check", "deep/er/helped.py:Own", "--profile", "smoke", "-n", "0", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_in_the_current_directory_can_be_imported_by_a_file_elsewhere(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "helped.py").write_text("from own import *\n\nclass Other(Own):\n    name = 'other'\n")
    assert load("deep/helped.py:Other").name == "other"
    assert kterm("replay", "1x1-relu-b1-none-f32-normal-s0", "deep/helped.py:Other", folder=folder).returncode == 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_files_beside_the_adapter_do_not_hide_what_kterm_imports(folder: Path, workers: str) -> None:
    for hidden in ("logging", "scipy", "numpy"):
        (folder / f"{hidden}.py").write_text("raise SystemExit('the wrong file')\n")
    # Without the current directory on the path, as the installed command starts.
    command = [sys.executable, "-P", "-c", "from kterm.conformance.commands.cli import main; main()"]
    command += ["check", "own.py:Own", "--profile", "smoke", "-n", workers]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_of_a_package_is_named_by_its_module(folder: Path) -> None:
    (folder / "part.py").write_text("from .own import Own\n")
    assert _refusal("part.py:Own").endswith("; name a file that is part of a package as package.module:Class")


def test_missing_and_unreadable_files(folder: Path) -> None:
    assert _refusal("gone.py:Own") == f"there is no file {folder.resolve() / 'gone.py'}"
    (folder / "folder.py").mkdir()
    assert _refusal("folder.py:Own") == f"{folder.resolve() / 'folder.py'} cannot be read (Is a directory)"
    assert _refusal("own.py") == "name the class too, as in own.py:Class; its adapters are Own, Fussy"


def test_missing_module(folder: Path) -> None:
    expected = f"there is no module nowhere to import from {folder} or from what is installed"
    assert _refusal("nowhere.at_all:Own") == expected
    assert _refusal("not a module:Own").startswith("give a registered name")


def test_missing_and_unfit_classes(folder: Path) -> None:
    assert _refusal("own.py:Onw") == "there is no class 'Onw'; its adapters are Own, Fussy"
    unfit = "is not a subclass of kterm.adapters.Adapter; its adapters are Own, Fussy"
    assert _refusal("own:Setting") == f"Setting {unfit}"
    assert _refusal("own.py:helper") == f"helper {unfit}"
    (folder / "own.py").write_text("from kterm.adapters import Adapter\n")
    assert _refusal("own.py:Own") == "there is no class 'Own'; it defines no subclass of kterm.adapters.Adapter"
    assert _refusal("own.py:Adapter").startswith("constructing Adapter raised TypeError: Can't instantiate abstract")


def test_an_error_while_loading_is_one_line(folder: Path) -> None:
    assert _refusal("own.py:Fussy") == "constructing Fussy raised RuntimeError: no licence found"
    for source, message in (
        ("raise OSError('cannot find\\nthe device')", "importing it raised OSError: cannot find the device"),
        ("raise SystemExit", "importing it raised SystemExit"),
        ("def (", "importing it raised SyntaxError: invalid syntax (own.py, line 1)"),
        ("import xml.nothing", "importing it raised ModuleNotFoundError: No module named 'xml.nothing'"),
    ):
        (folder / "own.py").write_text(source)
        assert _refusal("own.py:Own") == message
    assert not [name for name in sys.modules if name.startswith("_kterm_file_own") and str(folder) in repr(name)]


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(AdapterError, match=r"ValueError: device: numpy has no 'abacus' here; it has cpu$"):
        load("numpy", device="abacus")


def test_a_disputed_name_stays_with_kterm(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = EntryPoint("numpy", "kterm.adapters.numpy_adapter:Numpy", registry.GROUP)
    other = EntryPoint("numpy", "another.module:Numpy", registry.GROUP)
    new = EntryPoint("another", "another.module:Numpy", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [new, other, ours])
    assert registered() == {"another": new, "numpy": ours}
