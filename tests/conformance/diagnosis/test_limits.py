"""A mistake that begins beyond some z: what a report says of that z."""

import numpy as np
import pytest

from benchmarks.mistakes.unknown.score import MISTAKES_BY_NAME
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.diagnosis.hypotheses.activations import of_one_activation
from kterm.conformance.diagnosis.hypotheses.families import FAMILIES, formulas
from kterm.conformance.diagnosis.hypotheses.limits import bracket, with_bracket
from kterm.conformance.diagnosis.hypothesis import Hypothesis
from kterm.conformance.diagnosis.question import Question
from kterm.conformance.interfaces.api import check_adapter
from kterm.reference import Network, Parameters, Structure


def _question(z: list[float], dtype: str = "f32") -> Question:
    """A network of one softplus unit that gets these z."""
    structure = Structure(Network((1, 1), ("softplus",), "none"), len(z), dtype)
    x = np.array(z)[None, :, None]
    draw = Draw(Parameters((np.ones((1, 1, 1)),), ()), x, np.zeros_like(x), np.array([False]))
    return Question(structure, "tails", draw, {}, "x_1")


def _cut(limit: float) -> Hypothesis:
    text = f"softplus 0 below {limit:g}"
    return next(h for h in of_one_activation("softplus") if h.name == f"formula-forward@{text}")


def test_the_interval_is_that_between_the_nearest_numbers() -> None:
    limit = _cut(-20.0).limit
    assert limit is not None
    assert bracket(limit, [_question([-40, -22.5, -18.25, 3])]) == (-22.5, -18.25)
    assert bracket(limit, [_question([-40, -18.25]), _question([-21.0])]) == (-21.0, -18.25)
    assert bracket(limit, [_question([5.0])]) == (-np.inf, 5.0)


def test_a_number_at_which_the_formulas_hardly_differ_says_nothing() -> None:
    above = next(h for h in of_one_activation("softplus") if h.name == "formula@softplus linear above 20").limit
    assert above is not None
    # log(1 + exp(-16)) is 1e-7, below the last place of 16 in float32.
    assert bracket(above, [_question([12.0, 16.0, 25.0])])[0] < 12
    assert bracket(above, [_question([12.0, 16.0, 25.0], "f64")]) == (16.0, 25.0)


@pytest.mark.parametrize(
    ("z", "words"),
    [
        ([-22.504, -18.25], "softplus 0 below a limit between -22.51 and -18.25, in the forward pass alone"),
        ([-18.25], "softplus 0 below a limit under -18.25, in the forward pass alone"),
        ([-22.5], "softplus 0 below a limit over -22.5, in the forward pass alone"),
        ([], "softplus 0 below a limit, in the forward pass alone"),
    ],
)
def test_the_words_give_the_interval_rounded_outward(z: list[float], words: str) -> None:
    assert with_bracket(_cut(-20.0), [_question(z)]) == words


def test_what_has_no_limit_keeps_its_words() -> None:
    plain = next(h for h in of_one_activation("softplus") if h.limit is None)
    assert with_bracket(plain, []) == plain.mistake


def test_a_report_on_an_unknown_cut_states_an_interval_that_holds_it() -> None:
    results = check_adapter(MISTAKES_BY_NAME["softplus-cut"].make(True), profile="quick", dtypes=("f32",))
    (cause,) = results.causes
    (mistake,) = cause.mistakes
    low, high = mistake.mistake.partition(" between ")[2].split(",")[0].split(" and ")
    assert float(low) <= -17 <= float(high)


@pytest.mark.parametrize(
    ("c", "words"),
    [(1 + 9.7e-7, "(1 + 9.7e-07) times"), (1 - 2e-9, "(1 - 2e-09) times"), (1.7, "1.7 times")],
)
def test_a_factor_near_1_is_stated_by_its_distance(c: float, words: str) -> None:
    family = next(one for one in FAMILIES if one.name == "scaled-gradient")
    found = formulas(c, family, _question([1.0]).right, 1)
    assert f"{words} what it should be" in [one.text for one in found]
