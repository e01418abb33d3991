"""Case ids: one readable form that parses back, survives a shell and `pytest -k`, and errors that say what to do."""

import re
import shlex
from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import (
    MOST_NUMBERS,
    Case,
    CaseError,
    Group,
    count_numbers,
    parse_case,
    structure_id,
)
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import PROFILES, make_options, plan
from kterm.reference import ACTIVATIONS, BIASES, DTYPES, Network, Structure

NAMES = tuple(REGIMES)
GOOD = "4x8x3-relu.tanh-b5-pre-f32-normal-s17"
# What pytest's -k takes as one word: (:?\w|:|\+|-|\.|\[|\]|\\|/)+ in its scanner.
K_WORD = re.compile(r"(:?\w|[:+\-.\[\]\\/])+")
SHELL_SAFE = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def random_cases(seed: int, count: int) -> list[Case]:
    rng = Random(seed)

    def one() -> Case:
        depth = rng.choice((1, 1, 2, 3, 5, 8))
        widths = tuple(rng.choice((1, 2, 7, 64, 1000)) for _ in range(depth + 1))
        names = tuple(rng.choice(tuple(ACTIVATIONS)) for _ in range(depth))
        if rng.random() < 0.3:
            names = names[:1] * depth
        network = Network(widths, names, rng.choice(BIASES))
        structure = Structure(network, rng.choice((0, 1, 2, 31)), rng.choice(tuple(DTYPES)))
        seed = rng.choice((0, 0, 1, 17, 2**63 - 1))
        return Case(structure, rng.choice(NAMES), seed, rng.choice((0, 1, 9, 399)))

    drawn = iter(one, None)
    return list(islice((c for c in drawn if count_numbers(c.structure, c.regime) <= MOST_NUMBERS), count))


CASES = random_cases(0, 600)


def test_an_id_parses_back_to_the_same_case() -> None:
    for case in CASES:
        assert parse_case(case.id, NAMES) == case


def test_different_cases_have_different_ids() -> None:
    assert len({case.id for case in CASES}) == len(set(CASES))


def test_ids_are_safe_in_a_shell_and_in_pytest_k() -> None:
    for case in CASES:
        group = Group(case.structure, case.regime, case.seed, (0,))
        for text in (case.id, group.id):
            assert SHELL_SAFE.fullmatch(text)
            assert shlex.split(text) == [text] == [shlex.quote(text)]
            assert K_WORD.fullmatch(text)
            assert text not in ("and", "or", "not", "True", "False", "None")


def test_the_documented_example() -> None:
    structure = Structure(Network((4, 8, 3), ("relu", "tanh"), "pre"), 5, "f32")
    assert Case(structure, "normal", 0, 17).id == GOOD
    assert Case(structure, "normal", 7, 17).id == GOOD.replace("s17", "s7.17")


def test_the_seed_is_in_the_id() -> None:
    case = CASES[0]
    ids = {Case(case.structure, case.regime, seed, case.draw).id for seed in range(50)}
    assert len(ids) == 50
    # s1.2, of seed 1, is not s12.
    assert len({Case(case.structure, "normal", s, d).id for s in range(30) for d in range(30)}) == 900


def test_an_activation_that_all_layers_share_is_named_once() -> None:
    network = Network((2, 2, 2, 2), ("tanh",) * 3)
    assert structure_id(Structure(network, 1, "f64")) == "2x2x2x2-tanh-b1-none-f64"


