"""The fingerprint of adapters that emulate other arithmetic, and of NumPy."""

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import numpy as np
import pytest

from benchmarks.mistakes.unknown.score import MISTAKES_BY_NAME
from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.quantities import arrays, with_arrays
from kterm.conformance.arithmetic.differences import explain_by_arithmetic, find_contradictions
from kterm.conformance.arithmetic.fingerprint import Fingerprint, ProductArithmetic, measure_arithmetic
from kterm.conformance.cases.description import describe
from kterm.conformance.interfaces.api import check_adapter
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure

from ...support.formulas import Formulas
from ...support.frameworks.emulated import (
    EMULATED,
    Bf16,
    Bf16x2,
    Bf16x3,
    Chopped,
    ChoppedTf32,
    Emulated,
    FlushesAll,
    FlushesOutputs,
    TensorCore,
    Tf32,
    Tf32InBatches,
    WideTensorCore,
)


@cache
def measured(adapter: type[Emulated | Numpy], dtype: str = "f32") -> Fingerprint:
    return measure_arithmetic(LocalRunner(adapter()), (dtype,))


DUE: dict[type[Emulated], dict[str, object]] = {
    Tf32: {"operands": "tf32", "operand_rounding": "nearest"},
    ChoppedTf32: {"operands": "tf32", "operand_rounding": "toward zero"},
    Bf16: {"operands": "bf16", "operand_rounding": "nearest"},
    Bf16x2: {"operands": "bf16x2"},
    Bf16x3: {"operands": "bf16x3"},
    TensorCore: {
        "operands": "tf32",
        "accumulator": 24,
        "accumulation": "terms toward zero",
        "order": "4 at once, added to the sum before",
    },
    WideTensorCore: {
        "operands": "f32",
        "accumulator": 24,
        "inside": 26,
        "accumulation": "toward zero",
        "order": "8 at once, added to the sum before",
    },
    Chopped: {
        "operands": "f32",
        "accumulator": 24,
        "accumulation": "toward zero",
        "store": "toward zero",
        "order": "one after another",
        "products": "separate",
    },
    FlushesOutputs: {"flushing": "outputs", "operands": "f32"},
    FlushesAll: {"flushing": "all", "operands": "f32"},
}


@pytest.mark.parametrize("adapter", DUE, ids=lambda adapter: adapter.__name__)
def test_emulated_arithmetic_is_measured(adapter: type[Emulated]) -> None:
    found = measured(adapter)
    assert not found.missing
    assert {(one.kind, one.batch) for one in found.measured} == {
        ("z", 1), ("z", 32), ("dE/dx", 1), ("dE/dx", 32), ("dE/dW", 32)
    }  # fmt: skip
    for one in found.measured:
        assert {name: getattr(one, name) for name in DUE[adapter]} == DUE[adapter], one


@pytest.mark.parametrize("adapter", EMULATED, ids=lambda adapter: adapter.__name__)
def test_what_is_declared_is_no_difference(adapter: type[Emulated]) -> None:
    assert find_contradictions(measured(adapter), describe(adapter(), "")) == []


SENTENCES: dict[type[Emulated], list[str]] = {
    Tf32: ["operands of products are cut to 11 bits (tf32), in f32"],
    Tf32InBatches: ["operands of products are cut to 11 bits (tf32) where the batch is at least 2, in f32"],
    Bf16x3: ["operands of products are split into terms (bf16x3), in f32"],
    Chopped: ["partial sums are rounded toward zero, in f32"],
    FlushesOutputs: ["results below the normal range become 0, in f32"],
    FlushesAll: ["factors and results below the normal range become 0, in f32"],
}


