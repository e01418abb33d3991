"""The command line: every user's mistake is one line that says what to do, with its exit code."""

import json
import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from kterm.conformance.records.record import read

from ...support.command import assert_one_line, group_is_gone, interrupt, kterm, start_kterm
from ...support.frameworks import miniatures, tails
from ...support.here import kterm_here

MINIATURES = Path(miniatures.__file__)
COARSE = f"{Path(tails.__file__)}:ClippedSilu"


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
        (("check", "numpy", "--level", "normwize"), 2, "did you mean normwise?"),
        (("check", "numpy", "-n", "many"), 2, "give a number of workers, or auto"),
        (("check", "numpy", "-n", "²"), 2, "give a number of workers, or auto"),
        (("check", "numpy", "--timeout", "0"), 2, "timeout 0: give a positive number of seconds"),
        (("check", "numpy", "--timeout", "-1"), 2, "timeout -1: give a positive number of seconds"),
        (("check", "numpy", "--timeout", "nan"), 2, "timeout nan: give a positive number of seconds"),
        (("check", "numpy", "--timeout", "inf"), 2, "timeout inf: give a positive number of seconds"),
        (("check", "numpy", "--report", "."), 2, "is a folder; name a file that can be written"),
        (("check", "numpy", "--report", "none/record.jsonl"), 2, "there is no folder"),
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
    # In a process of its own where it is the spelling of a name, and else in this one, which costs a tenth.
    run = kterm if arguments[-1] in ("numpi", "quik") else kterm_here
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr


def test_the_module_runs_as_the_command_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kterm.conformance.commands.cli", "check", "numpi"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert_one_line(done, 3, "did you mean numpy?")


@pytest.mark.parametrize("command", [("check",), ("kinks",), ("calibrate",)], ids=" ".join)
def test_without_a_framework_a_bare_command_says_how_to_install_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    without = "from kterm.conformance.runners import workers; workers.is_installed = lambda name: name == 'numpy'"
    done = kterm(*command, folder=tmp_path, first=without)
    assert_one_line(done, 3, "pip install 'kterm[torch]' or pip install 'kterm[jax]'")


_SLOW = """
import time
from kterm.adapters.numpy_adapter import Numpy
class Slow(Numpy):
    name = "slow"
    def build(self, structure):
        time.sleep(0.4)
        return super().build(structure)
"""


@pytest.mark.parametrize(
    ("workers", "with_report"),
    [
        ("0", True),
        pytest.param("2", True, marks=pytest.mark.heavy),
        pytest.param("0", False, marks=pytest.mark.heavy),
        ("2", False),
    ],
)
def test_an_interrupt_ends_every_process_and_keeps_what_there_is(
    tmp_path: Path, workers: str, with_report: bool
) -> None:
    (tmp_path / "slow.py").write_text(_SLOW, encoding="utf-8")
    report = tmp_path / "record.jsonl"
    given = ("--report", str(report)) if with_report else ()
    run = start_kterm("check", "slow.py:Slow", "--profile", "smoke", "-n", workers, *given, folder=tmp_path)
    time.sleep(4 if not with_report else 0)
    end = time.monotonic() + 60
    while with_report and len(list(tmp_path.rglob("[0-9]*.jsonl"))) < 3:
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    interrupt(run)
    said, errors = run.communicate(timeout=60)
    assert run.returncode == 130, said + errors
    assert "interrupted" in said + errors
    assert "Traceback" not in said + errors
    assert group_is_gone(run)
    if with_report:
        assert f"what was checked until then is in {report}" in said
        assert "stopped early: no result for" in said
        assert len(read(report).cases) >= 3
    left = {path.name for path in tmp_path.iterdir()} - {"slow.py", "record.jsonl", "__pycache__"}
    assert all(re.fullmatch(r"\.record\.jsonl\.\w+\.parts", name) for name in left)  # for --resume
    assert len(left) == with_report


