"""Views of a record: what adapters say is plain text, what is shown of a failure is the smallest, and no line says what
is not so.
"""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import Options
from kterm.conformance.cases.regimes import REGIMES, Draw
from kterm.conformance.checks.comparison.compare import compare
from kterm.conformance.checks.findings import verdict_on
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.checks.whole_run.moments import Moments, collect, merge
from kterm.conformance.diagnosis.causes import causes
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.records.form.lines import VerdictLine
from kterm.conformance.records.form.verdicts import format_verdict, to_verdict
from kterm.conformance.records.form.words import command_lines, finding_lines
from kterm.conformance.records.parts import failing_adapters, finish, write_part
from kterm.conformance.records.record import Record, read
from kterm.conformance.records.report import (
    CheckTable,
    cause_lines,
    failure_lines,
    printable,
    summary_lines,
    title,
    verdict_lines,
)
from kterm.conformance.runners.specs import spec_of
from kterm.reference import Parameters

from ...support.frameworks.biased import made_moments

ADAPTER = replace(describe(Numpy(), "numpy"), name="a", version="1")
SMALL, SAME = "4x3-tanh-b2-none-f64-normal-s7", "4x3-tanh-b2-none-f64-normal-s8"
LARGE = "9x9-tanh-b2-none-f64-normal-s0"


def _record(
    folder: Path, verdicts: list[Verdict], *adapters: Any, planned: int = 0, level: str = "componentwise"
) -> Record:
    used = adapters or (ADAPTER,)
    header = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": [], "level": level}
    header["adapters"] = [{**one.to_json(), "structures": 1, "unsupported": []} for one in used]
    for number, verdict in enumerate(verdicts):
        write_part(folder, number, used[0].name, [[verdict]])
    cases = [(used[0].name, v.case) for v in verdicts]
    cases += [(used[0].name, f"4x{i + 4}-tanh-b2-none-f64-normal-s0") for i in range(planned)]
    found = causes((used[0].name, [verdict]) for verdict in verdicts)
    finish(folder / "record.jsonl", folder, header, cases, ExpectationAudit((), tuple(used), Options(), False), found)
    return read(folder / "record.jsonl", against_plan=False)


def _wrong(case: str, worst: float) -> Verdict:
    return Verdict(case, "k_terms", "k_1", "wrong", worst, (0, 0), 1e5, 1.0, 2.0, 0.5, activation="tanh")


def test_the_arithmetic_of_an_adapter_that_only_crashed_is_not_measured(tmp_path: Path) -> None:
    """To measure it, the adapter would be called hundreds of times more."""
    write_part(tmp_path, 0, "passes", [[Verdict(SMALL, "forward", "z_1", "pass", 0.5)]])
    write_part(tmp_path, 1, "crashes", [[Verdict(SMALL, "contract", "program", "errored", message="it died")]])
    write_part(tmp_path, 2, "wrong", [[_wrong(SMALL, 3.0)]])
    assert failing_adapters(tmp_path) == {"wrong"}


@pytest.mark.parametrize(
    ("verdicts", "planned", "due"),
    [
        ([Verdict(SMALL, "forward", "z_1", "pass", 0.5, power=99.0)], 0, "PASS a 1: 1 case, 0 failures"),
        ([_wrong(SMALL, 3.0), _wrong(SAME, 4.0)], 0, "FAIL a 1: 2 cases, 2 failures"),
        (
            [Verdict(SMALL, "forward", "z_1", "pass", 0.5, power=99.0), Verdict(SAME, "error", "E", "inconclusive")],
            1,
            "FAIL a 1: 3 cases, 0 failures, 1 undecided, 1 without a result",
        ),
        ([Verdict(SMALL, "forward", "z_1", "inconclusive")], 0, "FAIL a 1: 1 case, 0 failures, 1 undecided"),
    ],
)
def test_the_run_is_said_in_a_line_for_each_adapter(
    verdicts: list[Verdict], planned: int, due: str, tmp_path: Path
) -> None:
    record = _record(tmp_path, verdicts, planned=planned)
    ((line, passes),) = verdict_lines(record)
    assert line == due
    assert passes is record.conforms


