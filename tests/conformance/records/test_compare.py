"""Two records compared: chance moves nothing, a mistake is a regression with its name, and moved conventions show."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kterm.conformance.commands.runs.compare import replay_commands, run_compare, what_is_recorded
from kterm.conformance.records.compare.changes import RunChange
from kterm.conformance.records.compare.comparison import Comparison, compare_records
from kterm.conformance.records.compare.forms import to_json, to_markdown
from kterm.conformance.records.compare.pairs import ComparisonError
from kterm.conformance.records.compare.tables import first_view, second_view, verdict_line
from kterm.conformance.records.record import Record, read

from ...support.here import kterm_here
from ...support.hostile.views import HOSTILE, assert_inert

Recorder = Callable[..., Path]
QUICK = ("--profile", "quick", "--regime", "normal", "--regime", "tails")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """A function that records a smoke run in float64, once for the same arguments."""
    made: dict[tuple[str, ...], Path] = {}

    def record(*arguments: str) -> Path:
        if arguments not in made:
            folder = tmp_path_factory.mktemp("run")
            made[arguments] = folder / "run.jsonl"
            given = ("numpy", *arguments) if not arguments or arguments[0].startswith("-") else arguments
            options = ("--dtype", "f64", "-n", "0", "--report", str(made[arguments]))
            done = kterm_here("check", "--profile", "smoke", *given, *options, folder=folder)
            assert done.returncode in (0, 1), done.stdout + done.stderr
        return made[arguments]

    return record


def _compared(old: Record, new: Record) -> Comparison:
    return compare_records(what_is_recorded(old), what_is_recorded(new))


def _compare(old: Path, new: Path) -> Comparison:
    return _compared(read(old), read(new))


def test_a_run_differs_from_itself_in_nothing(recorded: Recorder) -> None:
    found = _compare(recorded(), recorded())
    assert not found.differs
    assert found.regressions == found.improvements == 0
    assert all(one.is_same for one in found.cases)
    assert not any(one.differs for one in found.environments)
    assert verdict_line(found) == "NO REGRESSION: the new run conforms, as the old one"


def test_another_seed_is_no_regression(recorded: Recorder) -> None:
    found = _compare(recorded(*QUICK), recorded(*QUICK, "--seed", "7"))
    assert not found.regressions
    assert not found.changes
    assert not any(one.is_beyond_noise for one in found.margins)
    assert [one.what for one in found.environments if one.differs and not one.what.isupper()] == ["seed"]
    assert not found.cases[0].is_same


def test_a_mutant_is_the_one_regression(recorded: Recorder) -> None:
    before, after = read(recorded()), read(recorded("--mutant", "no-slope-last"))
    found = _compared(before, after)
    failed = {case for (_, case), one in after.cases.items() if one.status == "failed"}
    assert {one.case for one in found.changes if one.kind == "regression"} == failed
    assert found.regressions == len(failed) > 3
    (cases,) = found.cases
    assert [cause.mistakes[0].name for cause in cases.new_causes] == ["no-slope-last"]
    assert cases.gone_causes == ()
    # Libraries of other tests in this process set variables.
    assert [one.what for one in found.environments if one.differs and not one.what.isupper()] == ["numpy mutant"]
    assert verdict_line(found).startswith(f"WORSE: {len(failed)} regressions, the old run conforms")
    backwards = _compared(after, before)
    assert (backwards.regressions, backwards.improvements) == (0, len(failed))


@pytest.mark.heavy
def test_a_mutant_under_another_seed_is_found_by_its_cause(recorded: Recorder) -> None:
    found = _compare(recorded(*QUICK), recorded(*QUICK, "--seed", "7", "--mutant", "no-slope"))
    assert [cause.mistakes[0].name for cause in found.cases[0].new_causes] == ["no-slope"]
    assert found.regressions >= 1


def test_margins_that_grow_everywhere_are_beyond_noise(recorded: Recorder) -> None:
    record = read(recorded(*QUICK))
    assert not any(one.is_beyond_noise for one in _compared(record, record).margins)
    for factor, due in ((1.0, False), (1.3, True)):
        found = _compared(record, _with_margins(record, factor))
        assert found.margins
        assert any(one.is_beyond_noise for one in found.margins) is due
        assert not found.regressions


def _with_margins(record: Record, factor: float) -> Record:
    """The record with margins that are another draw of the same errors, times a factor."""
    rng = np.random.default_rng(3)
    cases = {}
    for key, one in record.cases.items():
        noise = np.exp(rng.normal(size=len(one.line.margins)) * 0.2)
        margins = tuple(float(m) * float(n) * factor for m, n in zip(one.line.margins, noise, strict=True))
        line = msgspec.structs.replace(one.line, margins=margins)
        cases[key] = replace(one, line=line)
    return replace(record, cases=cases)


def test_records_without_a_common_adapter_are_refused(recorded: Recorder) -> None:
    run = what_is_recorded(read(recorded()))
    described = run.header["adapters"][0]
    two = replace(run, header={**run.header, "adapters": [{**described, "name": name} for name in "ab"]})
    with pytest.raises(ComparisonError, match="no adapter in common: numpy and a, b; compare records of"):
        compare_records(run, two)


@pytest.mark.heavy
def test_one_adapter_each_is_a_pair(recorded: Recorder) -> None:
    found = _compare(recorded("torch"), recorded("torch-func"))
    assert found.cases[0].pair.name == "torch → torch-func"
    assert not found.regressions


def test_what_an_adapter_wrote_is_inert_in_markdown(recorded: Recorder) -> None:
    found = _compare(recorded(), recorded("--mutant", "no-slope-last"))
    hostile = replace(found, environments=(replace(found.environments[0], what=HOSTILE, new=HOSTILE),))
    page = "\n".join(to_markdown(hostile, first_view(hostile)))
    assert_inert(page)
    rows = [line for line in page.splitlines() if "script" in line]
    assert [line.count("|") for line in rows] == [5]


def test_every_form_says_the_same(recorded: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = recorded(), recorded("--mutant", "no-slope-last")
    found = _compare(old, new)
    said = json.loads(json.dumps(to_json(found)))
    assert (said["regressions"], said["verdict"]) == (found.regressions, verdict_line(found))
    assert run_compare(old, new, "markdown", "regressions", tmp_path / "page.md") == 1
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"**WORSE: {found.regressions} regressions" in page
    assert run_compare(old, new, "text", "regressions", None) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(verdict_line(found))
    commands = [line.strip() for line in shown.splitlines() if "kterm replay" in line]
    assert commands
    assert all(command.endswith(" numpy --mutant no-slope-last") for command in commands)
    assert {row for section in second_view(found, replay_commands(read(new))) for row in section.rows}


def test_many_changes_of_bias_that_are_chance_are_one_row(recorded: Recorder) -> None:
    found = _compare(recorded(), recorded())
    chance = [RunChange("numpy", f"bias of x in f64 of {name}", "passed", "inconclusive", "other") for name in "abcd"]
    worse = RunChange("numpy", "bias of z in f64", "passed", "failed", "regression")
    some = next(
        one for one in first_view(replace(found, run_changes=[worse, *chance])) if one.title == "changed status"
    )
    assert [row[1] for row in some.rows] == ["bias of z in f64: passed", "bias of 4 quantities: passed"]
    few = next(one for one in first_view(replace(found, run_changes=chance[:3])) if one.title == "changed status")
    assert len(few.rows) == 3


def test_expectations_of_an_adapter_that_is_not_compared_are_left_out(recorded: Recorder) -> None:
    pytest.importorskip("torch")
    both, other = read(recorded("numpy", "torch")), read(recorded())
    own = {**both.header["expectations"][0], "framework": "", "adapter": "numpy", "id": "9", "activation": "tanh"}
    state = replace(next(iter(both.audited)), id="9", state="met")
    old = replace(
        what_is_recorded(both),
        header={**both.header, "expectations": [*both.header["expectations"], own]},
        audited=[*both.audited, state],
    )
    assert any(one.get("framework") == "torch" for one in both.header["expectations"])
    found = compare_records(old, what_is_recorded(other))
    assert [(one.what.partition(":")[0], one.old, one.new) for one in found.expectations] == [("numpy", "met", "-")]
    assert found.expectations[0].what.endswith("(tanh)")
    assert found.left_out == ("torch (old run only)",)


@pytest.mark.parametrize(("fail_on", "code"), [("regressions", 0), ("any", 1)])
def test_improvements_fail_only_where_anything_should(recorded: Recorder, fail_on: str, code: int) -> None:
    assert run_compare(recorded("--mutant", "no-slope-last"), recorded(), "json", fail_on, None) == code
