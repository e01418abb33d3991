"""Comparison with the rule: the regime decides what counts as a departure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kterm.conformance.cases.case import Case, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.checks.comparison.compare import compare
from kterm.reference import Network, backpropagate

from ....support.frameworks import miniatures
from ....support.frameworks.miniatures import silent


def test_compare_takes_the_regime_from_its_name() -> None:
    """A departure of one unit in the last place is nothing in the normal regime, and wrong in an exact one."""
    case = parse_case("3x4x2-identity-b4-none-f64-lattice-s0", tuple(REGIMES))
    cases: Sequence[Case] = [case]
    stack = make_draws(cases)
    one = stack[0]
    network = Network(case.structure.network.widths, case.structure.network.activations)
    found = silent(miniatures.observation(backpropagate(network, one.parameters, one.x, one.y)))
    first = np.nextafter(found.weight_gradients[0], np.inf)
    off = replace(found, weight_gradients=(first, *found.weight_gradients[1:]))
    for regime, worst in (("normal", 1.0), ("lattice", np.inf)):
        largest = max(float(c.worst[0]) for c in compare(case.structure, stack, [off], regime))
        assert (largest <= 1) == (worst == 1.0)
