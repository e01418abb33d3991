"""Bitwise facts: each way not to repeat oneself is seen, and by its own question alone."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.arithmetic import bitwise
from kterm.conformance.arithmetic.bitwise import Fact, bitwise_cases, difference_in_ulps, measure_bitwise, table_rows
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import DTYPES, Array, Parameters, Structure

from ...support.frameworks import crashing, unsteady


def _facts(adapter: Adapter, dtype: str = "f32", other: Adapter | None = None) -> Mapping[str, Fact]:
    second = None if other is None else LocalRunner(other)
    found = measure_bitwise(LocalRunner(adapter), dtype, other=second)
    return {fact.question: fact for fact in found.facts}


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16"])
def test_rows_computed_one_by_one_have_the_same_bits_alone(dtype: str) -> None:
    class EveryDtype(unsteady.OneByOne):
        dtypes = ("f64", "f32", "f16")

    facts = _facts(EveryDtype(), dtype)
    assert facts["run to run"].holds
    assert facts["row alone"] == Fact("row alone", "rows", 300, 300)


def test_a_batch_that_differs_from_its_rows_is_seen() -> None:
    facts = _facts(unsteady.OrderOfBatch())
    assert facts["run to run"].holds
    found = facts["row alone"]
    assert found.same < found.compared == 300
    assert not found.holds
    assert found.first.startswith("z_1 of ")
    assert 0.5 <= found.ulps < np.inf


def test_a_program_that_differs_from_call_to_call_is_seen() -> None:
    found = _facts(unsteady.OrderOfCall())["run to run"]
    assert 0 < found.same < found.compared
    assert found.first == "outputs of 5x7x3-tanh.identity-b4-pre-f32"
    # Each of nine calls is compared twice, in 12 arrays.
    assert found.compared == 3 * 3 * 2 * 12


def test_only_signs_of_zeros_are_named_so() -> None:
    found = measure_bitwise(LocalRunner(unsteady.NegativeZeros()), "f32")
    assert not found.facts[0].holds
    assert found.facts[0].ulps == 0
    assert table_rows([found])[0][5] == "signs of zeros"


@pytest.mark.parametrize(("name", "same"), [("OneByOne", True), ("OrderOfProcess", False)])
def test_a_program_that_differs_in_another_process_is_seen(name: str, same: bool) -> None:
    with closing(ProcessRunner(f"{unsteady.__file__}:{name}")) as elsewhere:
        found = measure_bitwise(LocalRunner(getattr(unsteady, name)()), "f32", elsewhere)
    facts = {fact.question: fact for fact in found.facts}
    assert facts["run to run"].holds
    assert facts["in another process"].holds is same
    assert facts["row alone"].holds


def test_two_programs_are_compared_in_what_both_show() -> None:
    assert _facts(unsteady.OneByOne(), other=unsteady.OneByOne())["by another adapter"].holds
    found = _facts(unsteady.OneByOne(), other=unsteady.OrderOfProcess())["by another adapter"]
    assert 0 < found.same < found.compared == 3 * 3 * 12


class _Mean(Numpy):
    """Gradients and E are means over the batch."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)

        def mean(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed, size = program(parameters, x, y), x.dtype.type(len(x))
            scaled = tuple(gradient / size for gradient in observed.weight_gradients)
            return replace(observed, weight_gradients=scaled)

        return mean


def test_parts_are_compared_entry_by_entry() -> None:
    sound, wrong = _facts(Numpy())["batch in parts"], _facts(_Mean())["batch in parts"]
    cases = bitwise_cases(LocalRunner(Numpy()).describe(), "f32")
    widths = [case.structure.network.widths for case in cases]
    sizes = [1 + sum((n + 1) * m for n, m in pairwise(some)) for some in widths]
    assert sound.compared == wrong.compared == sum(sizes)
    assert sound.same > sound.compared / 8 > wrong.same
    assert wrong.ulps > 2**22


def test_an_adapter_that_does_not_answer_has_no_facts() -> None:
    found = measure_bitwise(LocalRunner(crashing.NotAnObservation()), "f32")
    assert all(row[4].startswith("no answer: it raised; TypeError") for row in table_rows([found]))


def test_a_row_of_the_table_counts() -> None:
    fact = Fact("row alone", "rows", 1512, 2048, 1.5, "x_1 of 3x2-tanh-b4-pre-f32")
    found = bitwise.BitwiseFacts("torch", "cpu", "f32", (fact, Fact("run to run", "arrays", 9, 9)))
    assert table_rows([found]) == [
        ("torch", "cpu", "f32", "row alone", "1,512 of 2,048 rows", "1.5 ulp", "x_1 of 3x2-tanh-b4-pre-f32"),
        ("torch", "cpu", "f32", "run to run", "9 of 9 arrays", "", ""),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_differences_are_in_units_in_the_last_place(dtype: str) -> None:
    format_ = DTYPES[dtype]
    info = ml_dtypes.finfo(format_.numpy)

    def apart(a: float, b: float) -> float:
        return difference_in_ulps(format_, *(np.array([v]).astype(format_.numpy) for v in (a, b)))

    assert apart(1, 1 + 2 * format_.u) == 1
    assert apart(1, 1 - format_.u) == 1 / 2  # a unit of 1, which is twice that of the number below it
    assert apart(-4, -4 * (1 + 4 * format_.u)) == 2
    assert apart(0.0, -0.0) == 0
    assert apart(0, float(info.smallest_subnormal)) == 1
    assert apart(float(info.max), float(info.max) * (1 - format_.u)) == 1
    assert apart(np.nan, np.nan) == apart(np.inf, np.inf) == 0
    assert apart(np.nan, 1) == apart(np.inf, -np.inf) == np.inf
