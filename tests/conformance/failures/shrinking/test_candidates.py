"""Candidates: smaller structures, and the numbers of a failing draw cut to their size."""

import numpy as np
import pytest

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.failures.shrinking.candidates import (
    Candidate,
    count_numbers,
    cut_draw,
    failing_layer,
    layer_starts,
    list_small_candidates,
    list_thin_sizes,
    sizes_of,
    take_layers,
    with_sizes,
)
from kterm.reference import Pass, Structure, backpropagate

CASE = parse_case("4x8x6x3-silu.tanh.gelu-b5-pre-f64-normal-s0", tuple(REGIMES))


def _rule(structure: Structure, one: Draw) -> Pass:
    return backpropagate(structure.network, one.parameters, one.x, one.y)


def _finding(quantity: str, at: tuple[int, ...]) -> Verdict:
    return Verdict(CASE.id, "k_terms", quantity, "wrong", worst=1e6, at=at)


@pytest.mark.parametrize("layer", [None, 1, 2, 3])
def test_small_candidates_come_in_order_and_hold_the_layer(layer: int | None) -> None:
    candidates = list_small_candidates(CASE.structure, layer)
    sizes = [count_numbers(candidate.structure) for candidate in candidates]
    assert sizes == sorted(sizes)
    assert len(set(candidates)) == len(candidates)
    for candidate in candidates:
        network, names = candidate.structure.network, CASE.structure.network.activations
        assert network.activations == names[candidate.start : candidate.start + network.depth]
        assert max(*network.widths, candidate.structure.batch) <= 3
        if layer is not None:
            assert candidate.start < layer <= candidate.start + network.depth


def test_no_candidate_is_larger_than_the_structure() -> None:
    small = parse_case("2x1-tanh-b1-pre-f64-normal-s0", tuple(REGIMES)).structure
    for candidate in list_small_candidates(small, 1):
        assert candidate.structure.batch <= 1
        assert count_numbers(candidate.structure) < count_numbers(small)
    empty = parse_case("8x8x1x8-silu-b0-none-f64-degenerate-s0", tuple(REGIMES)).structure
    assert {candidate.structure.batch for candidate in list_small_candidates(empty, None)} == {0}


def test_layers_start_where_the_failing_layer_stays() -> None:
    assert layer_starts(5, 1, 3) == [2]
    assert layer_starts(5, 2, 1) == [0]
    assert set(layer_starts(5, 3, 3)) == {0, 1, 2}
    assert layer_starts(5, 3, 3)[0] == 1
    assert layer_starts(5, 2, None) == [0, 3]


def test_thin_sizes_keep_one_dimension() -> None:
    assert list(list_thin_sizes((5, 1, 7))) == [(1, 1, 7), (2, 1, 7), (5, 1, 1), (5, 1, 2), (1, 1, 1), (2, 1, 2)]


def test_sizes_go_there_and_back() -> None:
    assert sizes_of(CASE.structure) == (5, 4, 8, 6, 3)
    assert with_sizes(CASE.structure, sizes_of(CASE.structure)) == CASE.structure


def test_the_layer_of_a_failure() -> None:
    assert failing_layer(_finding("k_2", (0, 0)), CASE.structure.network) == 2
    assert failing_layer(_finding("outputs", (0, 0)), CASE.structure.network) == 3
    assert failing_layer(_finding("program", ()), CASE.structure.network) is None


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2])
def test_layers_that_are_left_receive_what_they_received(start: int, length: int) -> None:
    if start + length > 3:
        return
    one = make_draws([CASE])[0]
    candidate = take_layers(CASE.structure, start, length)
    cut = cut_draw(CASE.structure, one, _finding(f"k_{start + 1}", (3, 2)), candidate)
    assert cut is not None
    before, after = _rule(CASE.structure, one), _rule(candidate.structure, cut)
    for i in range(length):
        assert np.allclose(after.z[i], before.z[start + i])
        assert np.allclose(after.k[i], before.k[start + i])
        assert np.allclose(after.weight_gradients[i], before.weight_gradients[start + i])


def test_the_entry_that_departs_is_left() -> None:
    one = make_draws([CASE])[0]
    candidate = take_layers(CASE.structure, 1, 1)
    thin = Candidate(with_sizes(candidate.structure, (1, 8, 1)), 1)
    cut = cut_draw(CASE.structure, one, _finding("k_2", (3, 4)), thin)
    assert cut is not None
    assert np.allclose(_rule(thin.structure, cut).z[0], _rule(CASE.structure, one).z[1][3, 4])
    one_unit = Candidate(with_sizes(candidate.structure, (1, 1, 1)), 1)
    cut = cut_draw(CASE.structure, one, _finding("k_2", (3, 4)), one_unit)
    assert cut is not None
    assert np.allclose(_rule(one_unit.structure, cut).z[0], _rule(CASE.structure, one).z[1][3, 4])


def test_what_is_no_part_has_no_cut_numbers() -> None:
    one = make_draws([CASE])[0]
    larger = Candidate(with_sizes(CASE.structure, (5, 4, 8, 6, 4)))
    assert cut_draw(CASE.structure, one, _finding("k_1", (0, 0)), larger) is None
    assert cut_draw(CASE.structure, one, _finding("k_1", (0, 0)), Candidate(CASE.structure, 1)) is None
