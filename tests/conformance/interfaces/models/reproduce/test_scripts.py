"""A finding of a trace as a script: its three numbers are those of the judge, and its exit code says whose fault it is.

Scripts run in this process, except where a new one is what is tested.
"""

import contextlib
import io
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from kterm.adapters.traces.manifest import Activation, Call, Layer, Parameter, Products
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.conformance.interfaces.models.judgement import Options
from kterm.conformance.interfaces.models.products.compare import Worst
from kterm.conformance.interfaces.models.reproduce.evidence import Unwritable
from kterm.conformance.interfaces.models.reproduce.find import (
    Ending,
    Found,
    find_findings,
    reproduce_finding,
    run_written,
    save_written,
)
from kterm.conformance.interfaces.models.reproduce.write import MOST_LITERALS, Written
from kterm.reference import Array

from .....support.mistakes.models.faults import FAULTS, Fault
from .....support.mistakes.models.small import Arrays, Small
from .....support.scripts import imports

Run = Callable[[Written], Ending]
ONE_OF_EACH = ("other-activation", "slope-of-a", "edited-on-the-way", "one-unit", "weight-updated", "lost-micro-batch")
ONE_OF_EACH += ("bias-mean",)


def _fault(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)


def _of(framework: str, trace: Trace) -> Trace:
    return Trace(structs.replace(trace.manifest, framework=framework), trace.steps)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script in this process. `last` of the ending is all that it printed."""

    def run_here(written: Written) -> Ending:
        path = tmp_path / "bug.py"
        save_written(written, path)
        out, code = io.StringIO(), 0
        with contextlib.redirect_stdout(out):
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else -1
        return Ending(code, out.getvalue())

    return run_here


def _reproduce(trace: Trace, run: Run, layer: str = "layers.1") -> Found:
    return reproduce_finding(trace, find_findings(trace, layer, None, None)[0], run)


def _departures(found: Found) -> tuple[float, float]:
    """What the script printed of the trace's number and of the call's, in tolerances."""
    trace, now = re.findall(r", (\S+) tolerances away", found.ending.last)
    return float(trace), float(now)


def _require_call_is_right(found: Found) -> None:
    """The departure that is printed is the judge's, and the call's own is none."""
    in_trace, now = _departures(found)
    verdict = found.finding.verdict
    assert found.ending.code == 0
    assert now <= 1
    if verdict.quantity == "dL/dz behind":
        assert in_trace > 1
    else:
        assert in_trace == pytest.approx(verdict.worst, rel=6e-3)
        assert f"it should be {verdict.expected!r}" in found.written.source
    assert "kterm" not in imports(found.written.source)
    assert max(map(len, found.written.source.splitlines())) <= 120


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_numpy_gives_the_right_number_beside_that_of_the_trace(fault: Fault, run: Run) -> None:
    found = _reproduce(_of("numpy", fault.trace()), run)
    _require_call_is_right(found)
    assert "NumPy's own call is right, and the trace has another number." in found.ending.last
    assert found.written.arrays == {}


@pytest.mark.parametrize("layout", ["in_out", "out_in"])
@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_call_of_a_framework_is_right_where_the_fault_is_around_it(
    framework: str, name: str, layout: str, run: Run
) -> None:
    pytest.importorskip(framework)
    fault = _fault(name)
    found = _reproduce(_of(framework, replace(fault, model=replace(fault.model, layout=layout)).trace()), run)
    _require_call_is_right(found)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("name", ["bias-twice", "lost-micro-batch", "bias-mean"])
def test_narrow_and_wide_dtypes_have_scripts(name: str, dtype: str, run: Run) -> None:
    pytest.importorskip("torch")
    fault = _fault(name)
    trace = replace(fault, model=replace(fault.model, dtype=dtype)).trace()
    for framework in ("numpy", "torch"):
        _require_call_is_right(_reproduce(_of(framework, trace), run))


def _half_a_gradient(framework: str, narrow: bool, shares: bool = False) -> Trace:
    """A layer whose dL/dW is half of what it should be, computed in bfloat16 if `narrow`, on top of a gradient. A table
    has the same weight if `shares`.
    """
    rng = np.random.default_rng(0)
    builder = TraceBuilder(framework=framework, framework_version="1")

    def put(name: str, array: Array) -> str:
        return builder.put(name, array.astype(np.float32))

    x, k, weight = rng.normal(size=(6, 3)), rng.normal(size=(6, 4)), rng.normal(size=(4, 3))
    before, rows, indices = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), np.array([1, 0, 1, 3, 1])
    call = Call(
        weight=put("W", weight),
        input=put("x", x),
        output_gradient=put("k", k),
        products=Products(dtype="bf16") if narrow else None,
    )
    layers = [Layer(name="up", weight="w", layout="out_in", calls=(call,))]
    gradient = before + k.T @ x / 2
    if shares:
        table = Call(weight="W", input=builder.put("indices", indices), output_gradient=put("rows", rows))
        layers.append(Layer(name="table", weight="w", kind="lookup", calls=(table,)))
        np.add.at(gradient, indices, rows)
    parameter = Parameter(name="w", gradient=put("gW", gradient), gradient_before=put("before", before))
    builder.end_step(layers, [parameter])
    return builder.trace()


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "with a table"])
@pytest.mark.parametrize("narrow", [False, True], ids=["f32", "bf16"])
@pytest.mark.parametrize("framework", ["torch", "jax", "numpy"])
def test_a_gradient_is_added_to_what_it_began_with(framework: str, narrow: bool, shares: bool, run: Run) -> None:
    if framework != "numpy":
        pytest.importorskip(framework)
    found = _reproduce(_half_a_gradient(framework, narrow, shares), run, "up")
    _require_call_is_right(found)


@pytest.mark.parametrize("framework", ["torch", "jax", "numpy"])
def test_a_lookup_that_gives_another_row_has_a_script(framework: str, run: Run) -> None:
    if framework != "numpy":
        pytest.importorskip(framework)
    builder = TraceBuilder(framework=framework)
    table, indices = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([2, 0, 3])
    call = Call(
        weight=builder.put("W", table),
        input=builder.put("indices", indices),
        output=builder.put("z", table[[2, 1, 3]]),
    )
    builder.end_step([Layer(name="table", weight="w", kind="lookup", calls=(call,))], [])
    found = _reproduce(builder.trace(), run, "table")
    assert found.ending.code == 0
    assert _departures(found) == (np.inf, 0.0)


def test_the_page_shows_what_a_script_prints(run: Run) -> None:
    pytest.importorskip("torch")
    page = Path(__file__).parents[5] / "docs" / "reproducers.md"
    shown = re.search(r"<!-- output of a script -->\n```\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert shown is not None
    printed = _reproduce(_of("torch", _fault("lost-micro-batch").trace()), run).ending.last

    def rounded(text: str) -> list[str]:
        # Last digits depend on the machine, and what the framework's own call gives on its version as well.
        lines = [line for line in text.splitlines() if not line.startswith("  PyTorch ")]
        return [re.sub(r"\d+\.\d+(e[+-]\d+)?", lambda number: f"{float(number[0]):.2g}", line) for line in lines]

    assert rounded(printed) == rounded(shown[1])


# The framework's own call is wrong


def test_a_wrong_function_of_the_framework_is_shown_by_its_call(run: Run) -> None:
    # A known divergence: PyTorch's softplus is z itself above 20.
    torch = pytest.importorskip("torch")
    z = np.linspace(19, 22, 32).reshape(8, 4)
    a = torch.nn.functional.softplus(torch.tensor(z)).numpy()
    builder = TraceBuilder(framework="torch", framework_version=torch.__version__)
    call = Call(
        weight=builder.put("W", np.eye(4)),
        output=builder.put("z", z),
        activation=Activation(name="softplus", output=builder.put("a", a)),
    )
    builder.end_step([Layer(name="up", weight="w", calls=(call,))], [])
    found = _reproduce(builder.trace(), run, "up")
    assert found.ending.code == 1
    assert found.ending.last.endswith("PyTorch's own call departs.\n")
    in_trace, now = _departures(found)
    assert in_trace == pytest.approx(found.finding.verdict.worst, rel=6e-3)
    assert now == pytest.approx(in_trace, rel=0.2)


@pytest.mark.parametrize(("least", "rows"), [(1, 1), (2, 8), (12, 15)])
def test_the_script_has_as_many_rows_as_a_wrong_kernel_needs(
    least: int, rows: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    linear = torch.nn.functional.linear

    def wrong(x, weight, bias=None):  # pyright: ignore
        z = linear(x, weight, bias)
        return z * 1.01 if len(x) >= least else z

    fault = Fault("kernel", Small(), "z", "", call=lambda a: _scale(a, 1.01))
    trace = _of("torch", fault.trace())
    right = _reproduce(trace, run)
    assert right.ending.code == 0
    monkeypatch.setattr(torch.nn.functional, "linear", wrong)
    found = _reproduce(trace, run)
    assert found.ending.code == 1
    in_trace, now = _departures(found)
    assert in_trace == pytest.approx(found.finding.verdict.worst, rel=6e-3)
    assert now == pytest.approx(in_trace, rel=6e-3)
    shown = "the entry depends on" if rows == 1 else f"{rows} rows and"
    assert f"# What {shown}" in found.written.source
    assert found.written.arrays == {}


def _scale(arrays: Arrays, factor: float) -> None:
    arrays["z"] = arrays["z"] * np.float32(factor)
    arrays["a"] = np.tanh(arrays["z"].astype(float)).astype(np.float32)


# What is in a script


def test_terms_that_are_0_are_left_out(run: Run) -> None:
    fault = Fault("noise", Small(activation="relu", seed=4), "z", "", call=_relu_off)
    found = _reproduce(_of("numpy", fault.trace()), run)
    _require_call_is_right(found)
    assert re.search(r"; \d+ terms of its\s+(# )?sum that are 0 are left out\.", found.written.source)


def _relu_off(arrays: Arrays) -> None:
    arrays["z"] = arrays["z"] * np.float32(1.5)
    arrays["a"] = np.maximum(arrays["z"], 0)


def test_arrays_that_are_large_lie_in_a_file_beside_the_script(run: Run) -> None:
    model = Small(widths=(3, 4, 2), axes=(20_000,))
    found = _reproduce(_of("numpy", replace(_fault("mean-over-rows"), model=model).trace()), run)
    _require_call_is_right(found)
    assert set(found.written.arrays) == {"x", "k"}
    assert all(array.shape[1] == 1 for array in found.written.arrays.values())
    assert len(found.written.source) < MOST_LITERALS / 20
    # In a new process, too.
    assert run_written(found.written).code == 0


def test_a_framework_without_calls_of_its_own_is_not_acquitted(run: Run) -> None:
    found = _reproduce(_fault("gx-halved").trace(), run)
    assert found.ending.code == 0
    assert "Either small's own call is wrong, or something around it is." in found.ending.last.replace("\n", " ")
    assert "cannot say whether its call is right" in " ".join(found.written.source.split())


def test_a_number_that_is_not_finite_is_shown(run: Run) -> None:
    def spoil(arrays: Arrays) -> None:
        arrays["gx"] = arrays["gx"].copy()
        arrays["gx"][3, 2] = np.nan

    found = _reproduce(_of("numpy", Fault("nan", Small(), "dL/dx", "", call=spoil).trace()), run)
    assert found.ending.code == 0
    assert "in the trace: nan, nan tolerances away" in found.ending.last


def test_a_gradient_that_is_changed_by_less_than_rounding_has_no_script(run: Run) -> None:
    def nudge(arrays: Arrays) -> None:
        arrays["k"] = np.nextafter(arrays["k"], np.float32(9))
        arrays["gx"] = arrays["k"] @ arrays["W"].T

    trace = _of("numpy", Fault("nudge", Small(), "dL/dz", "", call=nudge).trace())
    with pytest.raises(Unwritable, match="by less than rounding may"):
        _reproduce(trace, run)


def test_an_entry_of_a_product_that_is_judged_in_part_has_a_script(run: Run) -> None:
    def spoil(arrays: Arrays) -> None:
        arrays["gx"] = arrays["gx"].copy()
        arrays["gx"][17, 11] += 1e-2

    trace = _of("numpy", Fault("one", Small(widths=(6, 40, 30), axes=(40,)), "dL/dx", "", call=spoil).trace())
    part = judge_trace(trace, Options(layers=("layers.1",), budget=10_000)).findings[0]
    assert part.compared is not None
    assert part.compared.coverage < 1
    found = reproduce_finding(trace, part, run)
    assert found.ending.code == 0
    assert "dL/dx[17, 11] of layers.1" in found.ending.last
    sum_alone = replace(part, compared=replace(part.compared, worst=Worst()))
    with pytest.raises(Unwritable, match="no entry that was judged by itself does"):
        reproduce_finding(trace, sum_alone, run)


def test_foreign_names_are_text_in_a_script(run: Run) -> None:
    trace = _of("numpy", _fault("gx-halved").trace())
    step = trace.manifest.steps[0]
    name = '"""\nraise SystemExit(7)\n{exact}\\'
    layers = tuple(structs.replace(la, name=name) if la.name == "layers.1" else la for la in step.layers)
    manifest = structs.replace(trace.manifest, steps=(structs.replace(step, layers=layers),), framework_version=name)
    found = _reproduce(Trace(manifest, trace.steps), run, name)
    assert found.ending.code == 0
