"""`kterm arithmetic`: the table, the file, and the exit codes."""

import json
from pathlib import Path

from ....support.command import assert_one_line, kterm
from ....support.frameworks import emulated

EMULATED = Path(emulated.__file__)


def test_it_prints_a_table_and_writes_the_measurements(tmp_path: Path) -> None:
    done = [
        kterm("arithmetic", "numpy", f"{EMULATED}:Tf32", "--dtype", "f32", "--json", name, folder=tmp_path)
        for name in ("first.json", "second.json")
    ]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert done[0].stdout == done[1].stdout
    written = [(tmp_path / name).read_bytes() for name in ("first.json", "second.json")]
    assert written[0] == written[1]
    numpy, tf32 = json.loads(written[0])
    assert {one["operands"] for one in numpy["measured"]} == {"f32"}
    assert {one["operands"] for one in tf32["measured"]} == {"tf32"}
    lines = done[0].stdout.splitlines()
    assert lines[0].startswith("numpy ")
    assert lines[0].endswith(" on cpu")
    assert lines[1].split()[:2] == ["dtype", "products"]
    assert any("tf32, nearest" in line and "24 bits, nearest" in line for line in lines)


def test_what_contradicts_a_declaration_ends_with_1(tmp_path: Path) -> None:
    done = kterm("arithmetic", f"{EMULATED}:Misdeclared", folder=tmp_path)
    assert done.returncode == 1
    said = "contradicts the declaration: factors and results below the normal range become 0, in f32"
    assert said in done.stdout.splitlines()


def test_what_is_not_declared_is_said_and_is_no_failure(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(EMULATED.parents[3])!r})\n"
        "from tests.support.frameworks.emulated import Tf32\n\n\n"
        "class Plain(Tf32):\n"
        "    arithmetic = {}\n",
        encoding="utf-8",
    )
    done = kterm("arithmetic", f"{own}:Plain", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "not declared: operands of products are cut to 11 bits (tf32), in f32"
    assert said in done.stdout.splitlines()


def test_an_unknown_dtype_is_one_line(tmp_path: Path) -> None:
    done = kterm("arithmetic", "numpy", "--dtype", "f8", folder=tmp_path)
    assert_one_line(done, 2, "f8")


def test_bitwise_facts_are_a_second_table_and_in_the_file(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from kterm.adapters.numpy_adapter import Numpy\n\n\n"
        "class Again(Numpy):\n"
        '    name, framework, framework_version = "again", "numpy", Numpy.version\n',
        encoding="utf-8",
    )
    named = ("numpy", f"{own}:Again")
    done = kterm("arithmetic", *named, "--dtype", "f32", "--bitwise", "--json", "bits.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(" in another process " in line for line in done.stdout.splitlines()) == 2
    for one in json.loads((tmp_path / "bits.json").read_text(encoding="utf-8")):
        facts = {fact["question"]: fact for fact in one["bitwise"][0]["facts"]}
        # Both are of one framework and version, so each is compared with the other.
        for question in ("run to run", "in another process", "by another adapter"):
            assert facts[question]["same"] == facts[question]["compared"] > 0
