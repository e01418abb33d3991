"""The structures of a trace are those of its layers, and their ids are ids of cases."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import DTypeLike

from kterm import check_adapter, read_record
from kterm.adapters.traces.manifest import Activation, Call, Layer, Layout, Products
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.conformance.cases.case import MOST_NUMBERS, count_numbers, parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.interfaces.models.read import read_trace
from kterm.conformance.interfaces.models.structures import list_cases, list_structures
from kterm.conformance.records.record import RecordError

from ....support.here import kterm_here
from ....support.mistakes.models.small import Small


def _trace(folder: Path | None = None) -> Trace:
    builder = TraceBuilder(folder)
    for _ in range(2):
        layers = [
            _layer(builder, "up", (3, 5), "f4", activation="gelu_tanh"),
            _layer(builder, "gate", (3, 5), "f4", activation="gelu_tanh"),
            _layer(builder, "down", (5, 3), "f4", layout="out_in", has_bias=False),
            _layer(builder, "mixed", (5, 3), "f4", products=Products(dtype="bf16")),
            _layer(builder, "wide", (2000, 1000), ml_dtypes.bfloat16),
            _layer(builder, "blind", (2, 2), "f4", has_input=False),
            _layer(builder, "empty", (2, 2), "f4", rows=0),
        ]
        builder.end_step(layers, [])
    return builder.trace()


def _layer(
    builder: TraceBuilder,
    name: str,
    sizes: tuple[int, int],
    dtype: DTypeLike,
    rows: int = 4,
    layout: Layout = "in_out",
    has_bias: bool = True,
    has_input: bool = True,
    activation: str | None = None,
    products: Products | None = None,
) -> Layer:
    def put(what: str, *shape: int) -> str:
        return builder.put(f"{name}.{what}", np.zeros(shape, np.dtype(dtype)))

    call = Call(
        weight=put("weight", *(sizes if layout == "in_out" else sizes[::-1])),
        bias=put("bias", sizes[1]) if has_bias else None,
        input=put("input", rows, sizes[0]) if has_input else None,
        output=put("output", rows, sizes[1]) if has_input else None,
        activation=Activation(name=activation) if activation else None,
        products=products,
    )
    own = f"{name}.bias" if has_bias else None
    return Layer(name=name, weight=f"{name}.weight", calls=(call,), bias=own, layout=layout)


@pytest.mark.parametrize("is_stored", [False, True])
def test_each_structure_is_listed_once_with_its_calls_and_layers(tmp_path: Path, is_stored: bool) -> None:
    trace = _trace(tmp_path / "trace" if is_stored else None)
    found, unknown = list_structures(read_trace(tmp_path / "trace") if is_stored else trace)
    assert [(one.id, one.calls, one.layers) for one in found] == [
        ("3x5-gelu_tanh-b4-pre-f32", 4, ("up", "gate")),
        ("5x3-identity-b4-none-f32", 2, ("down",)),
        ("5x3-identity-b4-pre-bf16", 2, ("mixed",)),
        ("2000x1000-identity-b4-pre-bf16", 2, ("wide",)),
        ("2x2-identity-b0-pre-f32", 2, ("empty",)),
    ]
    assert unknown == ("blind",)
    assert found[0].products == 3 * 3 * 5 * 4


def test_what_is_no_case_is_said_and_every_other_id_parses_back() -> None:
    found, _ = list_structures(_trace())
    assert [one.problem.partition(",")[0] for one in found if one.problem] == ["it would hold 2", "it has no numbers"]
    for one in (one for one in found if not one.problem):
        assert parse_case(f"{one.id}-normal-s0", tuple(REGIMES)).structure == one.structure


def test_the_command_prints_a_line_a_structure(tmp_path: Path) -> None:
    _trace(tmp_path / "trace")
    done = kterm_here("cases", "trace", folder=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "3x5-gelu_tanh-b4-pre-f32  4 calls, 0.00018 million multiplications a call: up, gate"
    assert lines[-2:] == [
        "blind: the number of rows of a call was not captured",
        "5 structures of dense layers; 3 can be a case",
    ]


def test_a_broken_trace_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("{}")
    done = kterm_here("cases", ".", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is not the manifest of a trace" in done.stderr


def test_cases_are_cut_where_a_structure_is_too_large_for_one() -> None:
    ids, notes = list_cases(_trace())
    parts = [parse_case(f"{one}-normal-s0", tuple(REGIMES)).structure for one in ids]
    wide = [one for one in parts if one.dtype == "bf16" and one.network.widths[0] > 100]
    # One keeps the inputs, whose products z sums, and one the outputs, as dL/dx does.
    keeps_inputs, keeps_outputs = wide
    assert keeps_inputs.network.widths[0] == 2000
    assert keeps_outputs.network.widths[1] == 1000
    assert all(count_numbers(one, "normal") > 0.9 * MOST_NUMBERS for one in wide)
    assert "2000x1000-identity-b4-pre-bf16 is too large for a case; tested are 2000x" in " ".join(notes)
    assert any(note.startswith("2x2-identity-b0-pre-f32 is left out: it has no numbers") for note in notes)
    assert any(note.startswith("blind is left out") for note in notes)


def test_rows_are_cut_before_widths() -> None:
    builder = TraceBuilder()
    builder.end_step([_layer(builder, "long", (300, 200), "f4", rows=4000)], [])
    ids, _ = list_cases(builder.trace())
    (structure,) = (parse_case(f"{one}-normal-s0", tuple(REGIMES)).structure for one in ids)
    assert structure.network.widths == (300, 200)
    assert 64 <= structure.batch < 4000


def test_a_framework_is_checked_on_the_structures_of_a_trace(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    Small(widths=(6, 9, 4), axes=(2, 3), activation="silu", dtype="float32").trace().save(folder)
    due = ["6x9-silu-b6-pre-f32", "9x4-silu-b6-pre-f32"]
    done = kterm_here("check", "numpy", "--like", "trace", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # Reading makes the plan anew.
    record = read_record(tmp_path / "run.jsonl")
    assert record.header["like"] == due
    judged = {case.rpartition("-normal-")[0] for _, case in record.cases if "-layout-" not in case}
    assert judged == set(due)
    again = kterm_here("recheck", "run.jsonl", "--sample", "2", folder=tmp_path)
    assert again.returncode == 0, again.stdout
    results = check_adapter("numpy", profile="smoke", like=folder)
    assert results.conforms
    assert {case.rpartition("-normal-")[0] for case in results.verdicts if "-layout-" not in case} == set(due)


def test_a_record_whose_structures_were_changed_is_refused(tmp_path: Path) -> None:
    Small(widths=(6, 9), axes=(4,), dtype="float64").trace().save(tmp_path / "trace")
    kterm_here("check", "numpy", "--like", "trace", "--profile", "smoke", "-n", "0", "-o", "run.jsonl", folder=tmp_path)
    text = (tmp_path / "run.jsonl").read_text()
    for other in ("7x9-tanh-b4-pre-f64", "6x9-tanh-b4-pre-f64-normal-s0", "\\u202e", "6x9-nothing-b4-pre-f64"):
        (tmp_path / "forged.jsonl").write_text(text.replace('"like":["6x9-tanh-b4-pre-f64"]', f'"like":["{other}"]'))
        with pytest.raises(RecordError) as caught:
            read_record(tmp_path / "forged.jsonl")
        assert str(caught.value).isprintable()


def test_what_the_adapter_lacks_is_left_out_by_name(tmp_path: Path) -> None:
    builder = TraceBuilder(tmp_path / "trace")
    builder.end_step([_layer(builder, "narrow", (3, 2), ml_dtypes.bfloat16), _layer(builder, "up", (3, 5), "f4")], [])
    done = kterm_here("check", "numpy", "--like", "trace", "-n", "0", "--dtype", "f32", folder=tmp_path)
    assert done.returncode == 0
    assert "3x5-identity" in done.stdout


@pytest.mark.parametrize("name", ["nothing", "run.jsonl"])
def test_a_trace_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.jsonl").write_text("{}")
    done = kterm_here("check", "numpy", "--like", name, "-n", "0", folder=tmp_path)
    assert done.returncode == 2
    assert "kterm: trace " in done.stderr
