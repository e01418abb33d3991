"""Margins and cells."""

from dataclasses import replace

import numpy as np

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.evaluation.kills.outcome import Cell, compute_margin, select_findings


def test_margins() -> None:
    one = Verdict("c", "k_terms", "k_1", "wrong", worst=40.0)
    assert compute_margin([]) == 0
    assert compute_margin([one, replace(one, worst=70.0)]) == 70
    assert compute_margin([one, replace(one, check="contract", worst=0.0, message="inputs were modified")]) == np.inf
    assert compute_margin([replace(one, grade="errored", worst=0.0)]) == np.inf
    assert select_findings([one, replace(one, expectation="1"), replace(one, grade="pass")]) == [one]


def test_a_cell_counts_cases_and_not_verdicts() -> None:
    cell = Cell()
    one = Verdict("c-s0", "weight_gradients", "dE/dW_1", "wrong", worst=40.0)
    cell.add([one, replace(one, quantity="dE/dW_2")], [one, replace(one, quantity="dE/dW_2", worst=50.0)])
    cell.add([replace(one, case="c-s1", grade="pass")], [])
    cell.add([replace(one, case="c-s2", grade="blocked")], [])
    assert (cell.cases, cell.killed, cell.margin, cell.first) == (2, 1, 50.0, "c-s0")
    assert cell.checks == {"weight_gradients": 1}
