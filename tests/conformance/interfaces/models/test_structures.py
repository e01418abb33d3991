"""The structures of a trace are those of its layers, and their ids are ids of cases."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import DTypeLike

from kterm.adapters.traces.manifest import Activation, Call, Layer, Layout, Products
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.interfaces.models.read import read_trace
from kterm.conformance.interfaces.models.structures import list_structures

from ....support.here import kterm_here


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
