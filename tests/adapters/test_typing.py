"""Type checkers accept an adapter that is written as the README writes it."""

import subprocess
import sys
from pathlib import Path

import pytest

MINIMAL = Path(__file__).parents[2] / "examples" / "minimal_adapter.py"
# NumPy stands for autograd, which has no types of its own.
STAND_INS = {
    "import autograd.numpy as np\n": "from typing import Any\n\nimport numpy as np\n",
    "from autograd import grad\n": "from kterm import Program, Structure\n",
    "\n\n\nclass": "\n\ngrad: Any = None\n\n\nclass",
}
MORE = """

class More(Adapter):
    version: str = "1.0"
    name: str = "more"
    biases = ("none", "pre")
    max_structures = 6
    slopes_at_kinks = {"relu": {0: 0}, "hard_sigmoid": {-3: 1 / 6}}
    dtypes: tuple[str, ...] = ("f32",)

    def build(self, structure: Structure) -> Program:
        self.dtypes = ("f64",)
        return MyFramework().build(structure)
"""


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_accept_the_minimal_adapter(tmp_path: Path, checker: str) -> None:
    pytest.importorskip(checker)
    source = MINIMAL.read_text(encoding="utf-8")
    for line, instead in STAND_INS.items():
        assert line in source
        source = source.replace(line, instead)
    (tmp_path / "mine.py").write_text(source + MORE, encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}', encoding="utf-8")
    command = [sys.executable, "-m", checker, "mine.py"]
    command += ["--pythonpath", sys.executable] if checker == "pyright" else []
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
