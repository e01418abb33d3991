"""Proposed expectations: they cover exactly what failed, in few patterns, and with reasons the same run conforms."""

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.plan import Options, describe
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.expectations.patterns import Point, cover
from kterm.conformance.records.propose import proposed
from kterm.conformance.records.record import finish, read, write_part
from kterm.reference import ACTIVATIONS, BIASES, DTYPES

from ...support import miniatures
from ...support.command import kterm

MINIATURES = Path(miniatures.__file__)

# Covering.

_CASES = [
    f"4x3-{activation}-b2-{bias}-{dtype}-{regime}-s{draw}"
    for activation in ("elu", "tanh")
    for bias in ("none", "pre")
    for dtype in ("f32", "f64")
    for regime in ("normal", "square")
    for draw in range(12)
]
_POINTS: list[Point] = [(case.split("-")[1], case) for case in _CASES]


def _covered(failed: Sequence[Point]) -> list[tuple[str, str]]:
    return [(activation, case) for activation, case, _ in cover(failed, set(_POINTS) - set(failed))]


def _where(*words: str) -> list[Point]:
    return [point for point in _POINTS if all(word in point[1].split("-") for word in words)]


def test_names_in_an_id_are_told_apart_by_themselves() -> None:
    """A pattern such as *-f64-* speaks of one field alone."""
    names = [*ACTIVATIONS, *BIASES, *DTYPES, *REGIMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("failed", "due"),
    [
        (_where("elu"), [("elu", "*")]),
        (_where("f64"), [("*", "*-f64-*")]),
        (_POINTS, [("*", "*")]),
        (_where("elu", "f64"), [("elu", "*-f64-*")]),
        (_where("tanh", "pre", "square"), [("tanh", "*-pre-*-square-*")]),
        (_where("tanh", "none", "f32", "normal"), [("tanh", "*-none-f32-normal-*")]),
        (_where("elu", "f64") + _where("elu", "f32", "square"), [("elu", "*-f64-*"), ("elu", "*-f32-square-*")]),
        (_where("elu", "s3"), [("elu", case) for _, case in _where("elu", "s3")]),
        (_where("elu", "pre", "f32", "normal")[1:11],
         [("elu", "4x3-elu-b2-pre-f32-normal-s10"), ("elu", "4x3-elu-b2-pre-f32-normal-s[123456789]")]),
        ([], []),
    ],
)  # fmt: skip
def test_the_fewest_and_then_the_narrowest_patterns_are_taken(failed: list[Point], due: list[tuple[str, str]]) -> None:
    assert sorted(_covered(failed)) == sorted(due)


def test_a_structure_that_fails_whole_beside_one_that_does_not_is_named() -> None:
    other = [("elu", case.replace("4x3", "5x3")) for _, case in _where("elu")]
    failed = _where("elu", "pre", "f32", "normal")
    passed = {*_POINTS, *other} - set(failed)
    assert [c[:2] for c in cover(failed, passed)] == [("elu", "4x3-elu-b2-pre-f32-normal-s*")]
    seeded = [("elu", f"4x3-elu-b2-pre-f32-normal-s7.{draw}") for draw in range(3)]
    passed = {("elu", "5x3-elu-b2-pre-f32-normal-s7.1")}
    assert [c[:2] for c in cover(seeded, passed)] == [("elu", "4x3-elu-b2-pre-f32-normal-s7.*")]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_failed_is_covered_exactly_and_nothing_twice_over(seed: int) -> None:
    rng = random.Random(seed)
    failed = {point for point in _POINTS if rng.random() < (0.1, 0.5, 0.9)[seed % 3]}
    failed |= set(rng.choice([_where("f64"), _where("elu", "square"), _where("tanh", "pre")]))
    left_open = {point for point in _POINTS if point not in failed and rng.random() < 0.1}
    passed = set(_POINTS) - failed - left_open
    chosen = cover(failed, passed)

    def matched(points: set[Point], pattern: Sequence[Any]) -> set[Point]:
        return {(a, c) for a, c in points if fnmatchcase(a, pattern[0]) and fnmatchcase(c, pattern[1])}

    assert not any(matched(passed, one) for one in chosen)
    assert all(matched(failed, one) == set(one[2]) for one in chosen)
    assert set().union(*(one[2] for one in chosen)) == failed
    for one in chosen:
        assert failed - set().union(*(other[2] for other in chosen if other != one))
    shuffled = rng.sample(sorted(failed), len(failed))
    assert cover(shuffled, passed) == chosen


# Records.


