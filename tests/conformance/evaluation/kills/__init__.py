"""The kills of the suite. What several modules need is here."""

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.evaluation.kills.trial import TrialOptions

FULL = describe(Numpy(), "numpy")
SMOKE = TrialOptions(FULL, make_options("smoke", 0))


def make_group(case: str, draws: int) -> Group:
    """The group of a case's structure and regime, with so many draws."""
    parsed = parse_case(case, tuple(REGIMES))
    return Group(parsed.structure, parsed.regime, parsed.seed, tuple(range(draws)))
