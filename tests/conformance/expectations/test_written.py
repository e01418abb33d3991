"""Formulas written as expressions: their values, their bounds, what they explain and what they do not."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.expectations import expectation as known
from kterm.conformance.expectations.expectation import Expectation
from kterm.conformance.expectations.written import Bounded, evaluate, find_expression_problem
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import DTYPES, Array

from ...support.formulas import Formulas, Function

Z = np.concatenate([np.linspace(-30, 30, 2001), [0.0, 1e-5, -1e-5]])
CLIPPED = "z / (1 + exp(-clip(z, -20, 20)))"


def _evaluated(text: str, z: Array = Z, **parameters: float) -> Bounded:
    return evaluate(text, Bounded(z, np.zeros_like(z)), parameters, DTYPES["f32"])


def _single(function: Function) -> Array:
    with np.errstate(all="ignore"):
        return function(Z.astype(np.float32)).astype(np.float64)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("exp(z) - 1", lambda z: np.exp(z) - 1),
        ("z * tanh(log(1 + exp(z)))", lambda z: z * np.tanh(np.log(1 + np.exp(z)))),
        ("where(z > 0, z, 0.3 * z) ** 3", lambda z: np.where(z > 0, z, np.float32(0.3) * z) ** 3),
        ("2 / (1 + exp(-2 * z)) - 1", lambda z: 2 / (1 + np.exp(-2 * z)) - 1),
        (
            "minimum(abs(z), maximum(z, 2)) + sqrt(z * z + 2)",
            lambda z: np.minimum(abs(z), np.maximum(z, 2)) + np.sqrt(z * z + 2),
        ),
    ],
)
def test_a_bound_holds_for_float32_and_is_not_far_above_it(text: str, function: Function) -> None:
    z = Z.astype(np.float32).astype(np.float64)
    found = _evaluated(text, z)
    off = np.abs(_single(function) - found.value)
    assert (off <= found.error).all()
    assert off.max() >= found.error.max() / 100


def test_a_part_may_be_computed_in_a_wider_format() -> None:
    narrow, wide = (_evaluated(text).error for text in ("log(1 + exp(z))", "f64(log(1 + exp(z)))"))
    assert (wide < narrow / 1e6).all()


def test_a_result_beyond_the_range_is_infinite() -> None:
    assert np.isinf(_evaluated("exp(z)", np.array([89.0])).value[0])


def test_a_condition_that_rounding_may_change_allows_both_branches() -> None:
    found = _evaluated("where(exp(z) - 1 < 0, 5, 7)", np.array([-1e-9, -1e-3]))
    assert found.error[0] >= 2 > found.error[1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("z.real", "z.real is not an operation that is known, at character 1"),
        ("1 + __import__('os')", "__import__('os') is a function that is not known, at character 5"),
        ("z * exq(z)", "exq(z) is a function that is not known; did you mean exp, at character 5"),
        ("1 + exp(z, z)", "exp(z, z) is exp of 2 arguments; it takes 1, at character 5"),
        ("2 * where(z, 1, 2)", "z is not a comparison of two numbers, at character 11"),
        ("1 - z ** 0.5", "z ** 0.5 is a power that is not a whole number of at least 1, at character 5"),
        ("exp('a')", "'a' is not a number, at character 5"),
        ("z +", "invalid syntax, at "),
        ("z + * 2", "invalid syntax, at character 5: '* 2'"),
        (3, "3 is not text"),
    ],
)
def test_an_expression_that_cannot_be_evaluated_is_refused(text: object, problem: str) -> None:
    # Where Python sees a syntax error depends on its version.
    assert find_expression_problem(text).startswith(problem)


@pytest.mark.parametrize(
    ("activation", "expression", "problem"),
    [
        (
            "silu",
            "z * exq(z)",
            "parameter f of formula value-as-written is wrong: exq(z) is a function that is not known;",
        ),
        ("silu", "z / (1 + exp(-zz))", "zz, at character 15, is no name that silu has; it has z: name the activation"),
        ("elu", "alpha * expm1(z)", ""),
        ("*", "alpha * expm1(z)", "alpha, at character 1, is no name that "),
    ],
)
def test_a_file_with_a_wrong_expression_is_refused_with_the_part_that_is_wrong(
    tmp_path: Path, activation: str, expression: str, problem: str
) -> None:
    path = tmp_path / "e.toml"
    path.write_text(
        f'[[expectation]]\nframework = "x"\nactivation = "{activation}"\nformula = "value-as-written"\n'
        f'parameters = {{ f = "{expression}" }}\nreason = "r"\n',
        encoding="utf-8",
    )
    if not problem:
        assert len(known.read(path)) == 1
        return
    with pytest.raises(known.ExpectationError) as caught:
        known.read(path)
    assert problem in str(caught.value)
    assert "entry 1" in str(caught.value)


class ThincLike(Formulas):
    """silu with a clipped sigmoid; as in thinc."""

    f: ClassVar[dict[str, Function]] = {"silu": lambda z: z / (1 + np.exp(-np.clip(z, -20, 20)))}


def _statuses(entry: Expectation | None) -> set[str]:
    parsed = parse_case("4x4-silu-b4-none-f32-tails-s0", tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(8)))
    entries = [entry] if entry else []
    return {status(some) for some in examine(group, LocalRunner(ThincLike()), known.matcher(entries)).verdicts}


def _entry(text: str) -> Expectation:
    return Expectation("1", "*", "known", formula="value-as-written", parameters={"f": text})


def test_an_expression_explains_what_a_framework_computes_and_nothing_near_it() -> None:
    assert "failed" in _statuses(None)
    assert "expected" in _statuses(_entry(CLIPPED)) <= {"expected", "passed"}
    assert "failed" in _statuses(_entry(CLIPPED.replace("20", "19")))
    assert "failed" in _statuses(_entry("z / (1 + exp(-z))"))


def _on(device: str) -> Description:
    class Elsewhere(Formulas):
        framework = "torch"

        def devices(self) -> tuple[str, ...]:
            return ("cpu", "cuda:0")

    return describe(Elsewhere(device), "elsewhere")


def test_an_entry_for_a_device_concerns_runs_on_it_alone() -> None:
    entry = Expectation("1", framework="torch", reason="known", device="cuda*")
    assert entry.concerns(_on("cuda:0"))
    assert not entry.concerns(_on("cpu"))
    assert "cuda*" in entry.label()


class CudaLike(Formulas):
    """hard_sigmoid and hard_swish with 1/6 rounded to float32; as in PyTorch's CUDA kernels."""

    sixth = np.float64(np.float32(1 / 6))
    f: ClassVar[dict[str, Function]] = {
        "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) * CudaLike.sixth,
        "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) * CudaLike.sixth,
    }


def test_the_sixth_of_cuda_kernels_is_explained() -> None:
    parsed = parse_case("3x4x2-hard_sigmoid.hard_swish-b5-none-f64-normal-s0", tuple(REGIMES))
    group = Group(parsed.structure, parsed.regime, 0, tuple(range(8)))
    for format, due in (("f32", False), ("bf16", True)):
        entry = Expectation("1", "*", "known", formula="hard-value-sixth", parameters={"format": format})
        found = {status(some) for some in examine(group, LocalRunner(CudaLike()), known.matcher([entry])).verdicts}
        assert ("failed" in found) is due
