"""`kterm mutants`, and mutants on in other commands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import check_adapter
from kterm.conformance.cases.plan import Description, describe, make_options
from kterm.conformance.evaluation.kills.kill import Asked, measure
from kterm.conformance.evaluation.kills.matrix import holds
from kterm.conformance.mutants import EQUIVALENTS, MISTAKES, MUTANTS, plant_mutant

from ...support.command import assert_one_line, kterm, pytest_run

FULL = describe(Numpy(), "numpy")
ASKED = Asked(FULL, make_options("smoke", 0))


def _fates(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["fates"]


def test_the_matrix_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    names = ("one-in-fifty", "stale-program", "factor-2", "momentum", "left-product")
    arguments = [word for name in names for word in ("--mutant", name)]
    records = []
    for workers in ("0", "1", "2"):
        done = kterm(
            "mutants", "--profile", "smoke", *arguments, "-n", workers, "--json", "m.json", "--html", "m.html",
            folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        records.append(_fates(tmp_path / "m.json"))
    assert records[0] == records[1] == records[2]
    assert "numpy, f64: 4 of 4 mistakes found" in done.stdout
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert all(name in page for name in names)
    kinds = {(f["mutant"], f["state"]) for f in records[0]}
    assert kinds == {("", "never found"), ("left-product", "never found")} | {(n, "killed") for n in names[:-1]}


def test_brief_comes_to_the_same_by_fewer_cases() -> None:
    names = ["factor-2", "slope-at-kink", "columns-past-32"]
    asked = Asked(FULL, make_options("quick", 0))
    whole, brief = (measure(replace(asked, brief=short), "f64", names) for short in (False, True))
    for long, short in zip(whole[1:], brief[1:], strict=True):
        assert (long.is_found, {r for r, c in long.regimes.items() if c.killed}) == (
            short.is_found,
            {r for r, c in short.regimes.items() if c.killed},
        )
        cases = [sum(cell.cases for cell in fate.regimes.values()) for fate in (long, short)]
        assert cases[0] > cases[1]


def test_a_survivor_fails_the_command(tmp_path: Path) -> None:
    done = kterm("mutants", "--profile", "smoke", "--mutant", "views", "--without", "contract", folder=tmp_path)
    assert done.returncode == 1
    assert "numpy, f64: 0 of 1 mistakes found\n  survives: views" in done.stdout


def test_what_holds() -> None:
    def record(*states: tuple[str, str]) -> dict[str, Any]:
        return {"fates": [{"dtype": dtype, "state": state} for dtype, state in states]}

    assert holds(record(("f64", "killed"), ("f32", "not applicable"), ("f32", "never found")))
    assert not holds(record(("f64", "killed"), ("f32", "survived")))
    assert not holds(record(("f64", "found")))
    # Narrow dtypes are held to it only where nothing else was asked for.
    assert holds(record(("f64", "killed"), ("bf16", "survived")))
    assert not holds(record(("bf16", "survived")))


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
    assert_one_line(kterm(*arguments, folder=tmp_path), 2, words)


def test_the_list_is_complete(tmp_path: Path) -> None:
    done = kterm("mutants", "--list", folder=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:] if line[:1].strip()] == list(MUTANTS)


# Wearing a mutant in other commands.


def test_a_check_of_what_wears_a_mutant_fails_and_says_so(tmp_path: Path) -> None:
    done = kterm("check", "numpy", "--profile", "smoke", "--mutant", "bias-mean", "-n", "0", folder=tmp_path)
    assert done.returncode == 1
    assert " with mutant bias-mean; profile smoke" in done.stdout.splitlines()[0]
    (line,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("kterm replay")]
    assert line.endswith(" numpy --mutant bias-mean")
    replayed = kterm(*line.split()[1:], folder=tmp_path)
    assert replayed.returncode == 1
    assert " with mutant bias-mean" in replayed.stdout.splitlines()[0]
    assert kterm(*line.split()[1:-2], folder=tmp_path).returncode == 0


def test_a_check_of_what_wears_an_equivalent_passes(tmp_path: Path) -> None:
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


def test_expectations_are_not_held_against_what_wears_a_mutant(tmp_path: Path) -> None:
    """One that nothing meets fails a run; but a mutant may hide what it is about."""
    own = tmp_path / "own.toml"
    own.write_text('[[expectation]]\nadapter = "numpy"\nactivation = "tanh"\nreason = "none"\n', encoding="utf-8")
    assert not check_adapter(Numpy(), profile="smoke", expectations=own).conforms
    assert check_adapter(plant_mutant(Numpy(), MUTANTS["mean-undone"]), profile="smoke", expectations=own).conforms


def test_every_mutant_is_told() -> None:
    assert len(MISTAKES) >= 70
    assert len({mutant.name for mutant in (*MISTAKES, *EQUIVALENTS)}) == len(MUTANTS)
    for mutant in MISTAKES:
        assert mutant.mistake
        assert mutant.effect
        assert mutant.hidden
        assert not mutant.equivalent
    for mutant in EQUIVALENTS:
        assert mutant.equivalent
