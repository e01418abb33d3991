"""Results are judged from files alone, by kterm and by `examples/verify_vectors.py` with the same verdicts."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.traces.container import read_arrays, write_arrays
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.plan import OptionError, make_options
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.interfaces.vectors.answer import answer_vectors
from kterm.conformance.interfaces.vectors.export import MANIFEST, export_vectors
from kterm.conformance.interfaces.vectors.judge import CaseVerdict, conforms, judge_results, open_vectors
from kterm.conformance.mutants.loading import loaded
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Array

from ....docs import ROOT
from ....support.frameworks import sound

VERIFIER = ROOT / "examples" / "verify_vectors.py"
MUTANTS = (
    "no-slope-last", "no-slope-hidden", "slope-twice", "no-transpose", "sign", "factor-half", "mean-over-batch",
    "gradient-transposed", "last-row-only", "bias-mean", "forward-bias-twice", "error-mean", "slope-parameter",
    "stopped-after-last",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "smoke"
    export_vectors(path, make_options("smoke", 0))
    return path


@pytest.fixture(scope="module")
def right(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of NumPy, which are right."""
    path = tmp_path_factory.mktemp("results") / "numpy"
    answer_vectors(open_vectors(folder), LocalRunner(Numpy()), path)
    return path


@pytest.fixture(scope="module")
def verify() -> Callable[[Path, Path], Any]:
    """The function of the example."""
    spec = importlib.util.spec_from_file_location("verify_vectors", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verify


def _judged(folder: Path, results: Path) -> list[CaseVerdict]:
    return [verdict for some in judge_results(open_vectors(folder), results) for verdict in some]


def _assert_same(folder: Path, results: Path, verify: Callable[[Path, Path], Any]) -> list[CaseVerdict]:
    """The verdicts of kterm, which are those of the example, quantity by quantity."""
    verdicts = _judged(folder, results)
    assert [(one.case, one.outcome, dict(one.quantities)) for one in verdicts] == list(verify(folder, results))
    return verdicts


def test_the_example_is_plain_numpy_in_60_lines() -> None:
    text = VERIFIER.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert "import kterm" not in text
    assert "from kterm" not in text


def test_right_results_pass(folder: Path, right: Path, verify: Callable[[Path, Path], Any]) -> None:
    verdicts = _assert_same(folder, right, verify)
    assert conforms(verdicts)
    assert {one.outcome for one in verdicts} == {"passed", "inconclusive"}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_fails_in_the_cases_in_which_check_finds_it(
    mutant: str, folder: Path, tmp_path: Path, verify: Callable[[Path, Path], Any]
) -> None:
    adapter = loaded("numpy", mutant_name=mutant)
    answer_vectors(open_vectors(folder), LocalRunner(adapter), tmp_path / "results")
    verdicts = _assert_same(folder, tmp_path / "results", verify)
    assert not conforms(verdicts)
    for one in verdicts:
        found = _status_in_check(one.case, adapter)
        assert (one.outcome == "failed") == (found == "failed"), (one, found)


@pytest.mark.parametrize("mutant", ["float32-inside", "gradient-narrowed"])
def test_a_loss_of_digits_fails_where_the_interval_is_narrow_enough(
    mutant: str, folder: Path, tmp_path: Path, verify: Callable[[Path, Path], Any]
) -> None:
    """`kterm check` finds it in further cases, since it judges each step from the values that are shown before it."""
    adapter = loaded("numpy", mutant_name=mutant)
    answer_vectors(open_vectors(folder), LocalRunner(adapter), tmp_path / "results")
    verdicts = _assert_same(folder, tmp_path / "results", verify)
    found = {one.case: _status_in_check(one.case, adapter) for one in verdicts}
    failed = {one.case for one in verdicts if one.outcome == "failed"}
    assert failed
    assert failed < {case for case, outcome in found.items() if outcome == "failed"}


def _status_in_check(text: str, adapter: Adapter) -> str:
    """The status of a case in `kterm check`. What needs further calls, which vectors lack, is left out."""
    case = parse_case(text, tuple(REGIMES))
    group = Group(case.structure, case.regime, case.seed, (case.draw,))
    [verdicts] = examine(group, LocalRunner(adapter)).verdicts
    return status([one for one in verdicts if one.check not in ("descent", "batch")])


@pytest.mark.parametrize("made", [sound.RowByRow, sound.Shuffled, sound.Kahan, sound.KeepsWide, sound.OfMean])
def test_a_sound_order_of_operations_passes(made: type[sound.Ordered], tmp_path: Path) -> None:
    export_vectors(tmp_path / "vectors", make_options("smoke", 3, activations=["tanh", "relu", "gelu", "identity"]))
    answer_vectors(open_vectors(tmp_path / "vectors"), LocalRunner(made()), tmp_path / "results")
    assert [one for one in _judged(tmp_path / "vectors", tmp_path / "results") if one.outcome == "failed"] == []


def test_z_x_and_k_may_be_left_out(folder: Path, right: Path, tmp_path: Path, verify: Callable[..., Any]) -> None:
    for path in right.iterdir():
        found, _ = read_arrays(path)
        write_arrays(tmp_path / path.name, {name: a for name, a in found.items() if name[0] not in "zxk"}, {})
    assert conforms(_assert_same(folder, tmp_path, verify))


def _changed(name: str, change: Callable[[Array], Array]) -> Callable[[dict[str, Array]], Mapping[str, Array]]:
    return lambda found: {**found, name: change(found[name])}


def _without(name: str) -> Callable[[dict[str, Array]], Mapping[str, Array]]:
    return lambda found: {other: a for other, a in found.items() if other != name}


BROKEN: dict[str, tuple[Callable[[dict[str, Array]], Mapping[str, Array]], str]] = {
    "a missing gradient": (_without("dE/dW_1"), "dE/dW_1 is missing"),
    "no outputs": (_without("outputs"), "outputs is missing"),
    "transposed": (_changed("dE/dW_1", lambda a: a.swapaxes(1, 2)), "dE/dW_1 has shape"),
    "one draw": (_changed("E", lambda a: a[:0]), "E has shape (0,); it should be (1,), with the draws first"),
    "a wider dtype": (_changed("E", lambda a: a.astype(np.float64)), "E has dtype F64; it should be F32"),
    "a typo": (lambda found: {**found, "dW_1": found["E"]}, "'dW_1' is no quantity of this structure"),
    "the vectors themselves": (lambda found: {**found, "W_1": found["E"]}, "'W_1' is no quantity"),
    "nothing": (lambda found: {}, "outputs is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_results_of_a_wrong_form_are_an_error(
    name: str, folder: Path, right: Path, tmp_path: Path, verify: Callable[[Path, Path], Any]
) -> None:
    change, words = BROKEN[name]
    results = shutil.copytree(right, tmp_path / "results")
    path = next(path for path in results.iterdir() if path.name.startswith("3x2x5-") and "-f32-" in path.name)
    write_arrays(path, change(read_arrays(path)[0]), {})
    verdicts = _assert_same(folder, results, verify)
    [errored] = [one for one in verdicts if one.outcome == "errored"]
    assert words in errored.message
    assert not conforms(verdicts)


@pytest.mark.parametrize("data", [None, b"", b"garbage", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_missing_or_unreadable_file_is_an_error(
    data: bytes | None, folder: Path, right: Path, tmp_path: Path, verify: Callable[[Path, Path], Any]
) -> None:
    results = shutil.copytree(right, tmp_path / "results")
    path = min(results.iterdir())
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    verdicts = _assert_same(folder, results, verify)
    assert any(one.outcome == "errored" and path.name in one.message for one in verdicts)
    assert not conforms(verdicts)


def test_a_nan_and_an_infinity_fail(folder: Path, right: Path, tmp_path: Path, verify: Callable[..., Any]) -> None:
    results = shutil.copytree(right, tmp_path / "results")
    for path, wrong in zip(sorted(results.iterdir()), (np.nan, np.inf, -np.inf), strict=False):
        found, _ = read_arrays(path)
        write_arrays(path, {**found, "E": np.full_like(found["E"], wrong)}, {})
    verdicts = _assert_same(folder, results, verify)
    failed = {one.departure.quantity for one in verdicts if one.departure is not None}
    assert failed == {"E"}


def test_what_a_port_does_not_support_is_said_and_counted(
    folder: Path, right: Path, tmp_path: Path, verify: Callable[[Path, Path], Any]
) -> None:
    results = shutil.copytree(right, tmp_path / "results")
    path = min(results.iterdir())
    write_arrays(path, {}, {"unsupported": "no hardshrink"})
    verdicts = _assert_same(folder, results, verify)
    assert {one.message for one in verdicts if one.outcome == "unsupported"} == {"no hardshrink"}
    assert conforms(verdicts)
    for path in results.iterdir():
        write_arrays(path, {}, {"unsupported": "nothing works"})
    assert not conforms(_assert_same(folder, results, verify))  # nothing was checked


def test_vectors_that_were_changed_are_refused(folder: Path, right: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "vectors")
    path = min(copy.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OptionError, match="is not the file that the manifest lists; write the folder again"):
        _judged(copy, right)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "schema_version": 1, "structures": [{}]}'])
def test_a_manifest_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match="is no manifest of vectors"):
        open_vectors(tmp_path)


def test_a_later_schema_is_refused(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "schema_version": 2}), encoding="utf-8")
    with pytest.raises(OptionError, match="this version reads"):
        open_vectors(tmp_path)


def test_the_example_ends_as_the_command_does(folder: Path, right: Path, tmp_path: Path) -> None:
    answer_vectors(open_vectors(folder), LocalRunner(loaded("numpy", mutant_name="sign")), tmp_path)
    for results, code in ((right, 0), (tmp_path, 1)):
        command = [sys.executable, str(VERIFIER), str(folder), str(results)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
