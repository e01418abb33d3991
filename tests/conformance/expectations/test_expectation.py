"""Expectations: what they match, what they never match, their audit, and one line for each error in a file."""

from dataclasses import replace
from pathlib import Path

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance import Results, check_adapter
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.checks.verdict import Verdict, quantity_of, status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.records.record import read

from ...support.command import pytest_run
from ...support.frameworks import crashing, miniatures
from ...support.here import kterm_here

MINIATURES = Path(miniatures.__file__)
WRONG = Verdict("4x3-elu-b2-none-f32-normal-s0", "k_terms", "k_1", "wrong", 3.0, activation="elu")
ENTRY = Expectation("1", "jax*", "cancels", "https://example.org/1", "*-f32-*", "k_terms", "elu", "wrong")


# What an entry covers.


def _described(name: str, version: str, **rest: str) -> Description:
    own = {"framework": name, "framework_version": version}
    return replace(describe(Numpy(), name), name=name, version=version, **(own | rest))


def test_an_entry_covers_what_its_patterns_name_and_nothing_else() -> None:
    assert ENTRY.matches(WRONG)
    assert not ENTRY.matches(replace(WRONG, case="4x3-elu-b2-none-f64-normal-s0"))
    assert not ENTRY.matches(replace(WRONG, check="weight_gradients"))
    assert not ENTRY.matches(replace(WRONG, activation="selu"))
    assert not ENTRY.matches(replace(WRONG, grade="inaccurate"))
    assert ENTRY.concerns(_described("jax-vmap", "0.10.2"))
    assert not ENTRY.concerns(_described("torch", "0.10.2"))


@pytest.mark.parametrize("check", ["descent", "k_terms"])
def test_a_finding_in_a_descent_step_counts_as_one_of_descent_and_of_its_own_check(check: str) -> None:
    step = replace(WRONG, check="descent", step=2)
    assert replace(ENTRY, check=check).matches(step)
    assert not replace(ENTRY, check="forward").matches(step)
    assert not ENTRY.matches(replace(step, quantity="z_1"))


@pytest.mark.parametrize(
    ("name", "check", "layer"),
    [
        ("z_2", "forward", 2),
        ("outputs", "forward", None),
        ("E", "error", None),
        ("k_12", "k_terms", 12),
        ("dE/dW_1", "weight_gradients", 1),
        ("dE/db_4", "bias_gradients", 4),
        ("observation", None, None),
        ("all", None, None),
    ],
)
def test_a_quantity_is_known_by_its_name(name: str, check: str | None, layer: int | None) -> None:
    assert quantity_of(name) == (check, layer)


@pytest.mark.parametrize(
    ("versions", "version", "concerned"),
    [
        ("", "2.13.0+cpu", True),
        ("", "unknown", True),
        (">=2.13,<2.15", "2.13.0+cpu", True),
        ("==2.13.0", "2.13.0+cpu", True),
        (">=2.13,<2.15", "2.14.0.dev20260101+cu130", True),
        (">=2.13,<2.15", "2.15.0", False),
        ("<2.13", "2.13.0", False),
        (">=2", "unknown", False),
    ],
)
def test_an_entry_speaks_of_the_versions_that_it_names(versions: str, version: str, concerned: bool) -> None:
    by_name = replace(ENTRY, versions=versions)
    assert by_name.concerns(_described("jax", version)) == concerned
    derived = _described("equinox", "0.1", framework="jax", framework_version=version)
    assert replace(by_name, adapter="", framework="jax").concerns(derived) == concerned
    assert not by_name.concerns(derived)


def test_the_first_entry_that_covers_a_finding_excuses_it() -> None:
    entries = [replace(ENTRY, id="1", check="forward"), replace(ENTRY, id="2"), replace(ENTRY, id="3")]
    assert known.expectation_for(WRONG, entries) == "2"
    assert known.expectation_for(replace(WRONG, activation="tanh"), entries) is None


def test_an_expectation_never_excuses_a_crash() -> None:
    assert not Expectation("1", "*", "everything").matches(replace(WRONG, grade="errored"))
    assert status([replace(WRONG, grade="errored", expectation="1")]) == "errored"
    assert status([replace(WRONG, expectation="1")]) == "expected"
    assert status([replace(WRONG, expectation="1"), WRONG]) == "failed"


