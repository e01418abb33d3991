"""`kterm calibrate`: right computations pass, mistakes do not, and the figures do not depend on the workers."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.evaluation.calibration import report, sensitivity
from kterm.conformance.runners import workers
from kterm.reference.rounding import SIGMAS

from ...support.command import assert_one_line, kterm
from ...support.frameworks import crashing, miniatures
from ...support.here import kterm_here

MINIATURES = Path(miniatures.__file__)
Run = Callable[..., CompletedProcess[str]]


def _calibrate(tmp_path: Path, *arguments: str, run: Run = kterm_here) -> tuple[int, str, dict[str, Any]]:
    path = tmp_path / "calibration.json"
    done = run("calibrate", *arguments, "--json", str(path), folder=tmp_path)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, json.loads(path.read_text(encoding="utf-8"))


def test_a_right_framework_has_no_false_alarm_and_errors_of_the_size_of_sigma(tmp_path: Path) -> None:
    code, out, found = _calibrate(tmp_path, "numpy", "--draws", "600", "--dtype", "f32", "--networks", "0", "-n", "0")
    assert code == 0, out
    (one,) = found["spread"]
    assert (one["judged"], one["alarms"], one["diverging"]) == (600, 0, [])
    assert 0.3 < one["cases"]["median"] < 3
    assert one["cases"]["largest"] < SIGMAS
    assert one["rate"] == pytest.approx(1 - 0.05 ** (1 / 600))
    assert "numpy: 0 false alarms in 600 cases; rate below 0.005 at 95% confidence" in out


def test_weight_decay_is_a_false_alarm_in_every_case(tmp_path: Path) -> None:
    spec = f"{MINIATURES}:WeightDecay"
    code, out, found = _calibrate(tmp_path, spec, "--draws", "60", "--dtype", "f64", "--networks", "0", "-n", "0")
    assert code == 1
    (one,) = found["spread"]
    assert one["alarms"] == one["judged"] == 60
    assert one["rate"] == 1
    assert one["cases"]["largest"] > SIGMAS
    assert out.count("false alarm: weight-decay ") == 20
    assert "... and 40 more cases; all are in --json FILE" in out
    cases = {finding["verdict"]["case"] for finding in found["findings"]}
    assert len(cases) == 60
    for case in cases:
        parse_case(case, tuple(REGIMES))


def test_an_adapter_that_raises_fails_the_calibration(tmp_path: Path) -> None:
    spec = f"{crashing.__file__}:Raises"
    code, out, found = _calibrate(tmp_path, spec, "--draws", "120", "--dtype", "f64", "--networks", "0", "-n", "0")
    (one,) = found["spread"]
    assert one["alarms"] == 0
    assert one["statuses"]["errored"] == 120 - one["judged"] > 0
    assert code == 1
    assert "errored: raises " in out


def test_an_adapter_that_ends_its_process_is_one_line(tmp_path: Path) -> None:
    spec = f"{crashing.__file__}:Dies"
    done = kterm(
        "calibrate", spec, "--activation", "relu", "--networks", "0", "--draws", "50", "-n", "1", folder=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a worker process ended" in done.stderr


@pytest.mark.heavy
def test_figures_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    given = ("numpy", "--draws", "80", "--dtype", "f32", "--activation", "tanh", "--networks", "2", "--seed")
    one = _calibrate(tmp_path, *given, "5", "-n", "0")
    two = _calibrate(tmp_path, *given, "5", "-n", "2", run=kterm)
    assert one[0] == two[0] == 0
    assert one[2] == two[2]
    other = _calibrate(tmp_path, *given, "6", "--networks", "0", "-n", "0")
    assert other[2]["spread"] != one[2]["spread"]


def test_without_frameworks_the_comparison_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sensitivity, report):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
    given = ("numpy", "--draws", "20", "--networks", "2", "--dtype", "f32", "--activation", "tanh", "-n", "0")
    code, out, found = _calibrate(tmp_path, *given)
    assert code == 0
    assert "gradcheck is left out: torch is not installed" in out
    assert "check_grads is left out: jax is not installed" in out
    judges = {one["judge"] for one in found["sensitivity"]}
    assert judges == {"numpy", "numpy, gradients alone"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("numpy", "--draws", "0"), 2, "--draws 0"),
        (("numpy", "--networks", "-1"), 2, "--networks -1"),
        (("numpy", "-n", "some"), 2, "give a number of workers, or auto"),
        (("numpy", "--activation", "rellu"), 2, "did you mean relu?"),
        (("numpy", "--dtype", "bf16"), 2, "numpy: nothing declared of what was asked for, bf16"),
        (("numpy", "--json", "/proc/none/x.json"), 2, "name a file that can be written"),
        (("numpi",), 3, "did you mean numpy?"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert_one_line(kterm_here("calibrate", *arguments, folder=tmp_path), code, words)


def test_without_an_adapter_it_says_how_to_install_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "is_installed", lambda name: name == "numpy")
    assert_one_line(kterm_here("calibrate", folder=tmp_path), 3, "pip install 'kterm[torch]'")


def test_a_refused_run_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}", encoding="utf-8")
    done = kterm_here("calibrate", "numpy", "--dtype", "bf16", "--json", "old.json", folder=tmp_path)
    assert_one_line(done, 2, "nothing declared")
    assert (tmp_path / "old.json").read_text(encoding="utf-8") == "{}"
