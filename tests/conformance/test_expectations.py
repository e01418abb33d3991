"""Expectations: what they cover, what they never excuse, and one line for each way a file can be wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from kterm.conformance import expectations as known
from kterm.conformance.expectations import Expectation, ExpectationError
from kterm.conformance.verdict import Verdict, status

WRONG = Verdict("4x3-elu-b2-none-f32-normal-s0", "k_terms", "k_1", "wrong", 3.0, activation="elu")
ENTRY = Expectation("jax*", "cancels", "https://example.org/1", "*-f32-*", "k_terms", "elu")


def test_an_entry_covers_what_its_patterns_name_and_nothing_else() -> None:
    assert ENTRY.covers("jax-vmap", WRONG)
    assert not ENTRY.covers("torch", WRONG)
    assert not ENTRY.covers("jax", replace(WRONG, case="4x3-elu-b2-none-f64-normal-s0"))
    assert not ENTRY.covers("jax", replace(WRONG, check="weight_gradients"))
    assert not ENTRY.covers("jax", replace(WRONG, activation="selu"))


def test_the_reason_comes_with_its_link() -> None:
    assert known.excuse("jax", WRONG, [ENTRY]) == "cancels (https://example.org/1)"
    assert known.excuse("torch", WRONG, [ENTRY]) is None


def test_an_expectation_never_excuses_a_crash() -> None:
    errored = replace(WRONG, grade="errored", expectation="cancels")
    assert status([errored]) == "errored"
    assert status([replace(WRONG, expectation="cancels")]) == "expected"
    assert status([replace(WRONG, expectation="cancels"), WRONG]) == "failed"


def test_the_shipped_entries_have_reasons_and_links() -> None:
    entries = known.read(known.SHIPPED)
    assert entries
    assert all(entry.reason and entry.link.startswith("https://") for entry in entries)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml", "is not TOML"),
        ("[other]\na = 1", "give"),
        ("[[expectation]]\nadapter = 'a'\nlink = 'l'", "entry 1: has no reason; write one"),
        ("[[expectation]]\nadapter = 'a'\nreason = ' '\nlink = 'l'", "entry 1: reason should be a non-empty string"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'", "entry 1: has no link; write one"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nlink = 'l'\ncolour = 'red'", "unknown key 'colour'"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nlink = 'l'\ncheck = 'gradient'", "matches none of contract"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExpectationError, match=words.replace("[", r"\[")) as caught:
        known.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExpectationError, match="name a readable file"):
        known.read(tmp_path / "none.toml")
