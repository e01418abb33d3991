"""Draws: a function of the case id alone, exact in the format under test, never silently dead."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product
from random import Random

import numpy as np
import pytest

from kterm.conformance.cases import draw as draws
from kterm.conformance.cases.case import Case, parse_case
from kterm.conformance.cases.draw import REGIMES, Draw, make_draws, present_arrays
from kterm.reference import Array, Network, Structure, backpropagate

IDS = (
    "4x8x3-relu.tanh-b5-pre-f32-normal-s{}",
    "1x1x1x1-relu-b2-none-f64-degenerate-s{}",  # redrawn often
    "6x6x6-gelu.sin-b6-post-bf16-square-s3.{}",
    "3x5x2-softplus.hardtanh-b0-post-f16-degenerate-s{}",
    "7x2-leaky_relu-b3-pre-f64-strided-s{}",
    "3x3x3-identity-b2-none-f32-layout-s{}",
)

THE_ID = "2x2-identity-b1-none-f64-normal-s0"
FROZEN_X = [0.158362121802336, -1.649252653867993]
FROZEN_W = [0.46206465899003807, -0.674318772153466, -0.36756464456451476, -0.05476548818059437]
FROZEN = {
    "normal": "158305f7",
    "square": "a84cf2c3",
    "lattice": "7d1e4e1a",
    "kinks": "a8f60285",
    "tails": "711a2c8e",
    "converged": "dbe4e5c3",
    "subnormal": "d156dd80",
    "degenerate": "c08b7911",
    "strided": "85bf20fc",
    "tiles": "94cfc6b5",
    "large": "3dcd97bd",
    "means": "9c43d7e1",
    "twins": "8b89e3af",
    "soak": "c0d93538",
    "layout": "0de39f12",
}


def cases(pattern: str, count: int) -> list[Case]:
    return [parse_case(pattern.format(i), tuple(REGIMES)) for i in range(count)]


def every_array(drawn: Draw) -> Iterator[Array]:
    yield from (*drawn.parameters.weights, *drawn.parameters.biases, drawn.x, drawn.y)


def content(drawn: Draw) -> bytes:
    return b"".join(array.tobytes() for array in every_array(drawn)) + bytes([bool(drawn.dead)])


def digest_of_all() -> str:
    """What a process of its own prints, to be compared between processes."""
    whole = hashlib.sha256()
    for pattern in IDS:
        stack = make_draws(cases(pattern, 6))
        for i in range(6):
            whole.update(content(stack[i]))
    return whole.hexdigest()


@pytest.mark.parametrize("pattern", IDS)
def test_a_draw_is_the_same_alone_in_any_order_and_in_any_company(pattern: str) -> None:
    some = cases(pattern, 24)
    alone = {case.id: content(make_draws([case])[0]) for case in some}
    assert len(set(alone.values())) > 1 or some[0].structure.batch == 0
    shuffled = Random(0).sample(some, len(some))
    for stack in (some, some[::-1], shuffled, shuffled[:5], [some[3], some[3]]):
        drawn = make_draws(stack)
        for i, case in enumerate(stack):
            assert content(drawn[i]) == alone[case.id], case.id


def test_a_draw_is_the_same_in_another_process_with_other_hashes() -> None:
    here = os.path.dirname(__file__)
    script = f"import sys; sys.path.insert(0, {here!r}); from test_draw import digest_of_all; print(digest_of_all())"
    answers = []
    for seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        answers.append(done.stdout.strip())
    assert set(answers) == {digest_of_all()}


def test_seed_draw_regime_and_structure_all_change_the_numbers() -> None:
    texts = (
        "3x3-tanh-b3-none-f64-normal-s0",
        "3x3-tanh-b3-none-f64-normal-s1",
        "3x3-tanh-b3-none-f64-normal-s1.0",
        "3x3-tanh-b3-none-f64-square-s0",
        "3x3-sin-b3-none-f64-normal-s0",
        "3x3-tanh-b3-none-f32-normal-s0",
    )
    firsts = {float(make_draws([parse_case(text, tuple(REGIMES))]).x.flat[0]) for text in texts}
    assert len(firsts) == len(texts)


def test_the_numbers_of_an_id_do_not_change_unless_their_version_does() -> None:
    # Where this fails for good reason, raise NUMBERS in conformance/cases/draw.py and write the new ones here.
    drawn = make_draws([parse_case(THE_ID, tuple(REGIMES))])
    assert draws.NUMBERS == "3"
    assert drawn.x.ravel().tolist() == FROZEN_X
    assert drawn.parameters.weights[0].ravel().tolist() == FROZEN_W
    found = {}
    for regime in REGIMES:
        drawn = make_draws([parse_case(f"4x3x2-relu.identity-b3-pre-f64-{regime}-s1", tuple(REGIMES))])
        # The weights and inputs that every machine makes from the same bits. Targets are near outputs, which differ.
        found[regime] = hashlib.sha256(drawn.parameters.weights[0].tobytes() + drawn.x.tobytes()).hexdigest()[:8]
    assert found == FROZEN


@pytest.mark.parametrize("dtype", ["f64", "f32", "bf16", "f16"])
def test_numbers_are_exact_in_the_format_under_test(dtype: str) -> None:
    stack = make_draws(cases(f"4x8x3-relu.tanh-b5-pre-{dtype}-normal-s{{}}", 4))
    due = parse_case(f"4x8x3-relu.tanh-b5-pre-{dtype}-normal-s0", tuple(REGIMES)).structure.format.numpy
    wide = stack.astype(np.dtype(np.float64))
    for narrow, widened in zip(every_array(stack), every_array(wide), strict=True):
        assert narrow.dtype == due
        assert np.array_equal(widened.astype(due).astype(np.float64), widened)
        # A number drawn in float32 and widened would be exact in float64, but leave its last bits unused.
        assert dtype != "f64" or not np.array_equal(narrow.astype(np.float32).astype(np.float64), narrow)


def test_a_case_of_a_stack_has_the_shapes_of_its_structure() -> None:
    one = make_draws(cases(IDS[0], 3))[1]
    assert [w.shape for w in one.parameters.weights] == [(4, 8), (8, 3)]
    assert [b.shape for b in one.parameters.biases] == [(8,), (3,)]
    assert (one.x.shape, one.y.shape, np.shape(one.dead)) == ((5, 4), (5, 3), ())


def shows_nothing(case: Case, drawn: Draw) -> bool:
    wide = drawn.astype(np.dtype(np.float64))
    answer = backpropagate(case.structure.network, wide.parameters, wide.x, wide.y)
    return any(not gradient.any() for gradient in answer.weight_gradients)


DEAD_ENDS = (
    "1x1x1x1x1x1x1x1x1-relu-b1-none-f32-degenerate-s{}",
    "1x1x1x1-hardtanh.relu6.hard_sigmoid-b2-pre-f64-normal-s{}",
    "2x1x1x2-relu.hardshrink.softshrink-b3-none-bf16-normal-s{}",
    "1x1x1-hardshrink.relu-b1-post-f16-normal-s{}",
)


@pytest.mark.parametrize("pattern", DEAD_ENDS)
def test_a_draw_that_can_show_nothing_is_marked_and_no_other_is(pattern: str) -> None:
    some = cases(pattern, 150)
    stack = make_draws(some)
    assert [bool(stack.dead[i]) for i in range(150)] == [shows_nothing(case, stack[i]) for i, case in enumerate(some)]


@pytest.mark.parametrize("pattern", DEAD_ENDS)
def test_a_dead_draw_is_drawn_again(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    some = cases(pattern, 150)
    dead = int(make_draws(some).dead.sum())
    monkeypatch.setattr(draws, "_TRIES", 1)
    assert dead < int(make_draws(some).dead.sum())


def test_a_structure_that_is_always_dead_is_marked_in_every_draw() -> None:
    # 64 rows of 64 outputs: E alone is above what may be asked of a format that ends at 65504.
    assert make_draws(cases("8x64-identity-b64-none-f16-normal-s{}", 12)).dead.all()
    assert not make_draws(cases("8x64-identity-b64-none-f32-normal-s{}", 12)).dead.any()


def test_batch_0_is_drawn_and_is_not_dead() -> None:
    stack = make_draws(cases("3x5x2-tanh-b0-pre-f32-degenerate-s{}", 8))
    assert (stack.x.shape, stack.y.shape) == ((8, 0, 3), (8, 0, 2))
    assert not stack.dead.any()
    assert all(weight.any() for weight in stack.parameters.weights)


def test_every_kind_of_degenerate_draw_occurs() -> None:
    stack = make_draws(cases("3x4-identity-b6-none-f64-degenerate-s{}", 60))
    kinds = Counter()
    for x, y in zip(stack.x, stack.y, strict=True):
        repeated, zero = (x == x[0]).all(), ~x.any(1)
        assert repeated == (y == y[0]).all()
        kinds["repeated" if repeated else "zero" if zero.any() else "plain"] += 1
        assert repeated or zero.sum() in (0, 3)
    assert set(kinds) == {"plain", "repeated", "zero"}
    assert min(kinds.values()) >= 60 // 9


def test_a_zero_row_stands_beside_one_that_shows_something() -> None:
    stack = make_draws(cases("3x4-identity-b1-none-f64-degenerate-s{}", 40))
    assert all(x.any() for x in stack.x)


def traits(array: Array) -> set[str]:
    found = set()
    if not array.flags.c_contiguous and array.flags.f_contiguous:
        found.add("Fortran")
    if any(stride < 0 for stride in array.strides):
        found.add("reversed")
    elif not array.flags.forc:
        found.add("gapped")
    if not array.flags.writeable:
        found.add("read-only")
    return found


@pytest.mark.parametrize("text", ["7x2x3x5-tanh-b3-pre-f64-strided-s0", "4x3x2-relu.tanh-b5-none-f32-strided-s1"])
def test_the_strided_regime_presents_odd_arrays_of_equal_values(text: str) -> None:
    one = make_draws([parse_case(text, tuple(REGIMES))])[0]
    parameters, x, y = present_arrays("strided", one.parameters, one.x, one.y)
    met = set()
    shown = (*parameters.weights, *parameters.biases, x, y)
    for given, seen in zip(every_array(one), shown, strict=True):
        assert seen.dtype == given.dtype
        assert np.array_equal(seen, given)
        met |= traits(seen)
    assert met == {"Fortran", "reversed", "gapped", "read-only"}


@pytest.mark.parametrize("regime", sorted(set(REGIMES) - {"strided"}))
def test_other_regimes_present_plain_arrays(regime: str) -> None:
    one = make_draws([parse_case("4x3x2-relu.tanh-b5-pre-f32-normal-s1", tuple(REGIMES))])[0]
    parameters, x, y = present_arrays(regime, one.parameters, one.x, one.y)
    for array in (*parameters.weights, *parameters.biases, x, y):
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_plans_present_weights_in_every_odd_way() -> None:
    met = set()
    for depth in (1, 2, 3, 4):
        widths = "x".join("4" for _ in range(depth + 1))
        one = make_draws([parse_case(f"{widths}-tanh-b3-pre-f64-strided-s0", tuple(REGIMES))])[0]
        for weight in present_arrays("strided", one.parameters, one.x, one.y)[0].weights:
            met |= traits(weight)
    assert met == {"Fortran", "reversed", "gapped", "read-only"}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("widths", [(0, 3), (3, 0), (3, 0, 2), (0, 0, 0)])
def test_every_regime_draws_numbers_for_a_layer_without_units(regime: str, widths: tuple[int, ...]) -> None:
    """A case id may name such a structure in a regime in which none is planned."""
    for activation, dtype, batch in product(("gelu_tanh", "relu"), ("f64", "f16"), (0, 1, 3)):
        network = Network(widths, (activation,) * (len(widths) - 1), "pre")
        stack = make_draws([Case(Structure(network, batch, dtype), regime, 0, draw) for draw in (0, 4)])
        assert [w.shape[1:] for w in stack.parameters.weights] == list(pairwise(widths))
        assert stack.x.shape == (2, batch, widths[0])