@pytest.mark.parametrize("pattern", ["*", "*-f32-*", "*-f64-*", "*-s1*", "*-normal-s[12]", "4x3-elu-*", "*-s2"])
def test_the_cases_of_groups_are_counted_as_one_by_one(pattern: str) -> None:
    entry = replace(ENTRY, case=pattern)
    groups = [[f"4x3-elu-b2-none-{dtype}-normal-s{i}" for i in range(13)] for dtype in ("f32", "f64")]
    assert entry.count_cases(groups) == sum(entry.matches_case(case) for some in groups for case in some)


def test_nor_a_wrong_layout() -> None:
    assert not Expectation("1", "*", "everything").matches(replace(WRONG, check="layout"))


# Files.


def _file(folder: Path, text: str) -> Path:
    path = folder / "expectations.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_array_of_patterns_stands_for_as_many_entries(tmp_path: Path) -> None:
    entry = "[[expectation]]\nadapter = 'a'\nreason = 'r'\n"
    several = entry + "case = ['*-f32-*', '*-f64-*']\nactivation = ['elu', 'selu']\nissue = 'i'"
    entries = known.read(_file(tmp_path, f"{entry}\n{several}"))
    assert [(e.id, e.case, e.activation) for e in entries] == [
        ("1", "*", "*"),
        ("2.1", "*-f32-*", "elu"),
        ("2.2", "*-f32-*", "selu"),
        ("2.3", "*-f64-*", "elu"),
        ("2.4", "*-f64-*", "selu"),
    ]
    assert [Expectation(**e.to_json()) for e in entries] == list(entries)


# What a run holds them to.

_STEEP = """
[[expectation]]
adapter = "steep*"
case = "*-f64-*"
check = "k_terms"
activation = ["tanh", "softsign"]
reason = "too steep by 1e-6"
"""
_TANH_ALONE = _STEEP.replace('["tanh", "softsign"]', '"tanh"')  # which is what the smoke profile shows
_ELU_TOO = _STEEP.replace('["tanh", "softsign"]', '["elu", "tanh"]')


def _checked(
    folder: Path,
    adapter: type[Numpy],
    text: str,
    dtypes: tuple[str, ...] = ("f64",),
    profile: str = "quick",
) -> Results:
    return check_adapter(adapter(), profile=profile, dtypes=dtypes, expectations=_file(folder, text))


def _states(results: Results) -> list[str]:
    return [one.state for one in results.audited]


def test_what_is_expected_and_met_conforms(tmp_path: Path) -> None:
    assert not check_adapter(miniatures.SteepInSome(), profile="smoke", dtypes=["f64"]).conforms
    results = _checked(tmp_path, miniatures.SteepInSome, _STEEP)
    assert results.conforms, str(results)
    assert [(one.id, one.state) for one in results.audited] == [("1.1", "met"), ("1.2", "met")]
    with_expectation = [v for some in results.verdicts.values() for v in some if v.expectation]
    assert {v.activation for v in with_expectation} == {"tanh", "softsign"}
    assert sum(one.findings for one in results.audited) == len(with_expectation)
    assert {v.check for v in with_expectation} == {"k_terms", "descent"}


def test_an_unexpected_pass_fails(tmp_path: Path) -> None:
    results = _checked(tmp_path, miniatures.SteepInSome, _ELU_TOO, profile="smoke")
    assert _states(results) == ["stale", "met"]
    assert not results.conforms
    assert results.failures == []
    label = "expectation 1.1 (steep*, *-f64-*, k_terms, elu)"
    cases = results.audited[0].cases
    assert cases > 0
    assert str(results) == f"{label}: nothing that it matches failed, in {cases:,} cases; remove it, or narrow it"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "adapter = 'steep*'\ncase = '*-f46-*'",
            "(steep*, *-f46-*): it matches no case of these adapters, in any profile, under seed 0; fix its patterns",
        ),
        (
            "adapter = 'step*'",
            "(step*): none of the adapters steep-in-some has this name; fix the name, or remove the entry",
        ),
        ("adapter = 'step*'\nversions = '>=0'", "(step*, >=0): none of the adapters"),
        ("framework = 'jacks'", "(jacks): none of the adapters steep-in-some has this framework; fix the name, or"),
        (
            "adapter = '*'\nactivation = 'elu'\nwitness = '*-tail-*'",
            "(*, elu): it matches no case that its witness names, under seed 0; fix its patterns, or remove it",
        ),
        ("adapter = '*'\ncase = '*-layout-*'", "(*, *-layout-*): it matches no case"),
    ],
)
def test_an_entry_that_matches_nothing_fails(tmp_path: Path, entry: str, words: str) -> None:
    text = f"{_TANH_ALONE}\n[[expectation]]\nreason = 'r'\n{entry}"
    results = _checked(tmp_path, miniatures.SteepInSome, text, profile="smoke")
    assert _states(results) == ["met", "unmatched"]
    assert not results.conforms
    assert results.audited[1].message.startswith(f"expectation 2 {words}")
    assert str(results) == results.audited[1].message