@pytest.mark.parametrize("adapter", SENTENCES, ids=lambda adapter: adapter.__name__)
def test_what_is_not_declared_is_named(adapter: type[Emulated]) -> None:
    assert explain_by_arithmetic(measured(adapter), {}) == SENTENCES[adapter]


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_numpy_computes_as_is_usual(dtype: str) -> None:
    found = measured(Numpy, dtype)
    assert explain_by_arithmetic(found, {}) == []
    for one in found.measured:
        assert one.operands == dtype
        assert one.accumulator == {"f64": 53, "f32": 24}[dtype]
        assert (one.accumulation, one.store, one.flushing) == ("nearest", "nearest", "none")


def test_a_fingerprint_travels_as_plain_data() -> None:
    one = ProductArithmetic("f32", "z", 1, "tf32", "nearest", 24)
    found = Fingerprint("mine", "1.0", "cpu", (one,), (("f64", "it raised"),))
    assert Fingerprint.from_json(found.to_json()) == found


def test_an_adapter_without_identity_is_not_measured() -> None:
    made = Tf32()
    made.activations = {"tanh": made.activations["tanh"]}
    found = measure_arithmetic(LocalRunner(made))
    assert found.measured == ()
    assert dict(found.missing) == {"f32": "the probes need the activation identity and networks without biases"}


WRONG: dict[str, Callable[[Array], Array]] = {
    "halved": lambda a: a / 2,
    "zero": lambda a: a * 0,
    "not-a-number": lambda a: a * np.nan,
    "rounded": np.round,
    "clipped": lambda a: np.clip(a, -1, 1),
    "shifted": lambda a: np.roll(a, 1),
    "off-by-one": lambda a: np.nextafter(a, np.inf),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_adapter_that_is_wrong_is_measured_without_an_error(name: str) -> None:
    change = WRONG[name]

    class Wrong(Numpy):
        def build(self, structure: Structure) -> Program:
            program = super().build(structure)

            def run(parameters: Parameters, x: Array, y: Array) -> Observation:
                observed = program(parameters, x, y)
                with np.errstate(all="ignore"):
                    return with_arrays(observed, {n: change(a).astype(a.dtype) for n, a in arrays(observed).items()})

            return run

    found = measure_arithmetic(LocalRunner(Wrong()), ("f32",))
    assert len(found.measured) == 5
    assert {one.dtype for one in found.measured} == {"f32"}


def test_clipping_is_not_taken_for_shorter_operands() -> None:
    lines = check_adapter(MISTAKES_BY_NAME["deltas-clipped"].make(True), profile="smoke", dtypes=("f32",))
    assert lines.failures
    assert "not declared" not in str(lines)


class DoublesTheResidual(Formulas):
    """f16 in f32 sums, one term after another. The residual is doubled and halved, as by a loss that is halved last."""

    activations: ClassVar = {"identity": ACTIVATIONS["identity"].f}

    def product(self, a: Array, b: Array) -> Array:
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for j in range(a.shape[1]):
            total += a[:, j : j + 1].astype(np.float32) * b[j : j + 1].astype(np.float32)
        return total.astype(a.dtype)

    def build(self, structure: Structure) -> Program:
        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                xs = [x]
                for weight in parameters.weights:
                    xs.append(self.product(xs[-1], weight))
                ks = [(xs[-1] - y) * x.dtype.type(2) * x.dtype.type(0.5)]
                for weight in reversed(parameters.weights[1:]):
                    ks.insert(0, self.product(ks[0], weight.T))
                gradients = tuple(self.product(a.T, k) for a, k in zip(xs, ks, strict=False))
                error = np.asarray(np.square(xs[-1] - y).sum() / 2, x.dtype)
            return Observation(xs[-1], error, gradients, (), tuple(xs[1:]), tuple(xs[1:]), tuple(ks))

        return program


def test_the_order_of_f16_sums_is_found_though_the_residual_is_doubled() -> None:
    found = measured(DoublesTheResidual, "f16").measured
    assert {one.kind for one in found} == {"z", "dE/dx", "dE/dW"}
    assert {(one.order, one.accumulator) for one in found} == {("one after another", 24)}
