"""Histories: the programs that are built and the calls that are made in one process, up to a call that fails."""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from ....reference import Array, Structure
from ...cases.case import structure_id
from ...cases.regimes import Draw

NOT_REPEATABLE = "the calls that failed did not fail when they were made again in a new process"

Aim = Literal["answer", "repeat", "overwritten"]
"""What is wrong after the last call:

- answer: what the last call returned, judged by itself;
- repeat: the last call has the numbers of an earlier call of its program, and other results;
- overwritten: the arrays that an earlier call returned have changed.
"""


@dataclass(frozen=True)
class Step:
    """One call of a program with the numbers of a draw; without a draw, the program is only built.

    `program` is the index of its structure in the history. A program is built at its first step.
    """

    program: int
    draw: Draw | None = None


@dataclass(frozen=True)
class History:
    """The steps in one process, in order; the last step fails. `reference` is the index of the earlier call that it is
    compared with, if `aim` says so. `regime` says how arrays are passed and how numbers round.
    """

    programs: tuple[Structure, ...]
    steps: tuple[Step, ...]
    regime: str
    aim: Aim = "answer"
    reference: int | None = None

    @property
    def structure(self) -> Structure:
        """The structure of the call that fails, or of the call whose results are overwritten."""
        shown = self.steps[-1] if self.aim != "overwritten" or self.reference is None else self.steps[self.reference]
        return self.programs[shown.program]

    @property
    def draw(self) -> Draw:
        """The numbers of the last call."""
        draw = self.steps[-1].draw
        assert draw is not None
        return draw

    @property
    def removable(self) -> tuple[int, ...]:
        """The indices of the steps that the failure is not about: it may need them or not."""
        return tuple(i for i in range(len(self.steps) - 1) if i != self.reference)

    @property
    def is_single_call(self) -> bool:
        """Whether the failing call is the only step."""
        return len(self.steps) == 1

    def keep(self, removable: set[int]) -> "History":
        """The history with only these of its removable steps; programs without a step are left out."""
        kept = [i for i in range(len(self.steps)) if i in removable or i not in self.removable]
        used = sorted({self.steps[i].program for i in kept}, key=[self.steps[i].program for i in kept].index)
        steps = tuple(replace(self.steps[i], program=used.index(self.steps[i].program)) for i in kept)
        reference = None if self.reference is None else kept.index(self.reference)
        return replace(self, programs=tuple(self.programs[p] for p in used), steps=steps, reference=reference)

    def without_implied_builds(self) -> "History":
        """The history without the steps that only build a program that is called in the next step. A program is built
        at its first step anyway.
        """
        kept = {
            i
            for i in self.removable
            if self.steps[i].draw is not None or self.steps[i + 1].program != self.steps[i].program
        }
        return self.keep(kept)

    def alone(self) -> "History":
        """The last call as the only one."""
        return replace(self, programs=(self.programs[self.steps[-1].program],), steps=(Step(0, self.draw),),
                       aim="answer", reference=None)  # fmt: skip


def describe_steps(history: History) -> list[str]:
    """The steps in words, a line for each; equal calls one after another share a line."""
    drawn, lines, number = distinct_draws(history), list[str](), 0
    grouped = groupby(
        history.steps, key=lambda step: (step.program, None if step.draw is None else index_of(drawn, step))
    )
    for (program, draw), some in grouped:
        name = structure_id(history.programs[program])
        if draw is None:
            lines.append(f"build {name}")
            continue
        first, number = number + 1, number + len(list(some))
        which = {0: f"call {number}", 1: f"calls {first} and {number}"}.get(
            number - first, f"calls {first} to {number}"
        )
        lines.append(f"{which}: {name} with numbers {draw + 1}")
    return lines


def number_arrays(draw: Draw) -> tuple[Array, ...]:
    """The arrays of a draw: weights, biases, x and y."""
    return (*draw.parameters.weights, *draw.parameters.biases, draw.x, draw.y)


def same_numbers(a: Draw, b: Draw) -> bool:
    """Whether two draws hold the same bits."""
    ours, theirs = number_arrays(a), number_arrays(b)
    return len(ours) == len(theirs) and all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(ours, theirs, strict=True)
    )


def distinct_draws(history: History) -> list[tuple[int, Draw]]:
    """Each set of numbers once, at its first place, with the index of its program."""
    found: list[tuple[int, Draw]] = []
    for step in history.steps:
        if step.draw is not None and not any(
            step.program == program and (step.draw is draw or same_numbers(step.draw, draw)) for program, draw in found
        ):
            found.append((step.program, step.draw))
    return found


def index_of(draws: list[tuple[int, Draw]], step: Step) -> int:
    """The index of the numbers of a step among distinct draws."""
    assert step.draw is not None
    return next(
        i
        for i, (program, draw) in enumerate(draws)
        if program == step.program and (step.draw is draw or same_numbers(step.draw, draw))
    )
