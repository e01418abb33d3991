"""Files of expectations that are refused: each in one line, with the entry and the fix."""

from pathlib import Path

import pytest

from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import ExpectationError


def _file(folder: Path, text: str) -> Path:
    path = folder / "expectations.toml"
    path.write_text(text, encoding="utf-8")
    return path


_FORMULA = "[[expectation]]\nadapter = 'a'\nreason = 'r'\nformula = "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml", "is not TOML"),
        ("[other]\na = 1", "give"),
        ("expectation = [1]", "entry 1: is not a table"),
        ("[[expectation]]\nreason = 'r'", "entry 1: has no framework and no adapter; write one of them"),
        ("[[expectation]]\nreason = 'r'\nadapter = 'a'\nframework = 'f'", "names a framework and an adapter; keep one"),
        ("[[expectation]]\nadapter = 'a'", "entry 1: has no reason; write one"),
        ("[[expectation]]\nadapter = 'a'\nreason = ' '", "entry 1: its reason is empty; write why"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nissue = ''", "issue should be a non-empty string"),
        ("[[expectation]]\nadapter = 'a'\nreason = ['r']", "reason should be a non-empty string"),
        ("[[expectation]]\nadapter = []\nreason = 'r'", "adapter should be a non-empty string or an array of them"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nversions = 2.13", "versions should be a non-empty string"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nlink = 'l'", "unknown key 'link'; known are activation, ada"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nid = 'x'", "unknown key 'id'"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\ncheck = 'gradient'", "'gradient' matches none of contract"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\ncheck = 'layout'", "'layout' matches none of contract"),
        (
            "[[expectation]]\nadapter = 'a'\nreason = 'r'\nactivation = ['elu', 'rellu']",
            "'rellu' matches none of ident",
        ),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\ngrade = 'errored'", "matches none of inaccurate, wrong"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nsize = '2 ulp'", "size '2 ulp' is not a size; write one such"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nsize = '-1 u'", "is not a size"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nsize = 'u'", "is not a size"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nversions = '2.13'", "'2.13' is not a version specifier; write"),
        (_FORMULA + "'sofplus'", "entry 1: formula 'sofplus' is unknown; known are softplus-threshold, hard"),
        (_FORMULA + "''", "formula should be a non-empty string"),
        (_FORMULA + "'softplus-threshold'", "needs parameters: threshold; write parameters = { threshold = ... }"),
        (
            _FORMULA + "'softplus-threshold'\nparameters = {threshold = 20, beta = 1}",
            "formula softplus-threshold has no parameter 'beta'; it has threshold",
        ),
        (
            _FORMULA + "'softplus-threshold'\nparameters = {threshold = 'x'}",
            "'x' of .* is wrong; give a num",
        ),
        (
            _FORMULA + "'hard-sigmoid-sixth'\nparameters = {format = 32}",
            "format = 32 .* give one of f64, f32",
        ),
        (_FORMULA + "'flush-to-zero'\nparameters = {at = 0}", "flush-to-zero has no parameter 'at'; it has none"),
        (_FORMULA + "'slope-from-expm1'\nactivation = 'tanh'", "is about elu, selu, celu; name one of them as activ"),
        (_FORMULA + "'slope-from-expm1'\nparameters = 20", "parameters should be a table such as { threshold = 20 }"),
        ("[[expectation]]\nadapter = 'a'\nreason = 'r'\nparameters = {a = 1}", "has parameters and no formula; write"),
        (
            f"[[expectation]]\nadapter = '{'a' * 1001}'\nreason = 'r'",
            "adapter is longer than 1,000 characters; write a",
        ),
        (f"[[expectation]]\nadapter = 'a'\nreason = '{'r' * 10_001}'", "reason is longer than 10,000 characters"),
        (f"[[expectation]]\nadapter = 'a'\nreason = 'r'\n{'k' * 9999} = 1", "unknown key 'kkk"),
        (
            f"[[expectation]]\nreason = 'r'\nadapter = {['a'] * 200}\ncase = {['*'] * 200}",
            "more than 10,000 entries; use",
        ),
        (f"a = {'[' * 9999}", "is nested too deeply"),
        ("#" * (2**20 + 1), "has more than 1,048,576 bytes; use wider patterns"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ExpectationError, match=words.replace("[", r"\[")) as caught:
        known.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExpectationError, match="name a readable file"):
        known.read(tmp_path / "none.toml")
