"""Smaller histories to try: the programs of a history in a smaller structure, with new numbers in the same pattern."""

from dataclasses import replace

import numpy as np

from ....reference import Array, Parameters, Structure
from ...cases.case import Case
from ...cases.draw import make_draws
from ...cases.regimes import Draw
from ..histories.history import History, Step, distinct_draws, index_of, number_arrays
from .candidates import Candidate


def fit_history(history: History, candidate: Candidate, seed: int, first_draw: int) -> History | None:
    """The history with each program cut as the candidate cuts that of the failing call. None if a program has no such
    part.

    The numbers are new draws, from `first_draw` on. Arrays that held the same numbers in the history, in two calls of
    one program or of two, hold the same numbers again.
    """
    programs = []
    for structure in history.programs:
        cut = _cut_program(structure, history.structure, candidate)
        if cut is None:
            return None
        programs.append(cut)
    if len(set(programs)) < len(programs):
        return None  # two structures that became one
    drawn = distinct_draws(history)
    renewed = _renew(drawn, programs, history.regime, seed, first_draw)
    steps = tuple(
        step if step.draw is None else Step(step.program, renewed[index_of(drawn, step)]) for step in history.steps
    )
    return replace(history, programs=tuple(programs), steps=steps)


def replace_draws(history: History, draws: list[Draw]) -> History:
    """The history with other numbers in the order of `distinct_draws`."""
    drawn = distinct_draws(history)
    steps = tuple(
        step if step.draw is None else Step(step.program, draws[index_of(drawn, step)]) for step in history.steps
    )
    return replace(history, steps=steps)


def _cut_program(structure: Structure, main: Structure, candidate: Candidate) -> Structure | None:
    small = candidate.structure
    if structure == main:
        return small
    network, own = structure.network, main.network
    batch = small.batch + structure.batch - main.batch
    if network.depth != own.depth or batch < 0:
        return None
    functions = network.activations[candidate.start : candidate.start + small.network.depth]
    bias = small.network.bias if network.bias == own.bias else network.bias
    dtype = small.dtype if structure.dtype == main.dtype else structure.dtype
    cut = replace(network, widths=small.network.widths, activations=functions, bias=bias)
    return Structure(cut, batch, dtype)


def _renew(
    drawn: list[tuple[int, Draw]], programs: list[Structure], regime: str, seed: int, first_draw: int
) -> list[Draw]:
    known: dict[tuple, Array] = {}
    renewed: list[Draw] = []
    for number, (program, old) in enumerate(drawn):
        structure = programs[program]
        new = make_draws([Case(structure, regime, seed, first_draw + number)])[0]
        arrays: list[Array] = []
        # Slots are counted from the end for x and y: a program without biases has fewer arrays.
        before, after, depth = number_arrays(old), number_arrays(new), structure.network.depth
        pairs = _pair_arrays(before, after, len(old.parameters.weights), depth)
        for slot, was, fresh in pairs:
            key = (slot, *((was.shape, was.astype(np.float64).tobytes()) if was is not None else (number, fresh.shape)))
            kept = known.setdefault(key, fresh.astype(np.float64))
            if kept.shape != fresh.shape:
                kept = fresh.astype(np.float64)
            arrays.append(kept.astype(structure.format.numpy))
        count = len(new.parameters.weights)
        parameters = Parameters(tuple(arrays[:count]), tuple(arrays[count:-2]))
        renewed.append(Draw(parameters, arrays[-2], arrays[-1], np.zeros((), bool)))
    return renewed


def _pair_arrays(
    before: tuple[Array, ...], after: tuple[Array, ...], depth_before: int, depth_after: int
) -> list[tuple[str, Array | None, Array]]:
    """For each new array its slot, the old array that it stands for, and itself. Layers are paired from the first on;
    which of them was which before does not matter.
    """
    paired: list[tuple[str, Array | None, Array]] = []
    for i, fresh in enumerate(after[:-2]):
        layer, is_bias = i % depth_after, i >= depth_after
        at = layer + (depth_before if is_bias else 0)
        old = before[at] if at < len(before) - 2 else None
        paired.append((f"{'b' if is_bias else 'W'}{layer}", old, fresh))
    return [*paired, ("x", before[-2], after[-2]), ("y", before[-1], after[-1])]
