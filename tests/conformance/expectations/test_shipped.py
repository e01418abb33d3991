"""The shipped expectations: they concern a framework, under whatever name an adapter uses it, and hide no mistake."""

from dataclasses import replace

import pytest

from kterm.adapters import Adapter
from kterm.adapters.registry import is_installed, load
from kterm.conformance import check_adapter
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import Options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner

from ...support.frameworks import miniatures


def _load(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


def _statuses(adapter: Adapter, case: str, entries: list[Expectation]) -> set[str]:
    """The statuses of the first four draws of a structure."""
    parsed = parse_case(case, tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(4)))
    concerning = [one for one in entries if one.concerns(describe(adapter, adapter.name))]
    return {status(some) for some in examine(group, LocalRunner(adapter), known.matcher(concerning)).verdicts}


def test_the_shipped_entries_have_reasons_and_issues() -> None:
    entries = known.read(known.SHIPPED)
    assert entries
    assert all(entry.reason and entry.issue.startswith("https://") for entry in entries)


def test_the_shipped_entries_concern_frameworks_and_say_what_they_compute() -> None:
    # A number that is not finite has no formula, and neither has a finding of a whole run. Where what is computed is no
    # expression of z, a bound says by how much it may be off.
    entries = known.read(known.SHIPPED)
    stated = [entry.formula or entry.size or entry.check in ("contract", "spread") for entry in entries]
    assert all(stated)
    assert all(entry.framework for entry in entries)


def test_the_shipped_entries_do_not_concern_other_adapters() -> None:
    class Small(miniatures.Miniature):
        name = "torch-of-ones-own"
        activations = {name: miniatures.Miniature.activations[name] for name in ("tanh", "relu")}  # noqa: RUF012

    results = check_adapter(Small(), dtypes=["f64"])
    assert results.conforms, str(results)
    assert results.audited == ()


_CASES = ["3x4x2-elu-b4-pre-f32-tails-s0", "3x4x2-relu-b4-pre-f32-subnormal-s0"]


@pytest.mark.parametrize("case", _CASES)
def test_an_adapter_derived_from_jax_keeps_its_entries_under_its_own_name_and_version(case: str) -> None:
    jax_adapter = pytest.importorskip("kterm.adapters.jax_adapter")

    class Derived(jax_adapter.Jax):
        name = "equinox"
        version = "0.13.0"

    assert {"expected"} <= _statuses(Derived(), case, list(known.read(known.SHIPPED))) <= {"expected", "passed"}
    assert "failed" in _statuses(Derived(), case, [])
    # Entries are for versions of the framework, not of the adapter.
    old = [replace(one, versions="<0.4") for one in known.read(known.SHIPPED)]
    assert "failed" in _statuses(Derived(), case, old)

    class Unrelated(Derived):
        framework = ""

    assert "failed" in _statuses(Unrelated(), case, list(known.read(known.SHIPPED)))


@pytest.mark.parametrize(
    ("name", "case", "mutant"),
    [
        ("jax", "3x4x2-selu-b4-pre-f32-normal-s0", "elu-family-swapped"),
        ("jax", "3x4x2-elu-b4-pre-f64-tails-s0", "factor-2"),
        ("jax", "3x4x2-celu-b4-pre-f32-normal-s0", "slope-twice"),
        ("jax", "3x4x2-relu-b4-pre-f32-subnormal-s0", "factor-2"),
        ("jax", "3x4x2-relu6.leaky_relu-b4-pre-f64-subnormal-s0", "no-slope-first"),
        ("jax", "3x4x2-identity-b4-pre-f32-subnormal-s0", "bias-zero"),
        ("torch", "3x4x2-hard_sigmoid-b4-pre-f64-normal-s0", "factor-2"),
        ("torch", "3x4x2-softplus-b4-pre-f64-tails-s0", "slope-of-activation"),
    ],
)
def test_the_shipped_entries_hide_no_mistake(name: str, case: str, mutant: str) -> None:
    adapter, entries = _load(name), list(known.read(known.SHIPPED))
    wrong = plant_mutant(adapter, MUTANTS[mutant])
    assert _statuses(adapter, case, entries) <= {"passed", "expected", "inconclusive"}
    assert "failed" in _statuses(wrong, case, entries)
    # It is the formula that finds it: the patterns of the entries match it too.
    assert "failed" not in _statuses(wrong, case, [replace(one, formula="", parameters={}) for one in entries])


@pytest.mark.parametrize(("framework", "name"), [("torch", "torch"), ("torch", "torch-func"), ("jax", "jax")])
@pytest.mark.parametrize("profile", ["quick", "standard"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_entries_are_held_to_witnesses_in_every_run(
    framework: str, name: str, profile: str, seed: int
) -> None:
    pytest.importorskip(framework)
    described, choice = describe(load(name), name), Options(profile, seed)
    terms = ExpectationAudit(known.read(known.SHIPPED), (described,), choice, user_supplied=False)
    assert terms.applicable
    cases = [(name, case.id) for group in plan(described, choice).groups for case in group.cases]
    audited = terms.results(cases, dict.fromkeys(cases, "passed"), {})
    # An entry that names a single case as its witness is about numbers so rare that only a campaign meets them.
    rare = {one.id for one in terms.applicable if "*" not in one.witness}
    assert len(rare) == (framework == "jax")
    assert {one.id for one in audited if one.state == "stale"} == {one.id for one in terms.applicable} - rare
