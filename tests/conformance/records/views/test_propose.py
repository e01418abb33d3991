"""Proposed expectations match exactly what failed, in few entries."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import Options
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.records.parts import finish, write_part
from kterm.conformance.records.views.propose import propose_expectations


def _record(
    folder: Path,
    verdicts: dict[str, list[Verdict]],
    entries: tuple[known.Expectation, ...] = (),
    frameworks: dict[str, str] | None = None,
) -> Path:
    """A record of these verdicts by adapter, and of the expectations that the run had. An adapter that is not in
    `frameworks` is the only one of its framework.
    """
    parts, path = folder / "parts", folder / "record.jsonl"
    parts.mkdir()
    described = tuple(
        replace(describe(Numpy(), name), name=name, version="1.0", framework=(frameworks or {}).get(name, name))
        for name in verdicts
    )
    terms = ExpectationAudit(entries, described, Options("quick", 0), user_supplied=True)
    planned: list[tuple[str, str]] = []
    for number, (name, some) in enumerate(verdicts.items()):
        concerned = terms.of(described[number])
        with_expectation = [
            replace(v, expectation=known.expectation_for(v, concerned)) if v.is_finding else v for v in some
        ]
        cases = list(dict.fromkeys(v.case for v in some))
        write_part(parts, number, name, [[v for v in with_expectation if v.case == case] for case in cases], concerned)
        planned += [(name, case) for case in cases]
    header = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": [], "level": "componentwise"}
    finish(path, parts, {**header, "adapters": [a.to_json() for a in described]}, planned, terms)
    return path


def _entries(path: Path) -> list[dict[str, Any]]:
    return tomllib.loads(propose_expectations(path, against_plan=False)[0]).get("expectation", [])


def _verdict(case: str, grade: Any = "wrong", check: Any = "k_terms", quantity: str = "k_1", **rest: Any) -> Verdict:
    activation = None if grade == "pass" else case.split("-")[1].split(".")[0]
    return Verdict(case, check, quantity, grade, 5.0, **{"activation": activation, **rest})


_ELU = ["4x3-elu-b2-none-f64-normal-s0", "4x3-elu-b2-none-f64-normal-s1"]
_TANH = ["4x3-tanh-b2-none-f64-normal-s0", "4x3-tanh-b2-none-f64-normal-s1"]


def _subjects(path: Path) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in ("framework", "adapter") if key in entry} for entry in _entries(path)]


def test_a_failure_of_all_adapters_of_a_framework_is_the_frameworks(tmp_path: Path) -> None:
    bad, good = [_verdict(case) for case in _ELU], [_verdict(case, "pass") for case in _ELU]
    frameworks = {"torch": "torch", "torch-func": "torch", "equinox": "jax", "jax": "jax", "mine*": "mine*"}
    for number, (failed, due) in enumerate(
        [
            (("torch", "torch-func"), [{"framework": "torch"}]),
            (("torch-func",), [{"adapter": "torch-func"}]),
            (("equinox", "mine*"), [{"framework": "mine[*]"}, {"adapter": "equinox"}]),
            (("torch", "torch-func", "jax", "equinox"), [{"framework": ["jax", "torch"]}]),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = _record(folder, {n: bad if n in failed else good for n in frameworks}, frameworks=frameworks)
        assert _subjects(path) == due
        (worst,) = {
            line for line in propose_expectations(path, against_plan=False)[0].splitlines() if " on mine*:" in line
        } or {""}
        assert bool(worst) == ("mine*" in failed)


def test_activations_and_checks_with_the_same_failures_share_an_entry(tmp_path: Path) -> None:
    failed = [_verdict(case, check=c, quantity=q) for case in (*_ELU, *_TANH)
              for c, q in (("forward", "z_1"), ("k_terms", "k_1"))]  # fmt: skip
    passed = [_verdict(case.replace("elu", "relu"), "pass", c, q) for case in _ELU
              for c, q in (("forward", "z_1"), ("k_terms", "k_1"))]  # fmt: skip
    (entry,) = _entries(_record(tmp_path, {"a": failed + passed}))
    assert (entry["activation"], entry["check"], entry["case"]) == (
        ["tanh", "elu"], ["forward", "k_terms"], "*-none-f64-normal-*",
    )  # fmt: skip


@pytest.mark.parametrize(("grades", "due"), [(("wrong", "wrong"), "wrong"), (("wrong", "inaccurate"), None)])
def test_a_grade_is_named_if_all_findings_have_it(tmp_path: Path, grades: tuple[str, str], due: str | None) -> None:
    failed = [_verdict(case, grade) for case, grade in zip(_ELU, grades, strict=True)]
    (entry,) = _entries(_record(tmp_path, {"a": failed}))
    assert entry.get("grade") == due


def test_one_layer_that_fails_beside_one_of_another_activation_that_passes(tmp_path: Path) -> None:
    case = "4x3x2-elu.tanh-b2-none-f64-normal-s0"
    path = _record(tmp_path, {"a": [_verdict(case), _verdict(case, "pass", quantity="k_2")]})
    assert [entry["activation"] for entry in _entries(path)] == ["elu"]


def test_a_finding_about_no_activation_has_none_in_its_entry(tmp_path: Path) -> None:
    broken = [_verdict(case, check="contract", quantity="observation", activation=None, message="has dtype float64; "
                       "it should be\nfloat32") for case in _ELU]  # fmt: skip
    sound = [_verdict(case, "pass", "contract", "observation") for case in _TANH]
    path = _record(tmp_path, {"a": broken + sound})
    (entry,) = _entries(path)
    assert entry["check"] == "contract"
    assert "activation" not in entry
    assert entry["case"] == "4x3-elu-b2-none-f64-normal-s*"
    assert "# has dtype float64; it should be float32\n" in propose_expectations(path, against_plan=False)[0]


def test_a_dtype_that_comes_back_wider_has_an_entry_of_its_own(tmp_path: Path) -> None:
    """The finding is on the first case of a structure, whose other cases pass, and so does its own form."""
    one = {"check": "contract", "quantity": "dtype", "activation": None, "message": "E comes back as float64"}
    cases = [f"4x3-elu-b{batch}-none-f32-normal-s{draw}" for batch in (2, 3) for draw in (0, 1)]
    right = [f"4x3-elu-b2-none-f64-normal-s{draw}" for draw in (0, 1)]
    passes = [_verdict(case, "pass", "contract", "observation", activation=None) for case in (*cases, *right)]
    path = _record(tmp_path, {"a": [*passes, *(_verdict(case, **one) for case in cases[::2])]})
    (entry,) = _entries(path)
    assert (entry["check"], entry["quantity"]) == ("contract", "dtype")
    assert entry["case"] == "*-none-f32-normal-*"
    assert "activation" not in entry


def test_other_bits_and_wrong_answers_of_the_same_call_have_entries_with_their_grades(tmp_path: Path) -> None:
    same = {"check": "contract", "quantity": "same call twice", "activation": None, "message": "other bits"}
    found = [_verdict(_ELU[0], "inaccurate", **same), _verdict(_TANH[0], "wrong", **same)]
    entries = _entries(_record(tmp_path, {"a": found}))
    assert sorted(entry["grade"] for entry in entries) == ["inaccurate", "wrong"]
    assert {entry["quantity"] for entry in entries} == {"same call twice"}


def test_crashes_and_layouts_are_told_and_not_propose_expectations(tmp_path: Path) -> None:
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
    text, count = propose_expectations(path, against_plan=False)
    assert count == 0
    assert tomllib.loads(text) == {}
    assert "# No finding in this run can be expected." in text
    assert "# a: 1 case errored; errors cannot be expected" in text
    assert "# b: its weights are not laid out as declared; that cannot be expected" in text
    assert "# b: some checks were blocked; run with these expectations to see what they find" in text


def test_expectations_of_the_run_that_still_apply_are_kept_unchanged(tmp_path: Path) -> None:
    met = known.Expectation("1.1", "a*", 'its "reason"', "https://example.org", "*", "k_terms", "elu", "wrong", ">=1")
    entries = (met, replace(met, id="1.2", activation="selu"), known.Expectation("2", "c", "r"))
    text, count = propose_expectations(
        _record(tmp_path, {"a": [_verdict(case) for case in (*_ELU, *_TANH)]}, entries), against_plan=False
    )
    kept, new = tomllib.loads(text)["expectation"]
    assert count == 1
    assert kept == {key: value for key, value in met.to_json().items() if key != "id"}
    assert (new["activation"], new["reason"]) == ("tanh", "")
    assert "# left out because it matched nothing: expectation 1.2 (a*, >=1, k_terms, selu, wrong)" in text
    assert "# left out because it matched nothing: expectation 2 (c)" in text


def test_a_formula_and_a_size_are_kept_and_so_is_an_entry_for_every_adapter(tmp_path: Path) -> None:
    by_formula = _verdict("4x3-softplus-b2-none-f64-tails-s0", formulas=("1",))
    by_size = _verdict(_TANH[0], slack=1e-9)
    entries = (
        known.Expectation("1", framework="*", reason="r", formula="softplus-threshold", parameters={"threshold": 20}),
        known.Expectation("2", "*", "s", activation="tanh", size="1e-8"),
    )
    path = _record(tmp_path, {"a": [by_formula, by_size]}, entries)
    kept = {entry["reason"]: entry for entry in _entries(path)}
    assert list(kept.values()) == [kept["s"], kept["r"]]
    for entry in entries:
        assert kept[entry.reason] == {key: value for key, value in entry.to_json().items() if key != "id"}
