"""The blocks that all scripts are made of."""

import numpy as np
import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.failures.scripts.blocks import (
    format_index,
    format_inputs,
    format_observed,
    format_planted_mistake,
    format_run_call,
    format_run_function,
    join_blocks,
)
from kterm.conformance.failures.scripts.failure import Failure, PlantedMistake
from kterm.reference import DTYPES

ADAPTER = Numpy()


def _failure(case_id: str) -> Failure:
    case = parse_case(case_id, tuple(REGIMES))
    return Failure("numbers", case.structure, case.regime, make_draws([case])[0], None, "k_1", "", case.id)


def test_blocks_are_apart_as_formatters_want_it() -> None:
    assert join_blocks(["a = 1", "", "b = 2"]) == "a = 1\n\nb = 2\n"
    function = "def f():\n    return 1"
    assert join_blocks(["a = 1", function, "b = 2"]) == f"a = 1\n\n\n{function}\n\n\nb = 2\n"
    assert join_blocks([f"{function}\n\n\nc = f()", "b = 2"]) == f"{function}\n\n\nc = f()\n\nb = 2\n"


@pytest.mark.parametrize(
    "case_id",
    ["3x2-tanh-b2-pre-f64-normal-s0", "3x20x20-tanh.silu-b4-none-f32-normal-s0", "3x2-tanh-b2-post-bf16-normal-s0"],
)
def test_inputs_are_those_of_the_failure(case_id: str) -> None:
    failure = _failure(case_id)
    given: dict = {"np": np}
    exec(format_inputs(failure), given)
    one, dtype = failure.draw, DTYPES[failure.structure.dtype].numpy
    assert ("biases" in given) == bool(one.parameters.biases)
    arrays = [*given["weights"], *given.get("biases", []), given["x"], given["y"]]
    for array, due in zip(arrays, [*one.parameters.weights, *one.parameters.biases, one.x, one.y], strict=True):
        assert array.astype(dtype).tobytes() == due.tobytes()


def test_calls_give_the_shown_quantities() -> None:
    failure = _failure("3x2-tanh-b2-pre-f64-normal-s0")
    script = ADAPTER.script(failure.structure)
    source = "\n".join([script.preamble, script.setup, format_inputs(failure), format_run_function(failure, script),
                        f"whole = {format_run_call(failure)}", script.calls,
                        format_observed(script, ["k_1"])])  # fmt: skip
    given: dict = {}
    with np.errstate():
        exec(source, given)
    assert set(given["whole"]) == set(script.shown)
    assert np.array_equal(given["observed"]["k_1"], given["whole"]["k_1"])


def test_a_planted_mistake_is_added_to_the_arrays_that_it_changes() -> None:
    mistake = PlantedMistake("k_1 too large by one", {"k_1": np.ones((1, 2))})
    observed = {"k_1": np.zeros((1, 2)), "z_1": np.zeros((1, 2))}
    exec(format_planted_mistake(mistake, ["z_1", "k_1"], "observed"), {"np": np, "observed": observed})
    assert observed["k_1"].tolist() == [[1.0, 1.0]]
    assert not observed["z_1"].any()
    assert format_planted_mistake(mistake, ["z_1"], "observed") == ""
    assert format_planted_mistake(None, ["k_1"], "observed") == ""


def test_an_index_is_written_as_in_python() -> None:
    assert (format_index((1, 2)), format_index(())) == ("[1, 2]", "")
