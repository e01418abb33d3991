"""`kterm nonfinite`: the table, what contradicts a declaration, and the exit codes."""

from pathlib import Path

from ....support.command import assert_one_line, kterm
from ....support.frameworks import miniatures

OWN = Path(miniatures.__file__)


def test_it_prints_what_differs_and_finds_only_what_is_declared(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(OWN.parents[3])!r})\n"
        "import numpy as np\n"
        "from tests.support.frameworks.miniatures import Miniature, right\n\n\n"
        "class Cleaning(Miniature):\n"
        "    name = 'cleaning'\n\n"
        "    def answer(self, structure, parameters, x, y):\n"
        "        with np.errstate(all='ignore'):\n"
        "            return right(structure, parameters, np.nan_to_num(x), y)\n\n\n"
        "class Promising(Cleaning):\n"
        "    name, propagates = 'promising', ('nan',)\n",
        encoding="utf-8",
    )
    asked = ("--dtype", "f32", "--activation", "tanh", "--activation", "gelu")
    done = kterm("nonfinite", "numpy", f"{own}:Cleaning", *asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    assert header.split()[:5] == ["activation", "input", "x", "k", "numpy"]
    assert [line.split()[:2] for line in lines] == [[n, g] for n in ("tanh", "gelu") for g in ("nan", "inf", "-inf")]
    assert "as due" in lines[0]
    assert "x 0 (swallowed)" in lines[0]
    assert "x nan, E nan" in lines[5]  # -inf * 0
    done = kterm("nonfinite", f"{own}:Promising", *asked, folder=tmp_path)
    assert done.returncode == 1
    said = "promising contradicts its declaration: tanh at nan, f32: x is 0, "
    assert any(line.startswith(said) for line in done.stdout.splitlines())


def test_errors_are_one_line(tmp_path: Path) -> None:
    assert_one_line(kterm("nonfinite", "numpy", "--activation", "tan", folder=tmp_path), 2, "tan")
    assert_one_line(kterm("nonfinite", "nowhere", folder=tmp_path), 3, "nowhere")
