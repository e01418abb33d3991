"""The command line: every user's mistake is one line that names the mend, with the exit code that is due."""

import subprocess
import sys
from pathlib import Path

import pytest

from ...support import miniatures
from ...support.command import kterm

MINIATURES = Path(miniatures.__file__)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("check", "tensorflop"), 3, "tensorflop"),
        (("check", "numpi"), 3, "numpy"),
        (("check", "nowhere.py:Thing"), 3, "nowhere.py"),
        (("check", f"{MINIATURES}:Nothing"), 3, "Nothing"),
        (("check", "broken.py:Thing"), 3, "broken.py"),
        (("check", "numpy", "--profile", "quik"), 2, "did you mean quick?"),
        (("check", "numpy", "--activation", "rellu"), 2, "did you mean relu?"),
        (("check", "numpy", "--dtype", "f33"), 2, "known are f64, f32, bf16, f16"),
        (("check", "numpy", "--seed", "-1"), 2, "seed -1"),
        (("check", "numpy", "-n", "many"), 2, "give a number of workers, or auto"),
        (("check", "numpy", "--expectations", "none.toml"), 2, "none.toml"),
        (("check", "numpy", "--expectations", "broken.py"), 2, "is not TOML"),
        (("check", "numpy", "--report", "/proc/none/record.jsonl"), 2, "name a file that can be written"),
        (("replay", "4x8-relu", "numpy"), 2, "it should look like"),
        (("replay", "4x8x3-relu.tanh-b5-pre-f33-normal-s17", "numpy"), 2, "f33"),
        (("replay", "4x8x3-relu.tanh-b5-pre-f32-normal-s17", "tensorflop"), 3, "tensorflop"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "broken.py").write_text("class Thing(:\n", encoding="utf-8")
    done = kterm(*arguments, folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr


def test_help_imports_no_framework_and_no_numpy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from kterm.conformance.commands.cli import main\n"
        "sys.argv = ['kterm', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('heavy:', sorted({'numpy', 'scipy', 'torch', 'jax', 'pytest'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout


def test_the_registered_adapters_are_listed(tmp_path: Path) -> None:
    done = kterm("adapters", folder=tmp_path)
    assert done.returncode == 0
    for name in ("jax", "jax-eager", "jax-vmap", "numpy", "torch", "torch-func"):
        assert name in done.stdout


def test_replay_shows_the_whole_pass(tmp_path: Path) -> None:
    done = kterm("replay", "4x8x3-relu.tanh-b5-pre-f32-normal-s17", "numpy", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("x_0", "z_1", "x_1", "z_2", "x_2", "E", "k_2", "k_1", "dE/dW_2", "dE/dW_1", "dE/db_2", "dE/db_1"):
        assert name in done.stdout
    assert "every step agrees with the rule" in done.stdout


def test_replay_names_the_first_step_that_departs(tmp_path: Path) -> None:
    case = "4x8x3-relu.tanh-b5-pre-f32-normal-s17"
    done = kterm("replay", case, f"{MINIATURES}:NoSlopeAtOutput", folder=tmp_path)
    assert done.returncode == 1
    assert "first step that departs: k_2, at layer 2" in done.stdout


def test_torch_with_its_layout_declared_wrongly_is_one_failure_with_the_rest_blocked(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "wrong.py").write_text(
        "from kterm.adapters import IN_OUT\n"
        "from kterm.adapters.torch_adapter import Torch\n"
        "class Wrong(Torch):\n"
        "    name = 'wrong'\n"
        "    weight_layout = IN_OUT\n",
        encoding="utf-8",
    )
    done = kterm("check", "wrong.py:Wrong", "--profile", "quick", "--dtype", "f32", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    words = "consistent with weights laid out (out, in) where the adapter declares (in, out)"
    assert words in done.stdout
    assert done.stdout.count("layout wrong in") <= 2
    assert " blocked" in done.stdout