def test_an_entry_for_an_activation_that_is_not_declared_matches_nothing(tmp_path: Path) -> None:
    text = "[[expectation]]\nadapter = 'composed'\nreason = 'r'\nactivation = 'elu'"
    assert _states(_checked(tmp_path, miniatures.Composed, text, profile="smoke")) == ["unmatched"]


def test_a_crash_is_not_excused(tmp_path: Path) -> None:
    results = _checked(tmp_path, crashing.Raises, "[[expectation]]\nadapter = 'raises'\nreason = 'everything'")
    assert not results.conforms
    assert "errored" in results.statuses().values()
    assert {v.grade for v in results.failures} == {"errored"}
    # Its cases were not all answered, so that nothing can be said of the entry.
    assert _states(results) == ["open"]


def test_a_grade_that_an_entry_does_not_name_is_not_excused(tmp_path: Path) -> None:
    results = _checked(tmp_path, miniatures.SteepInSome, _STEEP + "grade = 'inaccurate'", profile="smoke")
    assert {v.grade for v in results.failures} == {"wrong"}
    assert not results.conforms
    assert _checked(tmp_path, miniatures.SteepInSome, _STEEP + "grade = 'wr*'", profile="smoke").conforms


def test_a_version_that_an_entry_does_not_name_is_not_excused_and_not_held_to_it(tmp_path: Path) -> None:
    results = _checked(tmp_path, miniatures.SteepInSome, _STEEP + "versions = '<1'", profile="smoke")
    assert "failed" in results.statuses().values()
    assert results.audited == ()
    results = _checked(
        tmp_path, miniatures.Miniature, _STEEP.replace("steep", "so") + "versions = '<1'", profile="smoke"
    )
    assert results.conforms
    assert _checked(tmp_path, miniatures.SteepInSome, _STEEP + "versions = '>=1'", profile="smoke").conforms


@pytest.mark.parametrize(
    ("dtypes", "activations", "state"),
    [
        ((), (), "stale"),
        (("f64",), (), "stale"),
        (("f32",), (), "open"),
        (("f64",), ("elu", "tanh"), "open"),
    ],
)
def test_a_run_that_is_kept_to_some_cases_judges_what_it_holds_whole(
    tmp_path: Path, dtypes: tuple[str, ...], activations: tuple[str, ...], state: str
) -> None:
    path = _file(tmp_path, "[[expectation]]\nadapter = '*'\ncase = '*-f64-*'\nactivation = 'elu'\nreason = 'r'")
    sound = miniatures.Miniature()
    results = check_adapter(sound, profile="smoke", dtypes=dtypes, activations=activations, expectations=path)
    assert _states(results) == [state]
    assert results.conforms == (state == "open")


def test_a_sample_of_the_structures_does_not_make_an_entry_stale(tmp_path: Path) -> None:
    class Sampled(miniatures.Miniature):
        max_structures = 3

    text = "[[expectation]]\nadapter = '*'\nactivation = 'elu'\nreason = 'r'"
    assert _states(_checked(tmp_path, Sampled, text)) == ["open"]
    assert _states(_checked(tmp_path, Sampled, text + "\ncase = '*-f46-*'")) == ["unmatched"]


