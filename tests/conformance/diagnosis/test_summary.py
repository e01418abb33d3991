"""The causes of a run: earned over all cases, described with counts, and the same from what a worker stored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.causes import Cause
from kterm.conformance.diagnosis.diagnose import locate_failures
from kterm.conformance.diagnosis.evidence import LEAST_BITS, Account
from kterm.conformance.diagnosis.features import describe_cases
from kterm.conformance.diagnosis.hypothesis import Hypothesis
from kterm.conformance.diagnosis.question import load, save
from kterm.conformance.diagnosis.summary import result_of, summarize_failures
from kterm.conformance.evaluation.kills.recording import hide_intermediates
from kterm.conformance.expectations.expectation import SHIPPED, matcher, read
from kterm.conformance.mutants import MUTANTS
from kterm.conformance.mutants.loading import loaded
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Structure
from kterm.reference.steps import Work
from kterm.reference.value import Value

from ...support.planted import causes_of, with_changes

GROUPS = (
    "4x6x5x3-tanh.softplus.sigmoid-b5-pre-f64-normal",
    "3x5x6x4-sigmoid.tanh.identity-b8-pre-f32-normal",
    "5x4x6-softplus.tanh-b6-post-f64-normal",
)


def _where(holds: Callable[[Work, int], bool], name: str = "no-slope") -> Cause:
    """The one cause of a mutant that is made in some networks only."""
    change = MUTANTS[name].changes["k"]

    def made(w: Work, i: int, right: Callable[[], Value]) -> Value:
        return change(w, i, right) if holds(w, i) else right()

    (cause,) = causes_of(with_changes({"k": made}), GROUPS)
    return cause


def test_a_mistake_is_no_fact_if_passing_cases_would_show_it() -> None:
    cause = _where(lambda w, i: w.batch % 2 == 1)
    assert not cause.mistakes
    assert "fails in all 3 cases with an odd batch, in none of 6 others" in cause.description
    assert any(
        "equal the rule with no f' at all, but 2 of 2 passing cases would show it too" in t for t in cause.description
    )


def test_a_mistake_is_no_fact_if_failing_cases_contradict_it() -> None:
    """It is made in every network, and in one of them something else as well."""
    change = MUTANTS["no-slope"].changes["k"]

    def made(w: Work, i: int, right: Callable[[], Value]) -> Value:
        k = change(w, i, right)
        return k if w.batch != 6 else k + k * k

    found = causes_of(with_changes({"k": made}), GROUPS)
    assert not any(cause.mistakes for cause in found)
    assert any("in which that would show do not" in line for cause in found for line in cause.description), found


def test_a_mistake_where_one_activation_is_used_is_named_so() -> None:
    cause = _where(lambda w, i: w.name(i) == "tanh", "slope-twice")
    assert [e.mistake for e in cause.mistakes] == ["f' applied twice, where the activation is tanh"]
    assert cause.is_fact
    assert cause.compared == 9


def test_questions_that_a_worker_stored_give_the_same_causes(tmp_path: Path) -> None:
    case = parse_case(f"{GROUPS[0]}-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0, 1, 2))
    adapter = with_changes(MUTANTS["accumulated"].changes)
    located = locate_failures(group, examine(group, LocalRunner(adapter)))
    save(tmp_path / "0.npz", located.questions)
    described = describe(adapter, "numpy")
    kept = load(tmp_path / "0.npz", described)
    assert [(one.first, one.cases) for one in kept] == [(one.first, one.cases) for one in located.questions]
    causes = [
        summarize_failures(described, [result_of(group, located.verdicts, some)]) for some in (located.questions, kept)
    ]
    assert causes[0] == causes[1]
    assert [e.name for e in causes[0][0].mistakes] == ["accumulated"]
    assert Cause.from_json(causes[0][0].to_json(), [causes[0][0].worst]).mistakes


# Evidence.


def _account(bits: float, entries: int, left: float = 0.5) -> Account:
    best = bits / entries
    return Account(3, bits, entries, entries * left**2, (best, best))


@pytest.mark.parametrize(
    ("account", "fitted", "is_enough"),
    [
        (_account(LEAST_BITS + 1, 4), 0, True),
        (_account(LEAST_BITS - 1, 4), 0, False),  # as a few entries just above the tolerance
        (_account(200.0, 100), 0, False),  # 4 times nearer than the rule: not clearly better
        (_account(300.0, 100, left=2.5), 0, False),  # what is left is no rounding
        (_account(LEAST_BITS + 1, 2), 1, False),  # one of two entries was used up by the number in it
        (Account(), 0, False),
    ],
)
def test_what_makes_a_fact(account: Account, fitted: int, is_enough: bool) -> None:
    assert account.is_evidence_for(Hypothesis("one", "something wrong", fitted=fitted)) == is_enough


# Descriptions.


def _case(width: int, batch: int, draw: int, activation: str = "tanh") -> str:
    return f"{width}x3-{activation}-b{batch}-pre-f32-normal-s{draw}"


@pytest.mark.parametrize(
    ("failing", "passing", "said"),
    [
        (
            [_case(w, 4, i) for w in (70, 90) for i in range(3)],
            [_case(w, 4, i) for w in (8, 64) for i in range(5)],
            "fails in all 6 cases with over 64 inputs of a layer, in none of 10 others",
        ),
        (
            [_case(8, 5, 0), _case(8, 7, 0), _case(8, 11, 0)],
            [_case(8, 4, 0), _case(8, 8, 0)],
            "fails in all 3 cases with an odd batch, in none of 2 others",
        ),
        (
            [_case(8, 4, i, "sin") for i in range(4)],
            [*(_case(8, 4, i) for i in range(4)), _case(8, 4, 9, "sin")],
            "fails in 4 of 5 cases with a layer of sin, in none of 4 others",
        ),
        ([_case(8, 4, 0)], [_case(8, 4, 1)], ""),
        ([_case(8, 4, 0)], [], ""),
    ],
)
def test_failing_cases_are_described_by_what_separates_them(failing: list[str], passing: list[str], said: str) -> None:
    assert describe_cases(failing, passing) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: np.where(a > 1, a * 0.5, a), "with a value over"),
        (lambda a: np.where(a < 0, a * (1 + 1e-3), a), "with a value below 0, none of"),
        (lambda a: a * (1 + 1e-3), "one factor in all cases: 1.001"),
        (lambda a: a + np.sign(a) * 1e-3 * np.abs(a) ** 3, "the error grows as |value| to the power 3"),
        (lambda a: a * (1 - 1e-3 - 1e-4 * np.sin(1e3 * a)), "always too near to 0"),
        (lambda a: a.astype(np.float16).astype(float) * 1.5, "too far from 0"),
    ],
)
def test_wrong_entries_are_described_by_which_they_are_and_their_size(
    change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    adapter = with_changes({"z": lambda w, i, right: right().through(change)})
    found = causes_of(adapter, GROUPS[::2])
    lines = [line for cause in found for line in (*cause.description, *(e.mistake for e in cause.mistakes))]
    assert any(said in line or "1.001 times" in line for line in lines), lines


class _Raises(Numpy):
    def build(self, structure: Structure) -> Program:
        raise RuntimeError("no kernel")


def test_a_group_that_fails_in_words_is_one_cause() -> None:
    (cause,) = causes_of(_Raises(), GROUPS)
    assert cause.cases == 9
    assert "no kernel" in cause.worst.message
    assert not cause.mistakes


@pytest.mark.parametrize(
    ("mutant", "groups", "says"),
    [
        # The inputs of a descent stay, so that these two give the same numbers.
        (
            "weights-ignored",
            GROUPS,
            {
                "the numbers of the program's first call: an answer kept by too little",
                "the weights and biases of the program's first call",
            },
        ),
        (
            "stale-dtype",
            (GROUPS[0], "3x2x5-sigmoid.tanh-b7-pre-f64-twins"),
            {"everything computed in f32: a program reused whatever its dtype"},
        ),
    ],
)
def test_a_program_or_an_answer_that_is_kept_by_too_little_is_named(
    mutant: str, groups: tuple[str, ...], says: set[str]
) -> None:
    (cause,) = causes_of(loaded("numpy", None, mutant), groups)
    assert {one.mistake for one in cause.mistakes} == says
    assert cause.is_fact


def test_a_program_of_another_dtype_is_no_explanation_where_nothing_is_reused() -> None:
    (cause,) = causes_of(loaded("numpy", None, "float32-inside"), (GROUPS[0], "3x2x5-sigmoid.tanh-b7-pre-f64-twins"))
    assert [one.mistake for one in cause.mistakes] == ["everything computed in f32"]


def test_what_the_framework_is_known_to_compute_speaks_against_no_mistake() -> None:
    """Softplus that is the identity above 20 changes the gradients of a network that shows nothing else."""
    pytest.importorskip("torch")
    adapter = loaded("torch", None, "rate-inside")
    described = describe(adapter, "torch")
    entries = tuple(e for e in read(SHIPPED) if e.concerns(described))
    runner = hide_intermediates(LocalRunner(adapter, "torch"))
    results = []
    tails = "2x3x2-softplus.tanh-b4-none-f64-tails"
    for name in ("3x4x2-tanh.sigmoid-b5-pre-f64-normal", "4x5x3x2-sigmoid.tanh.identity-b6-pre-f64-normal", tails):
        case = parse_case(f"{name}-s0", tuple(REGIMES))
        group = Group(case.structure, case.regime, 0, (0, 1, 2))
        examination = examine(group, runner, matcher(entries))
        located = locate_failures(group, examination, matcher(entries))
        results.append(result_of(group, located.verdicts, located.questions))
    assert any(question.departs_as_known for question in results[-1].questions)
    assert not any(question.departs_as_known for result in results[:2] for question in result.questions)
    first, *others = summarize_failures(described, results)
    assert [one.name for one in first.mistakes] == ["rate-inside"]
    # With the formula as part of the rule, the mistake explains these answers too.
    assert not others
    assert first.cases == 9


def test_a_finding_in_words_has_nothing_of_another_finding_in_its_case() -> None:
    """A case may have a finding about dtypes and numbers that are wrong only componentwise: the first is shown."""
    adapter = loaded("numpy", mutant_name="no-slope-hidden")
    case = parse_case("4x6x5x3-tanh.softplus.sigmoid-b5-pre-f32-normal-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0,))
    located = locate_failures(group, examine(group, LocalRunner(adapter)))
    result = result_of(group, located.verdicts, located.questions)
    assert result.questions
    message = "E comes back as float64 where float32 is asked for; the numbers are judged as f32; declare it"
    dtype = Verdict(case.id, "contract", "dtype", "wrong", message=message)
    (cause,) = summarize_failures(describe(adapter, "numpy"), [replace(result, failing=(dtype,))])
    assert cause.worst == dtype
    assert (cause.mistakes, cause.description, cause.compared) == ((), (), 0)


NARROW = "4x{}x5-tanh.relu-b5-pre-f64-normal-s{}"


@pytest.mark.parametrize(
    ("failing", "passing", "said"),
    [
        (
            [NARROW.format(1, i) for i in range(3)] + ["6x3x1x9x2-tanh-b3-pre-f64-normal-s0"],
            [NARROW.format(n, 0) for n in (2, 3, 9)] + ["3x1-tanh-b1-pre-f64-normal-s0"] * 2,
            "fails in all 4 cases with up to 1 units of the narrowest hidden layer, in none of 5 others",
        ),
        (
            ["9x3x4-tanh-b5-pre-f64-normal-s0", "3x9x4-tanh-b6-pre-f64-normal-s0", "3x4x9-tanh-b7-pre-f64-normal-s0"],
            ["8x3x4-tanh-b5-pre-f64-normal-s0", "3x8x4-tanh-b6-pre-f64-normal-s0", "3x4x8-tanh-b7-pre-f64-normal-s0"],
            "fails in all 3 cases with over 8 numbers in the widest layer or input, in none of 3 others",
        ),
        # One case on either side is no ground for a description.
        ([NARROW.format(1, 0)], [NARROW.format(n, 0) for n in (2, 3, 9)], ""),
        ([NARROW.format(n, 0) for n in (2, 3, 9)], [NARROW.format(1, 0)], ""),
    ],
)
def test_widths_describe_cases_if_more_than_one_fails(failing: list[str], passing: list[str], said: str) -> None:
    assert describe_cases(failing, passing) == said