def _record(folder: Path, verdicts: dict[str, list[Verdict]], entries: tuple[known.Expectation, ...] = ()) -> Path:
    """A record of these verdicts by adapter, and of the expectations that the run had."""
    parts, path = folder / "parts", folder / "record.jsonl"
    parts.mkdir()
    described = tuple(replace(describe(Numpy(), name), name=name, version="1.0") for name in verdicts)
    terms = ExpectationAudit(entries, described, Options("quick", 0), user_supplied=True)
    planned: list[tuple[str, str]] = []
    for number, (name, some) in enumerate(verdicts.items()):
        concerned = terms.of(name, "1.0")
        with_expectation = [
            replace(v, expectation=known.expectation_for(v, concerned)) if v.is_finding else v for v in some
        ]
        cases = list(dict.fromkeys(v.case for v in some))
        write_part(parts, number, name, [[v for v in with_expectation if v.case == case] for case in cases], concerned)
        planned += [(name, case) for case in cases]
    header = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": []}
    finish(path, parts, {**header, "adapters": [a.to_json() for a in described]}, planned, terms)
    return path


def _entries(path: Path) -> list[dict[str, Any]]:
    return tomllib.loads(proposed(path)[0]).get("expectation", [])


def _verdict(case: str, grade: Any = "wrong", check: Any = "k_terms", quantity: str = "k_1", **rest: Any) -> Verdict:
    activation = None if grade == "pass" else case.split("-")[1].split(".")[0]
    return Verdict(case, check, quantity, grade, 5.0, **{"activation": activation, **rest})


_ELU = ["4x3-elu-b2-none-f64-normal-s0", "4x3-elu-b2-none-f64-normal-s1"]
_TANH = ["4x3-tanh-b2-none-f64-normal-s0", "4x3-tanh-b2-none-f64-normal-s1"]


def test_adapters_that_fail_alike_are_told_together_where_no_other_is_called_alike(tmp_path: Path) -> None:
    bad, good = [_verdict(case) for case in _ELU], [_verdict(case, "pass") for case in _ELU]
    (tmp_path / "alike").mkdir()
    path = _record(tmp_path / "alike", {"torch": bad, "jax": good, "torch-func": bad})
    assert [entry["adapter"] for entry in _entries(path)] == ["torch*"]
    path = _record(tmp_path, {"torch": bad, "torchlet": good, "torch-func": bad})
    assert [entry["adapter"] for entry in _entries(path)] == [["torch", "torch-func"]]


def test_activations_and_checks_that_fail_alike_are_told_together(tmp_path: Path) -> None:
    failed = [_verdict(case, check=c, quantity=q) for case in (*_ELU, *_TANH)
              for c, q in (("forward", "z_1"), ("k_terms", "k_1"))]  # fmt: skip
    passed = [_verdict(case.replace("elu", "relu"), "pass", c, q) for case in _ELU
              for c, q in (("forward", "z_1"), ("k_terms", "k_1"))]  # fmt: skip
    (entry,) = _entries(_record(tmp_path, {"a": failed + passed}))
    assert (entry["activation"], entry["check"], entry["case"]) == (
        ["tanh", "elu"], ["forward", "k_terms"], "*-none-f64-normal-*",
    )  # fmt: skip


@pytest.mark.parametrize(("grades", "due"), [(("wrong", "wrong"), "wrong"), (("wrong", "inaccurate"), None)])
def test_a_grade_is_named_where_there_is_one(tmp_path: Path, grades: tuple[str, str], due: str | None) -> None:
    failed = [_verdict(case, grade) for case, grade in zip(_ELU, grades, strict=True)]
    (entry,) = _entries(_record(tmp_path, {"a": failed}))
    assert entry.get("grade") == due


def test_one_layer_that_fails_beside_one_of_another_activation_that_passes(tmp_path: Path) -> None:
    case = "4x3x2-elu.tanh-b2-none-f64-normal-s0"
    path = _record(tmp_path, {"a": [_verdict(case), _verdict(case, "pass", quantity="k_2")]})
    assert [entry["activation"] for entry in _entries(path)] == ["elu"]


def test_what_is_about_no_activation_is_expected_of_none(tmp_path: Path) -> None:
    broken = [_verdict(case, check="contract", quantity="observation", activation=None, message="has dtype float64; "
                       "it should be\nfloat32") for case in _ELU]  # fmt: skip
    sound = [_verdict(case, "pass", "contract", "observation") for case in _TANH]
    path = _record(tmp_path, {"a": broken + sound})
    (entry,) = _entries(path)
    assert entry["check"] == "contract"
    assert "activation" not in entry
    assert entry["case"] == "4x3-elu-b2-none-f64-normal-s*"
    assert "# has dtype float64; it should be float32\n" in proposed(path)[0]


