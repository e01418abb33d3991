"""`kterm mutants`, and the option --mutant of other commands."""

import json
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import check_adapter
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.mutants import EQUIVALENTS, MISTAKES, MUTANTS, plant_mutant

from ...support.command import assert_one_line, kterm, pytest_run
from ...support.here import kterm_here

FULL = describe(Numpy(), "numpy")


def _read_fates(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["fates"]


def test_the_matrix_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    names = ("one-in-fifty", "stale-program", "factor-2", "momentum", "left-product")
    arguments = [word for name in names for word in ("--mutant", name)]
    records = []
    for run, workers in ((kterm_here, "0"), (kterm, "2")):
        done = run(
            "mutants", "--profile", "smoke", *arguments, "-n", workers, "--json", "m.json", "--html", "m.html",
            folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        records.append(_read_fates(tmp_path / "m.json"))
    assert records[0] == records[1]
    assert "numpy, f64: 4 of 4 mistakes found" in done.stdout
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert all(name in page for name in names)
    kinds = {(f["mutant"], f["state"]) for f in records[0]}
    assert kinds == {("", "never found"), ("left-product", "never found")} | {(n, "killed") for n in names[:-1]}


def test_a_survivor_fails_the_command(tmp_path: Path) -> None:
    done = kterm_here(
        "mutants", "--profile", "smoke", "--mutant", "views", "--without", "contract", "-n", "0", folder=tmp_path
    )
    assert done.returncode == 1
    assert "numpy, f64: 0 of 1 mistakes found\n  survives: views" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mutants", "--mutant", "no-slop"), "did you mean no-slope"),
        (("mutants", "--without", "contrat"), "did you mean contract?"),
        (("mutants", "--profile", "smok"), "did you mean smoke?"),
        (("mutants", "-n", "two"), "-n two"),
        (("mutants", "--dtype", "f16"), "declares none of f16"),
        (("mutants", "--mutant", "factor-2", "--html", "no/where.html"), "--html no/where.html"),
        (("check", "numpy", "--mutant", "factor2"), "did you mean factor-2"),
        (("replay", "4x8x3-relu.tanh-b5-pre-f32-normal-s17", "numpy", "--mutant", "x"), "unknown mutant 'x'; kterm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_unknown_name_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert_one_line(kterm_here(*arguments, folder=tmp_path), 2, words)


def test_the_list_is_complete(tmp_path: Path) -> None:
    done = kterm_here("mutants", "--list", folder=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:] if line[:1].strip()] == list(MUTANTS)


# A mutant planted by other commands.


def test_a_check_with_a_mutant_planted_fails_and_says_so(tmp_path: Path) -> None:
    done = kterm("check", "numpy", "--profile", "smoke", "--mutant", "bias-mean", "-n", "0", folder=tmp_path)
    assert done.returncode == 1
    assert " with mutant bias-mean; profile smoke" in done.stdout.splitlines()[0]
    (line,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("kterm replay")]
    assert line.endswith(" numpy --mutant bias-mean")
    replayed = kterm(*line.split()[1:], folder=tmp_path)
    assert replayed.returncode == 1
    assert " with mutant bias-mean" in replayed.stdout.splitlines()[0]
    assert kterm(*line.split()[1:-2], folder=tmp_path).returncode == 0


def test_a_check_with_an_equivalent_planted_passes(tmp_path: Path) -> None:
    done = kterm("check", "numpy", "--profile", "smoke", "--mutant", "mean-undone", "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_record_and_pytest_carry_the_mutant(tmp_path: Path) -> None:
    done = pytest_run(
        "--pyargs", "kterm.conformance", "--kterm-adapter", "numpy", "--kterm-profile", "smoke", "--kterm-mutant",
        "sign", "--kterm-report", "r.jsonl", "-p", "no:cacheprovider", "-n", "0", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert " with mutant sign" in done.stdout
    header = json.loads((tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert header["adapters"][0]["mutant"] == "sign"
    assert Description.from_json({key: header["adapters"][0][key] for key in FULL.to_json()}).mutant == "sign"


def test_expectations_are_not_audited_with_a_mutant_planted(tmp_path: Path) -> None:
    """An expectation without a finding fails a run, except with a mutant, which may hide the finding."""
    own = tmp_path / "own.toml"
    own.write_text('[[expectation]]\nadapter = "numpy"\nactivation = "tanh"\nreason = "none"\n', encoding="utf-8")
    assert not check_adapter(Numpy(), profile="smoke", expectations=own).conforms
    assert check_adapter(plant_mutant(Numpy(), MUTANTS["mean-undone"]), profile="smoke", expectations=own).conforms


def test_every_mutant_is_described() -> None:
    assert len(MISTAKES) >= 70
    assert len({mutant.name for mutant in (*MISTAKES, *EQUIVALENTS)}) == len(MUTANTS)
    for mutant in MISTAKES:
        assert mutant.mistake
        assert mutant.effect
        assert mutant.hidden
        assert not mutant.equivalent
    for mutant in EQUIVALENTS:
        assert mutant.equivalent
