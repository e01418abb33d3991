"""The record of a judged trace: it says what was judged, it reads back, and what was altered is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from kterm.adapters.traces.trace import Trace
from kterm.conformance.cases.case import traced_layer, traced_place
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.interfaces.models.judgement import Judgement
from kterm.conformance.interfaces.models.record import write_record
from kterm.conformance.interfaces.models.run import judge
from kterm.conformance.records.folder import RunFolder
from kterm.conformance.records.record import Record, RecordError, read
from kterm.conformance.records.report import summary_lines, title

from ....support.here import kterm_here
from ....support.mistakes.models.faults import FAULTS
from ....support.mistakes.models.small import Small

SOUND = Small(passes=2, steps=3, activation="softplus", dtype="float16")
Rows = list[dict[str, Any]]


def _lost() -> Trace:
    return next(fault for fault in FAULTS if fault.name == "lost-micro-batch").trace()


def _record(judgement: Judgement, folder: Path) -> Path:
    path = folder / "record.jsonl"
    with RunFolder(path) as place:
        place.deliver(write_record(judgement, (), False, place))
    return path


def _called(one: Any) -> str:
    return one.verdict.quantity if one.call is None else f"{one.verdict.quantity} of call {one.call + 1}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_record_says_what_was_judged(fault: Any, tmp_path: Path) -> None:
    judgement = judge(fault.trace())
    record = read(_record(judgement, tmp_path))
    assert not record.conforms
    assert record.is_of_trace
    # Each layer in each step is a case, with all quantities.
    places = {(traced_layer(case), int(case.rpartition("-s")[2])): one for (_, case), one in record.cases.items()}
    assert places.keys() == {(one.layer, one.step) for one in judgement.verdicts}
    for place, case in places.items():
        some = [one for one in judgement.verdicts if (one.layer, one.step) == place]
        assert sorted(name for names in case.tensors.values() for name in names) == sorted(map(_called, some))
        for check, result in case.checks.items():
            worst = max(one.verdict.worst for one in some if one.verdict.check == check)
            assert result.margin == (float(f"{worst:.2g}") if math.isfinite(worst) else worst)
    # Each finding is in full, and each cause is the judge's.
    found = [verdict for some in record.verdicts.values() for verdict in some if verdict.fails]
    assert sorted((v.case, v.check, v.quantity) for v in found) == sorted(
        (one.verdict.case, one.verdict.check, _called(one)) for one in judgement.findings
    )
    for one in judgement.findings:
        due = one.verdict.case, one.verdict.check, _called(one)
        (same,) = (v for v in found if (v.case, v.check, v.quantity) == due)
        assert (same.observed, same.expected, same.at) == (one.verdict.observed, one.verdict.expected, one.verdict.at)
    texts = {one.cause.text for one in judgement.findings if one.cause is not None}
    assert record.causes
    assert {cause.text for cause in record.causes} <= texts
    assert sum(cause.cases for cause in record.causes) == len({one.verdict.case for one in judgement.findings})


def test_the_record_of_a_sound_trace_conforms_and_can_be_repeated(tmp_path: Path) -> None:
    trace = SOUND.trace()
    judgement = judge(trace)
    path = _record(judgement, tmp_path)
    record = read(path)
    assert record.conforms
    assert judgement.conforms
    assert record.header["trace"]["steps"] == 3
    assert title(record.header).endswith("small 1; 3 layers, 3 steps of a trace")
    assert len(record.cases) == 9
    # The run as a whole is that of the judgement: of all layers, then of each.
    of_run = [(v.check, v.quantity, v.case, v.grade) for v in record.of_run["small"]]
    due = [v for judged in (judgement.whole, *judgement.by_layer.values()) for one in judged for v in one.verdicts]
    assert sorted(of_run) == sorted((v.check, v.quantity, v.case, v.grade) for v in due)
    assert {v.case for v in due} == {"all-f16-run", *(f"@layers.{i}-f16-run" for i in range(3))}
    again = tmp_path / "again"
    again.mkdir()
    assert _record(judge(trace), again).read_bytes() == path.read_bytes()


def test_python_writes_the_record_of_the_command(tmp_path: Path) -> None:
    trace = SOUND.trace()
    trace.save(tmp_path / "trace")
    judge(trace, report=tmp_path / "here.jsonl")
    assert _run("judge", tmp_path / "trace", "--report", tmp_path / "there.jsonl", "-n", "0").returncode == 0
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
    with pytest.raises(OptionError, match="is a folder"):
        judge(trace, report=tmp_path)


def test_a_trace_that_decides_nothing_does_not_conform(tmp_path: Path) -> None:
    # Sums of thousands of terms that cancel, in float16: rounding is larger than a tenth of every tensor.
    judgement = judge(Small(widths=(3000, 1), axes=(2,), dtype="float16", scale=1e-3).trace(), layers=["layers.0"])
    weak = [one for one in judgement.verdicts if one.verdict.grade == "inconclusive"]
    only = Judgement(judgement.trace, judgement.options, tuple(weak), (), (), {}, {})
    assert bool(weak) is True
    assert not only.conforms
    assert "undecided" in str(only)
    record = read(_record(only, tmp_path))
    assert not record.conforms
    assert record.unchecked == ("small",)


def test_a_bias_of_one_layer_fails_the_record(tmp_path: Path) -> None:
    from .test_judge import chopped_trace

    judgement = judge(chopped_trace())
    record = read(_record(judgement, tmp_path))
    assert not judgement.conforms
    assert not record.conforms
    assert record.footer["accounting"]["failed"] == 0
    failing = {traced_layer(v.case) for v in record.of_run["small"] if v.fails}
    assert failing == {None, "layers.1"}  # it shows in all layers together too
    assert any("bias in f32, z of layers.1: the mean error" in line for line in summary_lines(record))


@pytest.mark.parametrize("name", ["up-down", "a b", "…/7", "%2D", "layout", "@", "x\x1b[31m", "-s3", "kinks"])
def test_any_name_of_a_layer_is_a_part_of_an_id(name: str, tmp_path: Path) -> None:
    place = traced_place(name)
    assert "-" not in place
    assert place.isascii()
    assert place.isprintable()
    assert traced_layer(f"3x4-tanh-b2-pre-f32-{place}-s7") == name
    trace = Small(steps=2).trace()
    (_, *others), *_ = (step.layers for step in trace.manifest.steps)
    steps = tuple(
        structs.replace(step, layers=(structs.replace(step.layers[0], name=name), *step.layers[1:]))
        for step in trace.manifest.steps
    )
    record = read(_record(judge(Trace(structs.replace(trace.manifest, steps=steps), trace.steps)), tmp_path))
    assert record.conforms
    assert {traced_layer(case) for _, case in record.cases} == {name, *(one.name for one in others)}


def _first(rows: Rows, kind: str) -> int:
    return next(i for i, row in enumerate(rows) if row["kind"] == kind)


def _drop_case(rows: Rows) -> Rows:
    at = _first(rows, "case")
    return rows[:at] + rows[at + 1 :]


def _drop_case_and_counts(rows: Rows) -> Rows:
    rows = _drop_case(rows)
    for counts in (rows[-1]["accounting"], rows[-1]["by_adapter"]["small"], rows[-1]["judged"]["small"]):
        for name in ("planned", "passed", "cases"):
            if name in counts:
                counts[name] -= 1
    for check, counts in rows[-1]["checks"]["small"].items():
        counts["passed"] -= check not in ("bias", "spread")
    rows[0]["planned"] -= 1
    return rows


def _swap(rows: Rows) -> Rows:
    at = _first(rows, "case")
    rows[at], rows[at + 1] = rows[at + 1], rows[at]
    return rows


def _set(*path: Any, to: Any) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        place: Any = rows
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to
        return rows

    return change


def _without_gradients(rows: Rows) -> Rows:
    at = 0
    for row in rows:
        if row["kind"] == "group":
            at = list(row["checks"]).index("weight_gradients")
            del row["checks"]["weight_gradients"]
        if row["kind"] == "case":
            del row["margins"][at], row["powers"][at]
    del rows[-1]["checks"]["small"]["weight_gradients"]
    return rows


def _as_run(rows: Rows) -> Rows:
    del rows[0]["trace"]
    return rows


def _rename_moments(rows: Rows) -> Rows:
    rows[-1]["moments"]["other"] = rows[-1]["moments"].pop("layers.1")
    return rows


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_drop_case, "9 cases planned, 8 answered"),
        (_drop_case_and_counts, "promises 9 layers in a step, and it holds 8"),
        (_swap, "is listed next"),
        (_without_gradients, "has other quantities than its header lists"),
        (_rename_moments, "not those that its moments give|moments of other layers"),
        (_set(0, "trace", "steps", to=2), "lists steps beyond the 2 of its trace"),
        (_set(0, "trace", "layers", 0, "steps", to=[[0, 2**52]]), "lists steps beyond"),
        (_set(0, "trace", "layers", 0, "steps", to=[[2, 0]]), "lists steps beyond"),
        (_set(0, "trace", "layers", 0, "steps", to=[[0, 1]]), "promises 8 layers in a step, and it holds 9"),
        (_set(0, "adapters", 0, "plan", to="0" * 16), "another hash than its cases give"),
        (_set(0, "selected", to=[[0, 1]]), "describes the judging of no trace"),
        (_set(0, "trace", to=None), "is no line that this version knows"),
        (_set(-1, "unanswered", to=[["small", "x"]]), "9 cases planned, 9 answered, 1 unanswered"),
        (_as_run, "no moments|no run can be asked for"),
    ],
)  # fmt: skip
def test_an_altered_record_is_refused(change: Callable[[Rows], Rows], why: str, tmp_path: Path) -> None:
    path = _record(judge(SOUND.trace()), tmp_path)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)), "utf-8")
    for against_plan in (True, False):
        with pytest.raises(RecordError, match=why) as caught:
            read(path, against_plan)
        assert "\n" not in str(caught.value)


def _run(*arguments: object) -> Any:
    return kterm_here(*map(str, arguments), folder=Path.cwd())


def test_the_commands_take_the_record_of_a_trace(tmp_path: Path) -> None:
    Small(steps=2).trace().save(tmp_path / "sound")
    _lost().save(tmp_path / "lost")
    for name, code in (("sound", 0), ("lost", 1)):
        done = _run("judge", tmp_path / name, "--report", tmp_path / f"{name}.jsonl", "--quiet")
        assert (done.returncode, done.stdout.count("\n")) == (code, 1)
        view = _run("view", tmp_path / f"{name}.jsonl", "--junit", tmp_path / f"{name}.xml")
        assert view.returncode == code
        assert (tmp_path / f"{name}.xml").stat().st_size
    assert "cause: leaves out backward pass 3 of 4" in view.stdout
    assert "kterm reproduce TRACE layers.1 --step 0 -o bug.py" in view.stdout
    rows = _run("rows", tmp_path / "lost.jsonl")
    assert rows.returncode == 0
    assert "20x16-tanh-b60-pre-f32-@layers.1-s0,@layers.1,f32,pre,60,20x16,tanh,weight_gradients,failed" in rows.stdout
    same = _run("compare", tmp_path / "lost.jsonl", tmp_path / "lost.jsonl", "--fail-on", "any")
    assert same.returncode == 0
    worse = _run("compare", tmp_path / "sound.jsonl", tmp_path / "lost.jsonl")
    assert worse.returncode == 1
    assert "dL/dW: leaves out backward pass 3 of 4" in worse.stdout
    assert _run("judge", tmp_path / "sound", "--report", tmp_path).returncode == 2


def test_what_only_a_run_has_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, run = tmp_path / "trace.jsonl", tmp_path / "run.jsonl"
    Small().trace().save(tmp_path / "trace")
    assert _run("judge", tmp_path / "trace", "--report", trace).returncode == 0
    assert _run("check", "numpy", "--profile", "smoke", "-n", "0", "--report", run).returncode == 0
    for command in (("recheck", trace), ("compare", run, trace), ("compare", trace, run), ("merge", trace, "-o", run)):
        done = _run(*command)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "of a trace" in done.stderr or "is no shard" in done.stderr


def test_a_known_divergence_of_a_trace_is_in_its_record(tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "other-activation")
    fault.trace().save(tmp_path / "trace")
    record, entries = tmp_path / "record.jsonl", tmp_path / "known.toml"
    assert _run("judge", tmp_path / "trace", "--report", record).returncode == 1
    assert _run("expect", record, "-o", entries).returncode == 0
    text = entries.read_text("utf-8").replace('reason = ""', 'reason = "of this model"')
    entries.write_text(text, "utf-8")
    assert _run("judge", tmp_path / "trace", "--report", record, "--expectations", entries).returncode == 0
    found = read(record)
    assert isinstance(found, Record)
    assert found.conforms
    assert [one.state for one in found.audited] == ["met"]
    assert found.footer["accounting"]["expected"] == 1