def test_crashes_and_layouts_are_told_and_not_proposed(tmp_path: Path) -> None:
    probe = "3x3x3-relu-b2-none-f64-layout-s0"
    path = _record(
        tmp_path,
        {
            "a": [_verdict(_ELU[0], "errored", "contract", "program", activation=None, message="RuntimeError: no")],
            "b": [
                _verdict(probe, check="layout", quantity="weights", activation=None, message="other layout"),
                Verdict(_ELU[0], "contract", "all", "blocked", message="behind layout"),
            ],
        },
    )
    text, count = proposed(path)
    assert count == 0
    assert tomllib.loads(text) == {}
    assert "# Nothing failed that could be expected." in text
    assert "# a: 1 of the cases errored; a crash is never expected" in text
    assert "# b: its weights are not laid out as declared, which is never expected" in text
    assert "# b: some checks were blocked; what they find shows in a run with these expectations" in text


def test_what_still_applies_of_the_runs_own_expectations_is_kept_as_it_was(tmp_path: Path) -> None:
    met = known.Expectation("1.1", "a*", 'its "reason"', "https://example.org", "*", "k_terms", "elu", "wrong", ">=1")
    entries = (met, replace(met, id="1.2", activation="selu"), known.Expectation("2", "c", "r"))
    text, count = proposed(_record(tmp_path, {"a": [_verdict(case) for case in (*_ELU, *_TANH)]}, entries))
    kept, new = tomllib.loads(text)["expectation"]
    assert count == 1
    assert kept == {key: value for key, value in met.to_json().items() if key != "id"}
    assert (new["activation"], new["reason"]) == ("tanh", "")
    assert "# left out, as nothing met it: expectation 1.2 (a*, >=1, k_terms, selu, wrong)" in text
    assert "# left out, as nothing met it: expectation 2 (c)" in text


# From a run to its expectations, and back.


def _run(folder: Path, name: str, *arguments: str) -> tuple[int, Path]:
    report = folder / name
    done = kterm(
        "check", f"{MINIATURES}:SteepInSome", "--profile", "quick", "--report", str(report), *arguments, folder=folder
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, report


def test_with_reasons_the_proposals_make_the_same_run_conform(tmp_path: Path) -> None:
    code, report = _run(tmp_path, "first.jsonl", "--activation", "tanh", "--activation", "relu", "--activation", "elu")
    assert code == 1
    path = tmp_path / "proposed.toml"
    done = kterm("expect", str(report), "-o", str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{re.escape(str(path))}: \d+ new entr(y|ies), still without a reason\n", done.stdout)
    text = path.read_text(encoding="utf-8")
    assert kterm("expect", str(report), folder=tmp_path).stdout == text

    # A person is wanted.
    with pytest.raises(known.ExpectationError, match="entry 1: its reason is empty"):
        known.read(path)
    path.write_text(text.replace('reason = ""', 'reason = "too steep by 1e-6"'), encoding="utf-8")
    entries = known.read(path)
    assert {entry.activation for entry in entries} == {"tanh"}

    # Of the first run they cover each finding, and no tensor that passed.
    first = read(report)
    verdicts = [v for some in first.verdicts.values() for v in some]
    findings = [v for v in verdicts if v.is_unexpected]
    assert findings
    assert all(known.expectation_for(v, entries) for v in findings)
    failed = {(v.case, v.check, v.activation) for v in findings}
    for v in verdicts:
        if v.grade == "pass" and v.quantity.startswith("k_"):
            names = v.case.split("-")[1].split(".")
            activation = names[int(v.quantity[2:]) - 1] if len(names) > 1 else names[0]
            as_finding = replace(v, grade="wrong", activation=activation)
            assert (v.case, v.check, activation) in failed or not known.expectation_for(as_finding, entries), v

    code, report = _run(
        tmp_path, "second.jsonl", "--activation", "tanh", "--activation", "relu", "--activation", "elu",
        "--expectations", str(path),
    )  # fmt: skip
    second = read(report)
    assert {one.state for one in second.audited} == {"met"}
    assert (code, second.conforms) == (0, True), second.footer["accounting"]


def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    path, report = tmp_path / "there.toml", _record(tmp_path, {"a": [_verdict(case) for case in _ELU]})
    path.write_text("reasons", encoding="utf-8")
    for name, words in (
        ("there.toml", "perhaps with reasons in it; name a new file"),
        ("none/new.toml", "name a file"),
    ):
        done = kterm("expect", str(report), "-o", name, folder=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert words in done.stderr
    assert path.read_text(encoding="utf-8") == "reasons"


def test_what_is_no_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("{}\n", encoding="utf-8")
    for name in ("none.jsonl", "nowhere.jsonl"):
        done = kterm("expect", name, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.strip().splitlines()) == 1
        assert name in done.stderr