def test_a_report_to_standard_output_stands_between_its_lines(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w") as out:  # a regular file, which must not be replaced
        command = [sys.executable, "-m", "kterm.conformance.commands.cli", "check", "numpy", "--profile", "smoke"]
        command += ["--dtype", "f32", "-n", "0", "--report", "/dev/stdout"]
        done = subprocess.run(command, cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert (rows[0]["kind"], rows[-1]["kind"]) == ("header", "footer")
    assert lines[0].startswith("kterm ")
    assert "conforms (componentwise)" in lines


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_that_says_where_the_record_is(tmp_path: Path) -> None:
    done = kterm(
        "check", "numpy", "--profile", "smoke", "--dtype", "f32", "-n", "0", "--report", "/dev/full",
        folder=tmp_path, environment={"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    kept = re.fullmatch(
        r"kterm: report /dev/full: No space left on device; the whole record is kept in (\S+)\n", done.stderr
    )
    assert kept is not None, done.stderr
    assert read(Path(kept[1])).conforms


@pytest.mark.parametrize(
    ("arguments", "colour"),
    [
        (("check", "numpy", "--profile", "smoke", "--dtype", "f32", "-n", "0"), "\x1b[32m"),
        (("mutants", "--profile", "smoke", "--dtype", "f32", "--mutant", "no-slope", "-n", "0"), "\x1b[32m"),
        (("calibrate", "numpy", "--draws", "8", "--networks", "0", "--activation", "tanh", "-n", "0"), "\x1b["),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_in_a_pipe_there_are_no_frames_of_a_progress_bar_whatever_the_colours(
    tmp_path: Path, arguments: tuple[str, ...], colour: str
) -> None:
    done = kterm(*arguments, folder=tmp_path, environment={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b[?25l" not in done.stdout  # hides the cursor, which the bar does first
    assert "\r" not in done.stdout
    assert colour in done.stdout


def test_an_adapter_that_supports_nothing_does_not_conform_beside_one_that_passes(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text(
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class Nothing(Numpy):\n    name = 'nothing'\n"
        "    def build(self, structure):\n        raise NotImplementedError('not yet')\n",
        encoding="utf-8",
    )
    arguments = ("check", "numpy", "nothing.py:Nothing", "--profile", "smoke", "--dtype", "f32", "-n", "0")
    done = kterm(*arguments, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nothing was checked of nothing: 12 unsupported" in done.stdout
    assert "does not conform" in done.stdout


def test_every_command_that_a_failure_prints_runs_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "my port.py").write_text(
        f"import sys; sys.path.insert(0, {str(MINIATURES.parent)!r})\n"
        "from miniatures import WeightDecay\n"
        "class Port(WeightDecay):\n    name = 'bad'\n",
        encoding="utf-8",
    )
    done = kterm("check", "my port.py:Port", "--profile", "smoke", "--dtype", "f32", "-n", "0", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    commands = re.findall(r"^  (kterm (\w+) .*)$", done.stdout, re.MULTILINE)
    assert {name for _, name in commands} == {"shrink", "replay", "reproduce"}
    command = tmp_path / "bin" / "kterm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m kterm.conformance.commands.cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    for line, name in commands[:3]:
        ran = subprocess.run(line, shell=True, cwd=folder, env=path, capture_output=True, text=True, check=False)
        # The mistake is in this adapter, and not in NumPy: the script says so.
        assert ran.returncode == {"shrink": 0, "replay": 1, "reproduce": 1}[name], f"{line}\n{ran.stdout}{ran.stderr}"
        assert "Traceback" not in ran.stderr


def test_an_adapter_without_a_script_is_offered_none(tmp_path: Path) -> None:
    (tmp_path / "port.py").write_text(
        "from kterm.adapters import Adapter\n"
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class Port(Numpy):\n    name = 'bad'\n    script = Adapter.script\n"
        "    def build(self, structure):\n        raise RuntimeError('no')\n",
        encoding="utf-8",
    )
    done = kterm("check", "port.py:Port", "--profile", "smoke", "--dtype", "f32", "-n", "0", folder=tmp_path)
    assert done.returncode == 1
    assert "kterm shrink " in done.stdout
    assert "kterm reproduce" not in done.stdout


def test_the_version_is_printed_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    check = (
        "import sys\n"
        "from kterm.__main__ import main\n"
        "sys.argv = ['kterm', '--version']\n"
        "main()\n"
        "assert not {'typer', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    done = subprocess.run([sys.executable, "-c", check], **run)
    assert done.stdout == f"kterm {metadata.version('kterm')}\n"
    assert kterm_here("--version", folder=tmp_path).stdout == done.stdout


@pytest.mark.parametrize("command", [(), ("check",), ("env", "list")], ids=" ".join)
def test_h_is_help(tmp_path: Path, command: tuple[str, ...]) -> None:
    short, long = (kterm_here(*command, option, folder=tmp_path) for option in ("-h", "--help"))
    assert short.stdout.startswith("Usage: kterm")
    assert short.stdout == long.stdout


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
    done = kterm("check", "wrong.py:Wrong", "--profile", "smoke", "--dtype", "f32", "-n", "0", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    words = "consistent with weights laid out (out, in) where the adapter declares (in, out)"
    assert words in done.stdout
    assert done.stdout.count("layout wrong in") <= 2
    assert " blocked" in done.stdout


def test_a_port_that_is_coarse_in_one_tail_conforms_at_level_normwise(tmp_path: Path) -> None:
    for level, code in (("componentwise", 1), ("normwise", 0)):
        report = tmp_path / f"{level}.jsonl"
        done = kterm_here(
            "check", COARSE, "--profile", "quick", "--dtype", "f32", "-n", "0", "--level", level,
            "--report", str(report), folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert f"conform{'s' if not code else ''} ({level})" in done.stdout
        assert "Componentwise only: " in done.stdout
        assert "silu, z from -7" in done.stdout
        record = read(report)
        assert record.level == level
        findings = [v for some in record.verdicts.values() for v in some if v.is_finding]
        assert findings
        assert {v.below_level for v in findings} == {level == "normwise"}
