"""Calibration. What several modules need is here."""

from pathlib import Path

from kterm.adapters import Observation
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.regimes import REGIMES, Draw
from kterm.reference import Structure

from ....support.frameworks import miniatures
from ....support.frameworks.miniatures import right

MINIATURES = Path(miniatures.__file__)


def make_case(text: str) -> tuple[Structure, Draw, list[Observation]]:
    """A case's structure, its draw as a stack of one, and the answer of a right framework."""
    case = parse_case(text, tuple(REGIMES))
    stack = make_draws([case])
    return case.structure, stack, [right(case.structure, stack[0].parameters, stack[0].x, stack[0].y)]