def test_only_witnesses_make_an_entry_stale(tmp_path: Path) -> None:
    text = "[[expectation]]\nadapter = '*'\nactivation = 'elu'\nreason = 'r'\nwitness = "
    assert _states(_checked(tmp_path, miniatures.Miniature, text + "'*-f64-tails-*'")) == ["stale"]
    assert _states(_checked(tmp_path, miniatures.Miniature, text + "'*-f32-tails-*'")) == ["open"]
    # A finding elsewhere meets it as well.
    text = _STEEP + "witness = '*-degenerate-*'"
    assert _states(_checked(tmp_path, miniatures.SteepInSome, text)) == ["met", "met"]


# Findings of the contract, of a descent and of a batch.


def test_an_expected_breach_of_the_contract_leaves_nothing_to_judge(tmp_path: Path) -> None:
    text = "[[expectation]]\nadapter = 'wrong-shape'\ncheck = 'contract'\nreason = 'bias gradients are rows'"
    results = _checked(tmp_path, miniatures.WrongShape, text, ("f32",), "smoke")
    assert results.conforms, str(results)
    checks = {case: {v.check for v in some} for case, some in results.verdicts.items()}
    assert {name for case, some in checks.items() if "-none-" not in case for name in some} == {"contract"}


def test_a_number_that_is_not_finite_can_be_expected_of_an_activation(tmp_path: Path) -> None:
    text = "[[expectation]]\nadapter = '*'\ncheck = 'contract'\nreason = 'NaN where x is large'\nactivation = "
    results = _checked(tmp_path, miniatures.NotANumber, text + "'*'", profile="smoke")
    assert results.conforms, str(results)
    with_expectation = [v for some in results.verdicts.values() for v in some if v.expectation]
    assert all(v.activation == v.case.split("-")[1].split(".")[0] and v.quantity == "dE/dW_1" for v in with_expectation)
    one, *others = sorted({v.activation or "" for v in with_expectation})
    results = _checked(tmp_path, miniatures.NotANumber, f"{text}'{one}'", profile="smoke")
    assert {v.activation for some in results.verdicts.values() for v in some if v.expectation} == {one}
    assert {v.activation for v in results.failures} == set(others) != set()


def test_what_is_left_after_an_expected_finding_is_judged(tmp_path: Path) -> None:
    def entry(check: str) -> str:
        return f"[[expectation]]\nadapter = '*'\ncheck = '{check}'\nreason = 'weight decay'\n"

    results = _checked(tmp_path, miniatures.WeightDecay, entry("weight_gradients"), profile="smoke")
    assert {v.check for v in results.failures} == {"batch"}
    results = _checked(tmp_path, miniatures.WeightDecay, entry("weight_gradients") + entry("batch"), profile="smoke")
    assert results.conforms, str(results)


# On the command line.


def test_a_run_with_a_stale_entry_fails_and_says_so(tmp_path: Path) -> None:
    path, report = _file(tmp_path, _ELU_TOO), tmp_path / "record.jsonl"
    run = ("--profile", "smoke", "--dtype", "f64", "--expectations", str(path), "--report", str(report))
    done = kterm_here("check", f"{MINIATURES}:SteepInSome", *run, "-n", "0", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "expectation 1.1 (steep*, *-f64-*, k_terms, elu): nothing that it matches failed" in done.stdout
    assert "0 failed" in done.stdout
    assert "expected in " in done.stdout
    record = read(report)
    assert not record.conforms
    assert [one.state for one in record.audited] == ["stale", "met"]
    assert record.footer["accounting"]["failed"] == 0


def test_a_selection_under_pytest_judges_no_entry_by_what_was_not_selected(tmp_path: Path) -> None:
    text = "[[expectation]]\nadapter = 'sound'\nreason = 'r'\ncase = "
    for case, code in (("'*'", 0), ("'*-f32-degenerate-*'", 1), ("'*-f33-*'", 1)):
        done = pytest_run(
            "--pyargs", "kterm.conformance", "-p", "no:cacheprovider", "-q", "-n", "0", "-k", "degenerate and f32",
            "--kterm-adapter", f"{MINIATURES}:Miniature", "--kterm-profile", "quick",
            "--kterm-expectations", str(_file(tmp_path, text + case)), folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert ("expectation 1" in done.stdout) == bool(code)
