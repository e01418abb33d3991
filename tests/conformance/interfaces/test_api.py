"""The suite from Python: what `check_adapter` gives, how it fails, and the decorator for a port's own tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import kterm
from kterm.adapters import OUT_IN, Limits, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import Description
from kterm.conformance.cases.level import LEVELS, Level
from kterm.conformance.cases.plan import OptionError, Options, Plan, plan
from kterm.conformance.expectations.audit import AuditResult
from kterm.conformance.expectations.expectation import ExpectationError
from kterm.conformance.interfaces.api import NonConformance, Results, check_adapter, parametrize_with_cases
from kterm.conformance.records.form.rows import rows_of
from kterm.conformance.records.record import read
from kterm.reference import Array, Parameters, Structure

from ...support.command import pytest_run
from ...support.frameworks.biased import ScaledWeights
from ...support.frameworks.miniatures import Miniature
from ...support.frameworks.tails import ClippedSilu
from ...support.here import kterm_here
from ...support.program import as_program


class Transposed(Numpy):
    """Declares the other weight layout."""

    name, weight_layout = "transposed", OUT_IN


class Threads(Miniature):
    """Notes how many threads each pool has while a program runs."""

    name = "threads"
    seen: set[int]

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        self.seen |= {pool["num_threads"] for pool in threadpool_info()}
        return super().answer(structure, parameters, x, y)


def _check(adapter: Any) -> Results:
    return check_adapter(adapter, profile="smoke", dtypes=["f32"], activations=["identity", "relu", "tanh"])


@pytest.fixture(scope="module")
def sound() -> Results:
    return _check(Numpy())


@pytest.fixture(scope="module")
def transposed() -> Results:
    return _check(Transposed())


def test_sound_results_are_true_and_say_so_briefly(sound: Results) -> None:
    assert sound.conforms
    assert sound
    sound.raise_if_failed()
    assert repr(sound).startswith(f"Results(numpy {Numpy.version}; conforms (componentwise); ")
    assert len(repr(sound)) < 240


def test_failed_results_are_false_and_name_the_first_failure(transposed: Results) -> None:
    assert not transposed.conforms
    assert not transposed
    assert "does not conform (componentwise); 2 failed, " in repr(transposed)
    assert "; first: layout wrong, weights of 3x3x3-" in repr(transposed)
    # pytest shows 240 characters of a repr; what is longer loses its middle.
    assert len(repr(transposed)) < 240


def test_raise_if_failed_raises_an_assertion_error_with_the_failures(transposed: Results) -> None:
    with pytest.raises(NonConformance) as caught:
        transposed.raise_if_failed()
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == str(transposed)
    assert "transposed: layout wrong in 1 case" in str(caught.value)


def test_long_names_do_not_make_a_long_repr(sound: Results) -> None:
    long = replace(sound.adapter, name="n" * 500, version="1" * 500)
    stale = AuditResult("i" * 500, 1, 0, "stale", "m" * 500)
    shown = repr(Results(long, (), {}, (stale,)))
    assert len(shown) < 240
    assert "; nothing was checked; first: expectation iii" in shown


def test_rows_are_those_of_the_record(tmp_path: Path) -> None:
    ran = kterm_here("check", "numpy", "--profile", "smoke", "-n", "0", "-o", "r.jsonl", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = read(tmp_path / "r.jsonl")
    assert check_adapter(Numpy(), profile="smoke").rows() == [*rows_of(record.header["adapters"], record.cases)]


def test_verdict_rows_are_plain_and_one_a_verdict(transposed: Results) -> None:
    rows = transposed.verdict_rows()
    assert len(rows) == sum(map(len, transposed.verdicts.values())) + len(transposed.of_run)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert {type(value).__module__ for row in rows for value in row.values()} == {"builtins"}
    assert [row["case"] for row in rows if row["status"] == "failed"] == [v.case for v in transposed.failures]
    assert {row["adapter"] for row in rows} == {"transposed"}


def test_a_run_that_is_biased_as_a_whole_fails_though_each_case_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(described: Description, options: Options) -> Plan:
        planned = plan(described, options)
        normal = [g for g in planned.groups if g.regime == "normal" and g.structure.network.depth == 2]
        return replace(planned, groups=tuple(normal[:4]))

    monkeypatch.setattr("kterm.conformance.interfaces.api.plan", few)
    results = check_adapter(ScaledWeights(), dtypes=["f32"])
    assert set(results.statuses().values()) <= {"passed", "inconclusive"}
    assert not results.conforms
    assert [(v.check, v.quantity, v.case) for v in results.failures] == [("bias", "dE/dW", "all-f32-run")]
    assert "; first: bias wrong, dE/dW of all-f32-run" in repr(results)
    assert str(results).startswith("scaled-weights: bias in f32, dE/dW: the mean error is +0.")
    assert "a factor of 1 + 1e-07 would do this" in str(results)
    assert results.verdict_rows()[-1]["adapter"] == "scaled-weights"
    assert check_adapter(Numpy(), dtypes=["f32"]).conforms


def test_a_program_is_checked_too_and_ended(tmp_path: Path) -> None:
    spec = as_program("kterm.adapters.numpy_adapter:Numpy", tmp_path)
    results = check_adapter(spec, profile="smoke", dtypes=["f64"], regimes=["converged"])
    assert results.conforms, str(results)
    mark = parametrize_with_cases(spec, profile="smoke", dtypes=["f64"], regimes=["converged"])
    for one in mark.args[1]:
        one.values[0]()
    with pytest.raises(OptionError, match="python: numpy is an instance in this process; give its name"):
        check_adapter(Numpy(), python="python3")


def test_results_say_what_limits_left_out() -> None:
    class Small(Numpy):
        name, limits = "small", Limits(batch=3, width=40)

    results = check_adapter(Small(), profile="smoke", dtypes=["f64"], activations=["tanh"])
    assert any(line.startswith("the limits of small ") for line in results.left_out)
    assert check_adapter(Numpy(), profile="smoke", dtypes=["f64"], activations=["tanh"]).left_out == ()


def test_nothing_checked_raises_too() -> None:
    results = check_adapter(Numpy(), profile="smoke", dtypes=["f16"])
    with pytest.raises(NonConformance, match="nothing was checked"):
        results.raise_if_failed()
    assert "nothing was checked" in repr(results)


def test_threads_are_pinned_meanwhile_and_then_as_before() -> None:
    adapter = Threads()
    adapter.seen = set()
    with threadpool_limits(2):
        before = threadpool_info()
        _check(adapter)
        assert threadpool_info() == before
    assert adapter.seen == {1}


@pytest.mark.parametrize("what", ["dtypes", "activations"])
def test_one_string_is_refused_where_a_list_is_due(what: str) -> None:
    given: dict[str, Any] = {what: "f32"}
    with pytest.raises(OptionError, match=rf"^{what}: 'f32' is one string; write {what}=\['f32'\]$"):
        check_adapter(Numpy(), **given)
    with pytest.raises(OptionError, match="is one string"):
        parametrize_with_cases(Numpy(), **given)


def test_a_class_is_refused_where_an_instance_is_due() -> None:
    wrong: Any = Numpy
    with pytest.raises(TypeError, match=r"^adapter: Numpy is a class; give an instance, Numpy\(\)$"):
        check_adapter(wrong)


def test_parametrize_refuses_what_would_run_no_test() -> None:
    with pytest.raises(OptionError, match="draws 0 should be at least 1"):
        parametrize_with_cases(Numpy(), draws=0)
    with pytest.raises(OptionError, match="no case is left to check: numpy does not declare dtype f16"):
        parametrize_with_cases(Numpy(), dtypes=["f16"])


def test_at_level_normwise_a_coarse_port_conforms_and_says_what_passes() -> None:
    strict = check_adapter(ClippedSilu(), dtypes=["f32"])
    lenient = check_adapter(ClippedSilu(), dtypes=["f32"], level="normwise")
    assert not strict.conforms
    assert str(strict).startswith("Componentwise only: ")
    assert lenient.conforms
    cases = sum(status == "failed" for status in strict.statuses().values())
    assert cases > 3
    assert f"conforms (normwise) in {len(lenient.verdicts)} cases; " in str(lenient)
    assert f" in {cases} cases are componentwise only and pass at level normwise" in str(lenient)
    assert {row["level"] for row in lenient.verdict_rows()} == {None, "componentwise"}


def test_an_expectation_is_met_at_either_level(tmp_path: Path) -> None:
    entries = tmp_path / "expectations.toml"
    entries.write_text(
        '[[expectation]]\nadapter = "clipped-silu"\nactivation = "silu"\nreason = "the sigmoid is clipped at -20"\n'
    )
    for level in LEVELS:
        results = check_adapter(ClippedSilu(), dtypes=["f32"], expectations=entries, level=level)
        assert results.conforms, str(results)
        assert [one.state for one in results.audited] == ["met"]
        assert not any(v.below_level for some in results.verdicts.values() for v in some)
        assert "expected" in results.statuses().values()


def test_a_test_file_asks_for_a_level_too() -> None:
    def failures(level: Level) -> list[str]:
        mark = parametrize_with_cases(ClippedSilu(), dtypes=["f32"], draws=2, level=level)
        checks = [one.values[0] for one in mark.args[1] if "-tails-" in one.id]
        assert checks
        messages = []
        for check in checks:
            try:
                check()
            except pytest.fail.Exception as failed:
                messages.append(str(failed))
        return messages

    found = failures("componentwise")
    assert found
    assert all(message.startswith("Componentwise only: ") for message in found)
    assert not failures("normwise")


def test_a_test_file_takes_expectations_too(tmp_path: Path) -> None:
    entry = """[[expectation]]
