"""Each deliberately bad framework is caught, for its own reason; each sound one passes."""

import json
from collections import Counter
from pathlib import Path

import pytest

from kterm.conformance import Results, check_adapter
from kterm.conformance.checks.verdict import CHECKS
from kterm.conformance.records.record import read

from ...support.command import kterm
from ...support.frameworks import crashing, miniatures
from ...support.here import kterm_here

MINIATURES = Path(miniatures.__file__)


def _first(results: Results) -> str:
    """The earliest check, in dependency order, that found something."""
    found = {verdict.check for verdict in results.failures}
    return next((check for check in CHECKS if check in found), "nothing")


@pytest.mark.parametrize(
    ("sound", "seed", "dtype"),
    [
        (miniatures.Miniature, 0, "f64"),
        (miniatures.Silent, 1, "f32"),
        (miniatures.Composed, 1, "f64"),
        (miniatures.Composed, 0, "f32"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_sound_framework_conforms(sound: type[miniatures.Miniature], seed: int, dtype: str) -> None:
    results = check_adapter(sound(), seed=seed, dtypes=[dtype])
    assert results.conforms, str(results)
    assert "failed" not in results.statuses().values()


@pytest.mark.parametrize(
    ("bad", "check", "words"),
    [
        (miniatures.NoSlopeAtOutput, "k_terms", "k_"),
        (miniatures.SlopeOfTheActivation, "weight_gradients", "dE/dW_"),
        (miniatures.MeanOverBatch, "weight_gradients", "dE/dW_"),
        (miniatures.Reshaped, "weight_gradients", "dE/dW_"),
        (miniatures.WeightDecay, "weight_gradients", "dE/dW_"),
        (miniatures.NoBiasGradient, "bias_gradients", "dE/db_"),
        (miniatures.NotANumber, "contract", "not finite"),
        (miniatures.WrongType, "contract", "come back as float64 where float32 is asked for"),
        (miniatures.WrongShape, "contract", "has shape (1, "),
        (miniatures.Accumulates, "contract", "the same call, made again, gave other bits in dE/dW_1"),
        (miniatures.Overwrites, "contract", "an earlier observation was changed by a later call"),
        (miniatures.Unsteady, "contract", "the same call, made again, gave other bits in dE/dW_1"),
        (miniatures.Mutates, "contract", "inputs were modified in place"),
        (miniatures.HalfThePrecision, "forward", "outputs"),
        (miniatures.StaleProgram, "forward", "outputs"),
        (crashing.NotAnObservation, "contract", "the program returned a tuple; it should return an Observation"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_bad_framework_is_caught_for_its_own_reason(bad: type[miniatures.Miniature], check: str, words: str) -> None:
    results = check_adapter(bad(), profile="smoke", dtypes=["f32"] if bad is miniatures.WrongType else ["f64"])
    assert not results.conforms
    assert _first(results) == check, str(results)
    said = [f"{v.quantity} {v.message}" for v in results.failures if v.check == check]
    assert any(words in text for text in said), said[:3]


@pytest.mark.parametrize("bad", [miniatures.LiesAboutLayout, miniatures.TransposedWhenSquare], ids=lambda m: m.name)
def test_a_wrong_layout_is_one_failure_with_the_rest_blocked_behind_it(bad: type[miniatures.Miniature]) -> None:
    results = check_adapter(bad(), profile="smoke", dtypes=["f64"])
    assert {v.check for v in results.failures} == {"layout"}
    declared = bad.weight_layout.name
    assert f"where the adapter declares {declared}" in results.failures[0].message
    counts = Counter(results.statuses().values())
    assert counts["failed"] == len(results.failures) <= 2
    assert counts["blocked"] == len(results.verdicts) - 2
    assert not results.conforms


def test_what_a_framework_refuses_is_unsupported_and_costs_nothing_else() -> None:
    results = check_adapter(crashing.Refuses(), dtypes=["f64"])
    counts = Counter(results.statuses().values())
    assert counts["unsupported"] > 0
    assert counts["passed"] + counts["inconclusive"] == len(results.verdicts) - counts["unsupported"]
    assert results.conforms


def _is_hit(case: str) -> bool:
    return case.split("-")[1].split(".")[0] == "relu"


@pytest.mark.parametrize(
    ("name", "says"),
    [("Raises", "RuntimeError: kernel launch failed"), ("Exits", "SystemExit: 0"), ("Dies", "SIGKILL")],
)
@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.heavy), "2"])
def test_a_framework_that_fails_costs_its_own_cases_and_nothing_else(
    tmp_path: Path, name: str, says: str, workers: str
) -> None:
    report = tmp_path / "record.jsonl"
    run = kterm if workers != "0" else kterm_here
    done = run(
        "check", f"{crashing.__file__}:{name}", "--profile", "smoke", "--activation", "relu", "--activation", "tanh",
        "--dtype", "f64", "-n", workers, "--report", str(report), folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    record = read(report)
    statuses = record.statuses()
    errored = {case for (_, case), status in statuses.items() if status == "errored"}
    assert errored
    assert all(_is_hit(case) for case in errored)
    assert all(status in ("passed", "inconclusive") for (_, case), status in statuses.items() if case not in errored)
    assert not record.footer["unanswered"]
    messages = [v.message for some in record.verdicts.values() for v in some if v.grade == "errored"]
    assert any(says in message for message in messages), messages[:3]
    assert says in done.stdout


def test_a_framework_that_hangs_costs_its_own_cases_and_nothing_else(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    done = kterm_here(
        "check", f"{crashing.__file__}:Hangs", "--profile", "smoke", "--timeout", "2", "-n", "0",
        "--activation", "relu", "--activation", "tanh", "--dtype", "f64", "--report", str(report), folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    record = read(report)
    asked = {case: status for (_, case), status in record.statuses().items() if "layout" not in case}
    assert {_is_hit(case) for case in asked} == {True, False}
    for case, status in asked.items():
        assert (status == "errored") == _is_hit(case), (case, status)
    assert "hung: no answer within 2 s" in done.stdout


def test_a_framework_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    done = kterm("check", f"{crashing.__file__}:DoesNotLoad", folder=tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "libfast.so: cannot open shared object file" in done.stderr


def test_the_record_of_a_failure_holds_both_numbers(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    wrong = f"{MINIATURES}:WeightDecay"
    kterm_here(
        "check", wrong, "--profile", "smoke", "--dtype", "f64", "-n", "0", "--report", str(report), folder=tmp_path
    )
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    wrong = next(row for row in rows if row.get("grade") == "wrong")
    assert wrong["observed"] != wrong["expected"]
    assert abs(wrong["observed"] - wrong["expected"]) == pytest.approx(wrong["worst"] * wrong["tolerance"], rel=2e-5)
