"""Views of a record: what adapters say is plain text, what is shown of a failure is the smallest, and no line says what
is not so.
"""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import Options
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.causes import causes
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.records.record import Record, finish, read, write_part
from kterm.conformance.records.report import (
    CheckTable,
    cause_lines,
    command_lines,
    failure_lines,
    printable,
    summary_lines,
    title,
)
from kterm.conformance.runners.specs import spec_of

ADAPTER = replace(describe(Numpy(), "numpy"), name="a", version="1")
SMALL, SAME = "4x3-tanh-b2-none-f64-normal-s7", "4x3-tanh-b2-none-f64-normal-s8"
LARGE = "9x9-tanh-b2-none-f64-normal-s0"


def _record(folder: Path, verdicts: list[Verdict], *adapters: Any, planned: int = 0) -> Record:
    used = adapters or (ADAPTER,)
    header = {"suite": "0", "profile": "quick", "seed": 0, "dtypes": [], "activations": []}
    header["adapters"] = [{**one.to_json(), "structures": 1, "unsupported": []} for one in used]
    for number, verdict in enumerate(verdicts):
        write_part(folder, number, used[0].name, [[verdict]])
    cases = [(used[0].name, v.case) for v in verdicts]
    cases += [(used[0].name, f"4x{i + 4}-tanh-b2-none-f64-normal-s0") for i in range(planned)]
    found = causes((used[0].name, [verdict]) for verdict in verdicts)
    finish(folder / "record.jsonl", folder, header, cases, ExpectationAudit((), tuple(used), Options(), False), found)
    return read(folder / "record.jsonl")


def _wrong(case: str, worst: float) -> Verdict:
    return Verdict(case, "k_terms", "k_1", "wrong", worst, (0, 0), 1e5, 1.0, 2.0, 0.5, activation="tanh")


def test_of_failures_with_one_cause_the_smallest_is_shown(tmp_path: Path) -> None:
    lines = cause_lines(_record(tmp_path, [_wrong(LARGE, 900.0), _wrong(SAME, 5.0), _wrong(SMALL, 3.0)]))
    assert f"  smallest: {SMALL}" in lines
    assert f"  kterm shrink {SMALL} numpy" in lines
    assert not any(LARGE in line for line in lines)


def test_names_and_versions_are_printed_as_they_are_and_make_no_lines_of_their_own(tmp_path: Path) -> None:
    forged = replace(ADAPTER, name="x[/red]", version="1\nconforms\r\x1b[2J")
    record = _record(tmp_path, [Verdict(SMALL, "forward", "z_1", "pass", 0.5), _wrong(LARGE, 2.0)], forged)
    out = StringIO()
    Console(file=out, width=100).print(CheckTable(record))
    assert "x[/red]" in out.getvalue()
    lines = [title(record.header), *cause_lines(record), *summary_lines(record)]
    assert all(line.isprintable() for line in lines)
    assert r"x[/red] 1\nconforms\r\x1b[2J" in lines[0]
    assert "conforms" not in lines


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("1.5e3 σ, été, 漢字") == "1.5e3 σ, été, 漢字"
    assert printable("a\u2028b\u202ec") == r"a\u2028b\u202ec"


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
    # The user deselected all of b.
    assert record.unchecked == ()
    assert record.conforms
    (tmp_path / "more").mkdir()
    write_part(tmp_path / "more", 0, "a", [[Verdict(SMALL, "forward", "z_1", "pass", 0.5)]])
    write_part(tmp_path / "more", 1, "b", [[Verdict(SMALL, "contract", "program", "unsupported", message="no")]])
    path, audit = tmp_path / "both.jsonl", ExpectationAudit((), (ADAPTER, other), Options(), False)
    finish(path, tmp_path / "more", record.header, [("a", SMALL), ("b", SMALL)], audit)
    both = read(path)
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