adapter = "clipped-silu"
activation = "silu"
reason = "the argument of the sigmoid is clipped at -20"
"""
    path = tmp_path / "port.toml"
    path.write_text(entry, encoding="utf-8")
    mark = parametrize_with_cases(ClippedSilu(), dtypes=["f32"], draws=2, expectations=path)
    checks = [one.values[0] for one in mark.args[1] if "-tails-" in one.id]
    assert checks
    for check in checks:
        check()
    with pytest.raises(ExpectationError):
        parametrize_with_cases(ClippedSilu(), expectations=tmp_path / "none.toml")


def test_an_unknown_level_is_refused() -> None:
    wrong: Any = "loose"
    for ask in (check_adapter, parametrize_with_cases):
        with pytest.raises(OptionError, match=r"^unknown level 'loose'; known are componentwise, normwise$"):
            ask(Numpy(), level=wrong)


def test_parse_case_knows_the_regimes() -> None:
    name = "4x8x3-relu.tanh-b5-pre-f32-normal-s17"
    assert kterm.parse_case(name).id == name
    with pytest.raises(kterm.CaseError, match="regime 'usual' should be one of normal, "):
        kterm.parse_case(name.replace("normal", "usual"))


PORT = """
import kterm
from kterm.adapters.numpy_adapter import Numpy