def test_of_failures_with_one_cause_the_smallest_is_shown(tmp_path: Path) -> None:
    lines = cause_lines(_record(tmp_path, [_wrong(LARGE, 900.0), _wrong(SAME, 5.0), _wrong(SMALL, 3.0)]))
    assert f"  smallest: {SMALL}" in lines
    assert f"  kterm shrink {SMALL} numpy" in lines
    assert not any(LARGE in line for line in lines)


def test_names_and_versions_are_printed_as_they_are_and_make_no_lines_of_their_own(tmp_path: Path) -> None:
    forged = replace(ADAPTER, name="x[/red]", version="1\nconforms (componentwise)\r\x1b[2J")
    record = _record(tmp_path, [Verdict(SMALL, "forward", "z_1", "pass", 0.5), _wrong(LARGE, 2.0)], forged)
    out = StringIO()
    Console(file=out, width=100).print(CheckTable(record))
    assert "x[/red]" in out.getvalue()
    lines = [title(record.header), *cause_lines(record), *summary_lines(record)]
    assert all(line.isprintable() for line in lines)
    assert r"x[/red] 1\nconforms (componentwise)\r\x1b[2J" in lines[0]
    assert "conforms (componentwise)" not in lines
    assert "does not conform (componentwise)" in lines


def _coarse(case: str, below_level: bool = False) -> Verdict:
    size = {"normwise": 0.25, "relative": 4e-9, "region": (-39.8, -20.1)}
    return replace(_wrong(case, 900.0), quantity="x_1", below_level=below_level, **size)


def test_what_is_only_componentwise_comes_last_with_its_size_and_region(tmp_path: Path) -> None:
    found = [_coarse(LARGE), _coarse(SAME), _wrong(SMALL, 3.0)]
    lines = cause_lines(_record(tmp_path, found))
    heading = next(i for i, line in enumerate(lines) if line.startswith("Componentwise only: "))
    assert [line for line in lines[:heading] if SMALL in line]
    assert not [line for line in lines[:heading] if SAME in line]
    assert lines[heading + 2] == "a: k_terms wrong in 2 cases"
    size = "at most 4e-09 of a tensor and at most 0.25 times the tolerance; tanh, z from -39.8 to -20.1"
    assert f"  norm of the error: {size}" in lines[heading:]
    assert len([line for line in lines if line.startswith("Componentwise only: ")]) == 1
    one = failure_lines(ADAPTER, [[found[0]]])
    assert "  norm of the error: 4e-09 of the tensor and 0.25 times the tolerance; tanh, z from -39.8 to -20.1" in one


def test_a_run_at_level_normwise_says_so_and_prints_what_it_lets_pass(tmp_path: Path) -> None:
    record = _record(tmp_path, [_coarse(LARGE, True), _coarse(SAME, True)], level="normwise")
    assert record.conforms
    assert ", level normwise, seed 0" in title(record.header)
    heading, empty, first, *_ = cause_lines(record)
    assert heading.endswith("which a run at level normwise lets pass.")
    assert (empty, first) == ("", "a: k_terms wrong in 2 cases")
    assert not any("no known mistake" in line for line in cause_lines(record))  # none was looked for
    *_, below, last = summary_lines(record)
    assert below == "2 findings in 2 cases are componentwise only and pass at level normwise"
    assert last == "conforms (normwise)"


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("1.5e3 σ, été, 漢字") == "1.5e3 σ, été, 漢字"
    assert printable("a\u2028b\u202ec") == r"a\u2028b\u202ec"
    assert printable("a::b # c") == "a::b # c"


@pytest.mark.parametrize("text", ["::error::x", "  ::stop-commands::x", "a ##[error]x"])
def test_no_line_is_a_command_of_github(text: str) -> None:
    shown = printable(text)
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert shown.replace("\\x3a", ":").replace("\\x23", "#") == text


def test_only_a_record_that_is_there_is_said_to_hold_the_rest(tmp_path: Path) -> None:
    record = _record(tmp_path, [], planned=12)
    text = "\n".join(summary_lines(record))
    assert text.count("no result for: ") == 10
    assert "... and 2 more cases without a result; --report FILE writes all of them to a record" in text
    assert "planned 12 = 0 passed + 0 failed + 12 without a result" in text
    assert "without a result; all are in r.jsonl" in "\n".join(summary_lines(record, Path("r.jsonl")))
    stopped = summary_lines(record, stopped=True)
    assert "stopped early: no result for 12 of 12 cases" in stopped
    assert not any(line.startswith("no result for") for line in stopped)


def test_each_adapter_has_to_be_checked(tmp_path: Path) -> None:
    other = replace(ADAPTER, name="b")
    record = _record(tmp_path, [Verdict(SMALL, "forward", "z_1", "pass", 0.5)], ADAPTER, other)
    # All of b was deselected, which is what was asked for.
    assert (record.unchecked, record.deselected) == ((), ("b",))
    assert record.conforms
    assert "no part of this run: b; every case of it was deselected" in summary_lines(record)
    (tmp_path / "more").mkdir()
    write_part(tmp_path / "more", 0, "a", [[Verdict(SMALL, "forward", "z_1", "pass", 0.5)]])
    write_part(tmp_path / "more", 1, "b", [[Verdict(SMALL, "contract", "program", "unsupported", message="no")]])
    path, audit = tmp_path / "both.jsonl", ExpectationAudit((), (ADAPTER, other), Options(), False)
    finish(path, tmp_path / "more", record.header, [("a", SMALL), ("b", SMALL)], audit)
    both = read(path, against_plan=False)
    assert both.unchecked == ("b",)
    assert not both.conforms
    assert "nothing was checked of b: 1 unsupported" in summary_lines(both)


class Mine(Numpy):
    """An adapter that a command line can name."""

    name = "mine"


def test_printed_commands_name_the_spec_the_mutant_and_the_device() -> None:
    adapter = replace(ADAPTER, spec="my port.py:Port", mutant="decay", has_script=True).to_json()
    assert command_lines(SMALL, adapter, "cuda:1") == [
        f"kterm shrink {SMALL} 'my port.py:Port' --mutant decay --device cuda:1",
        f"kterm replay {SMALL} 'my port.py:Port' --mutant decay --device cuda:1",
        f"kterm reproduce {SMALL} 'my port.py:Port' --mutant decay --device cuda:1 -o bug.py",
    ]
    assert len(command_lines(SMALL, {**adapter, "has_script": False})) == 2
    assert not any("kterm " in line for line in failure_lines(replace(ADAPTER, spec=""), [[_wrong(SMALL, 2.0)]]))


def test_the_spec_of_an_object_is_what_a_command_line_calls_its_class() -> None:
    class Local(Mine):
        pass

    class WithArguments(Mine):
        def __init__(self, size: int) -> None:
            super().__init__()

    found = [spec_of(one) for one in (Numpy(), Mine(), Local(), WithArguments(3))]
    assert found == ["numpy", f"{Mine.__module__}:Mine", "", ""]


def test_an_adapter_has_a_script_where_its_class_writes_one() -> None:
    class Without(Mine):
        script = Adapter.script

    assert describe(Numpy(), "").has_script
    assert not describe(Without(), "").has_script


# The run as a whole.


def _run_lines(folder: Path, *moments: Moments, verdicts: tuple[Verdict, ...] = ()) -> list[str]:
    """What is said of a run with these moments in float32, and with these verdicts on its cases."""
    described = replace(ADAPTER, dtypes=("f32",))
    header: dict[str, Any] = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": []}
    header |= {"level": "componentwise"}
    header["adapters"] = [{**described.to_json(), "structures": 1, "unsupported": []}]
    cases = verdicts or (Verdict(SMALL, "forward", "z_1", "pass", 0.5),)
    write_part(folder, 0, "a", [[verdict] for verdict in cases], moments=merge(moments))
    audit = ExpectationAudit((), (described,), Options(), False)
    finish(folder / "record.jsonl", folder, header, [("a", v.case) for v in cases], audit)
    return summary_lines(read(folder / "record.jsonl", against_plan=False))


def test_a_run_says_how_small_an_error_it_would_have_shown(tmp_path: Path) -> None:
    lines = _run_lines(tmp_path, made_moments(0.0))
    (line,) = (line for line in lines if line.startswith("a f32, whole run"))
    assert re.fullmatch(
        r"a f32, whole run: sees a relative error of [\d.e-]+ in all of dE/dW; 0 of 2 verdicts inconclusive", line
    )
    assert lines[-1] == "conforms (componentwise)"


def test_a_run_of_which_no_step_is_shown_says_so(tmp_path: Path) -> None:
    assert "a f32, whole run: not judged; no local step of a conclusive draw is shown" in _run_lines(tmp_path)


@pytest.mark.parametrize(
    ("outward", "words"),
    [
        (-0.72, "  results that are truncated once lie 0.72 u off on average: this is likely the cause"),
        (-0.3, "  a factor of 1 - 1.8e-08 would do this, or a rounding toward zero of some of the steps"),
        (0.5, "  a factor of 1 + 3e-08 would do this, or a rounding away from zero"),
    ],
)
def test_the_cause_of_a_bias_is_named_as_far_as_it_is_known(tmp_path: Path, outward: float, words: str) -> None:
    lines = _run_lines(tmp_path, made_moments(outward))
    assert words in lines
    sign = "-" if outward < 0 else "+"
    assert any(line.startswith(f"a: bias in f32, dE/dW: the mean error is {sign}0.") for line in lines)
    assert lines[-1] == "does not conform (componentwise)"


def test_a_bias_that_grows_with_the_length_of_a_sum_is_one_of_partial_sums(tmp_path: Path) -> None:
    long = {("f32", "dE/dW", "", "long"): made_moments(-1.4)["f32", "dE/dW", "", "short"]}
    words = "this grows with the number of terms (0.7 u up to 16 terms, 1.4 u beyond), as if partial sums were rounded"
    assert f"  {words} toward zero" in _run_lines(tmp_path, made_moments(-0.7), long)


def test_activations_with_one_finding_are_listed_together_without_a_cause_that_the_sums_have(tmp_path: Path) -> None:
    moments = [made_moments(-0.72, "k", activation=name) for name in ("relu", "identity")]
    lines = _run_lines(tmp_path, *moments, made_moments(-0.72))
    assert sum("bias in f32, k of identity, relu: " in line for line in lines) == 1
    assert sum("this is likely the cause" in line for line in lines) == 1


def test_a_spread_without_a_direction_is_described(tmp_path: Path) -> None:
    rows = np.array([[50, 0.1, -0.1, 120.0, 50, 0, 50], [50, -0.1, 0.1, 121.0, 50, 0, 50]] * 20)
    made = [collect([(("f32", "z", "", length), rows)]) for length in ("short", "long")]
    lines = _run_lines(tmp_path, *made)
    assert any("a: spread in f32, z: the mean square of the errors is 2.41" in line for line in lines)
    assert "  they have no direction, as if products or sums were rounded to fewer bits than the format has" in lines


def test_a_run_with_failing_cases_says_what_its_means_are_of(tmp_path: Path) -> None:
    lines = _run_lines(tmp_path, made_moments(-0.72), verdicts=(_wrong(SMALL, 3.0),))
    assert "  cases of a fail too: these means are of the draws in which nothing was found" in lines


def test_at_a_kink_both_ends_of_what_the_rule_allows_are_shown() -> None:
    """relu'(0) may be anything from 0 to 1, so k may be anything from -3 to 0 here; the framework gives 2 for it."""
    case = parse_case("1x1-relu-b1-none-f64-kinks-s0", tuple(REGIMES))
    one, three = np.ones((1, 1)), np.full((1, 1), 3.0)
    draw = Draw(Parameters((0 * one,), ()), one, three, np.zeros((), bool))
    observed = Observation(0 * one, np.asarray(4.5), (-6 * one,), (), (0 * one,), (0 * one,), (-6 * one,))
    group = Group(case.structure, case.regime, 0, (0,))
    (compared,) = (c for c in compare(case.structure, draw[None], [observed], "kinks") if c.quantity == "k_1")
    verdict = verdict_on(group, case.id, compared, 0, False)
    (line,) = finding_lines(verdict)
    assert line.startswith("  k_1[0, 0] (relu): the framework gives -6.0, the rule anything from about -3 to 0; ")
    stored = msgspec.json.decode(format_verdict("a", verdict), type=VerdictLine)
    assert finding_lines(to_verdict(stored)) == [line]
    declared = {"relu": {0.0: 0.0}}
    (compared,) = (c for c in compare(case.structure, draw[None], [observed], "kinks", declared) if c.quantity == "k_1")
    (line,) = finding_lines(verdict_on(group, case.id, compared, 0, False))
    assert "the rule -0.0; " in line or "the rule 0.0; " in line
