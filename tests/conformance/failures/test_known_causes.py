"""What is known to cause a finding: a shipped expectation, or known mistakes."""

from dataclasses import replace

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict, failure_of
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.expectations import expectation as known
from kterm.conformance.failures.known_causes import describe_cause, shipped_expectation_for
from kterm.conformance.runners.runner import LocalRunner

from ...support.frameworks import miniatures

FINDING = Verdict("1x2-elu-b1-none-f32-tails-s1", "k_terms", "k_1", "wrong", 40.0, slack=1e-9, activation="elu")


def _adapter(name: str, version: str) -> Description:
    return replace(describe(Numpy(), name), name=name, version=version, framework=name, framework_version=version)


def test_a_shipped_expectation_is_found_by_its_adapter() -> None:
    adapter = _adapter("jax", "0.10.2")
    entry = next(e for e in known.read(known.SHIPPED) if e.concerns(adapter) and e.activation == "elu")
    finding = replace(FINDING, formulas=(entry.id,))
    assert shipped_expectation_for(adapter)(finding) == entry.id
    assert shipped_expectation_for(adapter)(FINDING) is None  # its formula does not explain it
    cause = describe_cause(finding, adapter)
    assert cause.startswith(f"This is a known divergence: {entry.reason}")
    assert entry.issue in cause


@pytest.mark.parametrize("adapter", [_adapter("numpy", "2.0"), _adapter("torch", "2.13.0")])
def test_an_expectation_says_nothing_about_other_adapters(adapter: Description) -> None:
    assert shipped_expectation_for(adapter)(FINDING) is None
    assert describe_cause(FINDING, adapter) == ""


def test_mistakes_that_explain_a_finding_are_named() -> None:
    case, runner = (
        parse_case("3x2-sigmoid-b3-none-f64-normal-s0", tuple(REGIMES)),
        LocalRunner(miniatures.NoSlopeAtOutput()),
    )
    group = Group(case.structure, case.regime, case.seed, (case.draw,))
    failure = failure_of(diagnose(group, examine(group, runner))[0])
    assert failure is not None
    assert describe_cause(failure, runner.describe()).startswith(
        "The result is consistent with the rule with no f' at the output"
    )