class Port(Numpy):
    name, weight_layout = "port", kterm.{layout}

@kterm.parametrize_with_cases(Port(), profile="smoke", dtypes=["f32"])
def test_cases(check):
    check()

def test_assert():
    assert kterm.check_adapter(Port(), profile="smoke", dtypes=["f32"], activations=["relu"]).conforms

def test_raise():
    kterm.check_adapter(Port(), profile="smoke", dtypes=["f32"], activations=["relu"]).raise_if_failed()
"""


def test_a_port_with_transposed_weights_fails_in_its_layout_tests_alone(tmp_path: Path) -> None:
    (tmp_path / "test_port.py").write_text(PORT.format(layout="OUT_IN"))
    done = pytest_run("-q", "-rs", "-p", "no:cacheprovider", "test_port.py", folder=tmp_path)
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("FAILED") == 0  # -rs lists skipped tests alone
    counts = done.stdout.splitlines()[-1]
    assert counts.startswith("4 failed, "), done.stdout  # two layout tests, and the two that check the whole adapter
    assert " passed" not in counts
    assert "skipped" in counts
    assert "blocked: behind layout" in done.stdout
    # `assert results.conforms` shows the first failure, and `raise_if_failed` all of them.
    assert "where False = Results(port " in done.stdout
    assert "first: layout wrong, weights of 3x3x3-" in done.stdout
    assert "NonConformance: port: layout wrong in 1 case" in done.stdout


def test_a_sound_port_passes(tmp_path: Path) -> None:
    (tmp_path / "test_port.py").write_text(PORT.format(layout="IN_OUT"))
    done = pytest_run("-q", "-p", "no:cacheprovider", "test_port.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout
