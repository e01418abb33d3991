"""`kterm reproduce TRACE LAYER`: which finding it takes, what it prints, and its exit codes."""

from pathlib import Path

import pytest
from msgspec import structs

from kterm.adapters.traces.trace import Trace

from .....support.command import assert_one_line
from .....support.here import kterm_here
from .....support.mistakes.models.faults import FAULTS
from .....support.mistakes.models.small import Small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traces: `trace` loses a micro-batch and has halved gradients, `sound` is right."""
    path = tmp_path_factory.mktemp("traces")
    trace = next(fault for fault in FAULTS if fault.name == "slope-of-a").trace()
    Trace(structs.replace(trace.manifest, framework="numpy"), trace.steps).save(path / "trace")
    Small().trace().save(path / "sound")
    return path


def test_a_finding_is_written_and_run(folder: Path, tmp_path: Path) -> None:
    done = kterm_here("reproduce", str(folder / "trace"), "layers.1", "-o", "bug.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == (
        "bug.py shows dL/dz of layers.1, step 0; exit code 0: NumPy's own call is right, and the trace has another "
        "number. Look at what changes the inputs or the result of the call.\n"
    )
    assert (tmp_path / "bug.py").read_text(encoding="utf-8").startswith('"""dL/dz[')


def test_without_a_file_the_script_is_printed(folder: Path, tmp_path: Path) -> None:
    done = kterm_here("reproduce", str(folder / "trace"), "layers.1", folder=tmp_path)
    assert done.returncode == 0
    compile(done.stdout, "bug.py", "exec")
    assert done.stderr.startswith("the script shows dL/dz of layers.1, step 0; exit code 0: ")


@pytest.mark.parametrize(
    "asked", [("sound", "layers.1"), ("trace", "layers.0"), ("trace", "layers.1", "--quantity", "z")]
)
def test_a_layer_without_a_finding_has_nothing_to_reproduce(
    folder: Path, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    trace, *others = asked
    done = kterm_here("reproduce", str(folder / trace), *others, "-o", "bug.py", folder=tmp_path)
    assert done.returncode == 1
    assert "has no finding in" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not (tmp_path / "bug.py").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("layer.1",), "the trace has no such layer; it has layers.1"),
        (("layers.1", "--step", "4"), "the trace has the steps 0 to 0"),
        (("layers.1", "--quantity", "dW"), "known are z, a, dL/dz, dL/dx, dL/dW, dL/db"),
        (("layers.1", "--mutant", "sign"), "--mutant: belongs to a case"),
        (("layers.1", "--no-shrink"), "--no-shrink: belongs to a case"),
        (("layers.1", "-o", "none/bug.py"), "name a file that can be written"),
        (("layers.1", "--python", "/no/python"), "name a Python interpreter"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(folder: Path, tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    done = kterm_here("reproduce", str(folder / "trace"), *asked, folder=tmp_path)
    assert_one_line(done, 2, said)


def test_a_folder_that_is_no_trace_and_options_of_a_trace_are_refused(tmp_path: Path) -> None:
    done = kterm_here("reproduce", str(tmp_path), "up", folder=tmp_path)
    assert (done.returncode, "name the folder of a trace" in done.stderr) == (2, True)
    done = kterm_here("reproduce", "2x2-tanh-b3-pre-f64-normal-s0", "numpy", "--step", "0", folder=tmp_path)
    assert (done.returncode, "--step: belongs to a trace" in done.stderr) == (2, True)


def test_a_script_that_cannot_run_is_said(folder: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no numpy' >&2\nexit 3\n")
    python.chmod(0o755)
    done = kterm_here(
        "reproduce", str(folder / "trace"), "layers.1", "--python", str(python), "-o", "bug.py", folder=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == "bug.py does not run: it ends with code 3: ModuleNotFoundError: no numpy\n"
