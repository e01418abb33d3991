"""Bias gradients whose rows are added in a narrow accumulator: right where that is declared, else found by name."""

import ml_dtypes
import numpy as np
import pytest

from kterm.adapters.traces.manifest import Call, Layer, Parameter, Products
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.conformance.interfaces.models.judgement import LayerVerdict
from kterm.reference import Array

BF16, F16, F32 = (np.dtype(one) for one in (ml_dtypes.bfloat16, np.float16, np.float32))
DECLARED = Products(bias_accumulator="bf16")


def make_k(rows: int, columns: int = 40, dtype: np.dtype = BF16, mean: float = 0.0, seed: int = 0) -> Array:
    return (mean + np.random.default_rng(seed).normal(size=(rows, columns))).astype(dtype)


def make_cancelling(rows: int) -> Array:
    """Rows that almost cancel, so that the digits lost on the way are many of the sum."""
    k = make_k(rows)
    k[-1] -= add_rows(k, F32).astype(BF16)
    return k


def add_rows(k: Array, accumulator: np.dtype = BF16) -> Array:
    total = np.zeros(k.shape[1:], accumulator)
    for row in k:
        total = total + row.astype(accumulator)
    return total


def add_in_float32(k: Array) -> Array:
    return k.astype(np.float64).sum(0).astype(np.float32).astype(k.dtype)


def make_trace(
    calls: list[Array], gradient: Array, products: Products | None = None, parameter: np.dtype | None = None
) -> Trace:
    """A layer with a bias alone to judge: its calls have these dL/dz."""
    builder = TraceBuilder(framework="small", framework_version="1")
    stored = parameter or calls[0].dtype
    weight = builder.put("W", np.ones((3, calls[0].shape[1]), stored))
    bias = builder.put("b", np.zeros(calls[0].shape[1], stored))
    made = tuple(
        Call(
            weight=weight,
            bias=bias,
            input=builder.put("x", np.ones((len(k), 3), k.dtype)),
            output_gradient=builder.put("k", k),
            products=products,
        )
        for k in calls
    )
    parameters = [Parameter(name="up.bias", gradient=builder.put("g", gradient))]
    builder.end_step([Layer(name="up", weight="up.weight", bias="up.bias", calls=made)], parameters)
    return builder.trace()


def judge_bias(trace: Trace) -> LayerVerdict:
    (one,) = (v for v in judge_trace(trace).verdicts if v.verdict.quantity == "dL/db")
    return one


def cause_of(trace: Trace) -> str:
    one = judge_bias(trace)
    assert one.verdict.fails
    assert one.cause is not None
    return one.cause.text if one.cause.is_known else f"unknown: {one.cause.text}"


@pytest.mark.parametrize("k", [make_cancelling(24), make_cancelling(100), make_k(2000, mean=0.5)], ids=len)
def test_what_is_declared_passes_bit_for_bit_and_else_is_named(k: Array) -> None:
    assert judge_bias(make_trace([k], add_in_float32(k))).verdict.grade == "pass"
    declared = judge_bias(make_trace([k], add_rows(k), DECLARED))
    assert (declared.verdict.grade, declared.verdict.power) == ("pass", np.inf)
    cause = "accumulates the sum over rows in bf16, one after another: equal bit for bit"
    assert cause_of(make_trace([k], add_rows(k))) == cause
    # One entry is evidence, where its bits are those of this sum.
    right = add_in_float32(k).astype(float)
    worst = int(np.argmax(np.abs(add_rows(k).astype(float) - right) / np.maximum(np.abs(right), 1e-3)))
    assert cause_of(make_trace([k[:, [worst]]], add_rows(k[:, [worst]]))) == cause


def test_another_order_is_within_the_tolerance_and_shows_nothing() -> None:
    k = make_cancelling(200)
    shuffled = add_rows(np.random.default_rng(1).permutation(k))
    # Numbers of bf16 are no evidence of where bf16 came in: a row that is left out may have errors of this size.
    cause = cause_of(make_trace([k], shuffled))
    assert cause.startswith("unknown")
    assert cause.endswith("an accumulator of bf16 for the sum over rows gives errors of that size")
    # Numbers of bf16 in a gradient that is stored in f32 are.
    wide = make_trace([k.astype(F32)], shuffled.astype(F32))
    assert cause_of(wide) == "accumulates the sum over rows in bf16"
    declared = judge_bias(make_trace([k], shuffled, DECLARED)).verdict
    assert declared.grade == "inconclusive"
    assert declared.power is not None
    assert declared.power < 10


@pytest.mark.parametrize("dtype", [BF16, F16])
def test_a_lost_row_is_found_where_power_allows_and_never_passes(dtype: np.dtype) -> None:
    name = "bf16" if dtype == BF16 else "f16"
    products = Products(bias_accumulator=name)
    grades = []
    for rows in (3, 6, 64, 600):
        k = make_k(rows, dtype=dtype)
        lost = add_in_float32(k[1:])
        assert cause_of(make_trace([k], lost)).startswith("unknown")
        grades.append(judge_bias(make_trace([k], lost, products)).verdict.grade)
    assert grades[:2] == ["wrong", "wrong"]
    assert "pass" not in grades


def test_the_sums_of_several_calls_are_added_as_they_are_stored() -> None:
    calls = [make_k(100, seed=seed) for seed in range(3)]
    products = Products(dtype="bf16", bias_accumulator="bf16")
    stored = sum(add_rows(k).astype(np.float32) for k in calls)
    assert isinstance(stored, np.ndarray)
    one = judge_bias(make_trace(calls, stored, products, F32)).verdict
    assert (one.grade, one.power) == ("pass", np.inf)
    stored[3] = np.nextafter(stored[3], np.float32(9))
    assert judge_bias(make_trace(calls, stored, products, F32)).verdict.grade == "inconclusive"


def test_a_gradient_passes_through_the_format_of_its_parameter() -> None:
    # JAX computes in f32 where x is, gives each gradient back in the parameter's bf16, and adds them there.
    calls = [make_k(30, dtype=F32, seed=seed) for seed in range(3)]
    parts = [k.astype(float).sum(0).astype(BF16) for k in calls]
    added = (parts[0] + parts[1] + parts[2]).astype(np.float32)
    assert judge_bias(make_trace(calls, added, None, BF16)).verdict.grade == "pass"
    # Nothing gives bf16 a place where the parameter is f32.
    assert judge_bias(make_trace(calls, added, None, F32)).verdict.fails
    assert judge_bias(make_trace(calls[:1], parts[0].astype(np.float32), None, BF16)).verdict.grade == "pass"