def test_a_group_has_one_case_a_draw_under_its_own_id() -> None:
    group = Group(CASES[0].structure, "normal", 3, (0, 4, 7))
    assert [case.draw for case in group.cases] == [0, 4, 7]
    assert [case.id for case in group.cases] == [f"{group.id}-s3.{draw}" for draw in group.draws]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (GOOD.replace("4x8", "04x8"), GOOD),
        (GOOD.replace("b5", "b05"), GOOD),
        (GOOD.replace("s17", "s017"), GOOD),
        (GOOD.replace("s17", "s0.17"), GOOD),
        (GOOD.replace("s17", "s07.17"), GOOD.replace("s17", "s7.17")),
        (GOOD.replace("relu.tanh", "relu.relu"), GOOD.replace("relu.tanh", "relu")),
        (GOOD.replace("4x8", "\uff14x8"), GOOD),  # a full-width 4, which int() reads
    ],
)
def test_only_the_canonical_form_parses_and_the_error_gives_it(text: str, canonical: str) -> None:
    with pytest.raises(CaseError, match=re.escape(f"did you mean {canonical}?")):
        parse_case(text, NAMES)
    assert parse_case(canonical, NAMES).id == canonical


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "4x8x3-relu.tanh-b5-pre-f32-normal-s17"),
        ("nonsense", "it should look like"),
        (f"{GOOD} ", "it should look like"),
        (f"{GOOD}\n", "it should look like"),
        (f"x{GOOD}", "it should look like"),
        (GOOD.removesuffix("-s17"), "it should look like"),
        (GOOD.replace("s17", "s-1"), "it should look like"),
        (GOOD.replace("s17", "s1.2.3"), "it should look like"),
        (GOOD.replace("4x8x3", "4"), "it should look like"),
        (GOOD.replace("s17", "s" + "9" * 5000), "it should look like"),
        (GOOD.replace("4x8", "9" * 5000 + "x8"), "it should look like"),
        (GOOD.replace("relu.tanh", "relu.tan"), "tanh"),
        (GOOD.replace("relu.tanh", "relu.tanh.relu"), "one name per layer"),
        (GOOD.replace("-pre-", "-mid-"), "none, pre, post"),
        (GOOD.replace("f32", "f8"), "f64, f32, bf16, f16"),
        (GOOD.replace("normal", "usual"), "normal"),
        (GOOD.replace("f32", "f32\x1b[2J"), "it should look like"),
        (GOOD.replace("4x8", "4x131073"), "width 131073 is too large; the most is 131,072"),
        (GOOD.replace("4x8", f"4x{'9' * 19}"), "width 9999999999999999999 is too large"),
        (GOOD.replace("b5", "b131073"), "batch 131073 is too large; the most is 131,072"),
        (f"{'x'.join('2' * 258)}-relu-b1-pre-f32-normal-s0", "depth 257 is too large; the most is 256"),
        ("4096x4096-relu-b1-none-f32-normal-s0", "it would hold 16,789,504 numbers, and the most is 1,048,576"),
        ("120x120-relu-b2-none-f32-lattice-s0", "numbers, and the most is 1,048,576; give smaller sizes"),
        (
            GOOD.replace("4x8x3-relu.tanh", f"{'x'.join('4' * 200)}-{'.'.join(['relu', 'tanh'] * 99)}"),
            "one name per layer",
        ),
    ],
)
def test_errors_are_one_line_and_say_what_to_do(text: str, named: str) -> None:
    with pytest.raises(CaseError) as caught:
        parse_case(text, NAMES)
    message = str(caught.value)
    assert named in message
    assert message.isprintable()  # one line, and nothing that a terminal obeys
    assert len(message) < 400


def test_a_regime_is_known_only_where_the_caller_knows_it() -> None:
    with pytest.raises(CaseError, match="should be one of square"):
        parse_case(GOOD, ("square",))


def test_the_largest_cases_parse() -> None:
    for text in (
        "131072x1-relu-b1-none-f32-normal-s0",
        "1x1-relu-b131072-none-f32-normal-s0",
        f"{'x'.join('2' * 257)}-relu-b1-pre-f32-normal-s0",
        "1000x1000-relu-b20-none-f32-normal-s0",
    ):
        assert parse_case(text, NAMES).id == text


@pytest.mark.parametrize("profile", PROFILES)
def test_every_planned_case_parses_and_stays_far_below_the_bounds(profile: str) -> None:
    described = replace(describe(Numpy(), "numpy"), dtypes=tuple(DTYPES))
    largest = 0
    for seed in (0, 1, 2, 2**63 - 1):
        for group in plan(described, make_options(profile, seed)).groups:
            assert parse_case(group.cases[-1].id, NAMES) == group.cases[-1]
            largest = max(largest, count_numbers(group.structure, group.regime))
    assert largest < MOST_NUMBERS / 5
