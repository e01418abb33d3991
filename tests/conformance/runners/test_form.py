"""What is wrong with the form of an answer is one finding that names the fix; what can be judged is judged."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, WeightLayout
from kterm.adapters.quantities import arrays, with_arrays
from kterm.adapters.registry import describe_error, describe_raised
from kterm.conformance.cases.case import Group
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.causes import Cause
from kterm.conformance.interfaces.api import Results, check_adapter
from kterm.conformance.runners.runner import LocalRunner, NoAnswer
from kterm.reference import Array, Bias, Network, Parameters, Structure

from ...support.frameworks.miniatures import Miniature, right


def _adapter(change: Callable[[Observation], Any], **declared: Any) -> Adapter:
    def answer(self: Any, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Any:
        return change(right(structure, parameters, x, y))

    return type("Changed", (Miniature,), {"name": "changed", "answer": answer, **declared})()


def _cast(dtype: type, only: str = "") -> Callable[[Observation], Observation]:
    def change(observed: Observation) -> Observation:
        return with_arrays(observed, {n: a.astype(dtype) for n, a in arrays(observed).items() if n.startswith(only)})

    return change


def _check(adapter: Adapter, dtype: str, profile: str = "smoke") -> Results:
    return check_adapter(adapter, profile=profile, dtypes=[dtype])


def _only_cause(results: Results) -> Cause:
    assert not results.conforms
    assert len(results.causes) == 1, str(results)
    return results.causes[0]


@pytest.mark.parametrize(
    ("asked", "given", "only", "said"),
    [
        ("f32", np.float64, "", "outputs, E, z_1 and more come back as float64 where float32 is asked for"),
        ("f32", np.float64, "E", "E comes back as float64 where float32 is asked for"),
        ("f32", np.float64, "dE/dW", "come back as float64 where float32 is asked for"),
        ("f64", np.float32, "", "come back as float32 where float64 is asked for"),
        ("f64", np.float16, "", "come back as float16 where float64 is asked for"),
    ],
)
def test_another_dtype_is_one_finding_and_the_numbers_are_judged(asked: str, given: type, only: str, said: str) -> None:
    results = _check(_adapter(_cast(given, only), dtypes=("f64", "f32", "f16")), asked)
    cause = _only_cause(results)
    assert said in cause.worst.message
    assert (cause.worst.check, cause.worst.quantity) == ("contract", "dtype")
    checks = {v.check for some in results.verdicts.values() for v in some if v.grade in ("pass", "inconclusive")}
    assert {"layout", "forward", "error", "k_terms", "weight_gradients", "bias_gradients"} <= checks
    blocked = {v.check for some in results.verdicts.values() for v in some if v.grade == "blocked"}
    # Descent and batch go on from the results of a call, which a narrower dtype has rounded.
    assert blocked == (
        set() if np.dtype(given).itemsize > {"f32": 4, "f16": 2, "f64": 8}[asked] else {"descent", "batch"}
    )


@pytest.mark.parametrize(("asked", "given"), [("f32", np.float64), ("f64", np.float32)])
def test_a_wrong_number_is_found_behind_another_dtype(asked: str, given: type) -> None:
    def change(observed: Observation) -> Observation:
        doubled = tuple(g * 2 for g in observed.weight_gradients)
        return _cast(given)(replace(observed, weight_gradients=doubled))

    results = _check(_adapter(change), asked)
    assert {cause.worst.check for cause in results.causes} == {"contract", "weight_gradients"}


@pytest.mark.parametrize("only", ["E", "dE/dW"])
def test_a_declared_wider_dtype_is_no_finding(only: str) -> None:
    adapter = _adapter(_cast(np.float64, only), result_dtypes={only: "f64"})
    results = _check(adapter, "f32")
    assert results.conforms, str(results)
    other = _check(_adapter(_cast(np.float64), result_dtypes={only: "f64"}), "f32")
    assert "outputs, " in _only_cause(other).worst.message


def _without_first(observed: Observation) -> Any:
    missing: Any = None
    return replace(observed, weight_gradients=(missing, *observed.weight_gradients[1:]))


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"weight_layout": WeightLayout("copied", np.copy, lambda gradient: gradient.copy())},
        {"error_scale": lambda self, structure: 2.0},
    ],
)
def test_a_gradient_that_is_none_is_said_in_words(declared: dict[str, Any]) -> None:
    results = _check(_adapter(_without_first, **declared), "f64")
    messages = {v.message for v in results.failures if v.check == "contract"}
    assert messages == {
        "no gradient reached dE/dW_1: it is None; make W_1 a parameter that the framework differentiates, and compute "
        "the loss from that same W_1"
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: replace(o, bias_gradients=(np.array([None]),) * len(o.bias_gradients)), "no gradient reached"),
        (lambda o: replace(o, error=o.error.reshape(1)), "E has shape (1,); it should be (): one number"),
        (lambda o: replace(o, error=float(o.error)), "E is a builtins.float; it should be a NumPy array"),
        (lambda o: replace(o, outputs=o.outputs.T), "it is transposed, so fix the axes: a row is an example"),
        (lambda o: replace(o, weight_gradients=tuple(g.T for g in o.weight_gradients)), "so fix its axes"),
        (lambda o: replace(o, outputs=o.outputs.astype(int)), "outputs has dtype int64; it should be float64"),
        (lambda o: replace(o, z=o.z[1:]), "z holds 1 arrays; it should hold 2, one a layer"),
        (lambda o: replace(o, k=(None, *o.k[1:])), "k_1 is None; return an array, or leave k out"),
    ],
)  # fmt: skip
def test_a_finding_about_form_names_the_fix(change: Callable[[Any], Any], said: str) -> None:
    results = _check(_adapter(change), "f64")
    assert any(said in v.message for v in results.failures), {v.message for v in results.failures}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no such layer\nwith more below"), "ValueError: no such layer"),
        (
            RuntimeError('Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 3'),
            "RuntimeError: KeyError: 3",
        ),
        (RuntimeError("Traceback (most recent call last):"), "RuntimeError"),
        (RuntimeError("failed\n\nTraceback (most recent call last):\nKeyError: 3\n"), "RuntimeError: KeyError: 3"),
        (
            AttributeError("'NoneType' object has no attribute 'numpy'"),
            "AttributeError: 'NoneType' object has no attribute 'numpy' (is a gradient None? Then none reached that "
            "parameter)",
        ),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)  # fmt: skip
def test_an_error_is_described_by_the_line_that_says_most(error: BaseException, said: str) -> None:
    assert describe_error(error) == said


def test_an_expected_dtype_leaves_all_to_judge(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text("[[expectation]]\nadapter = 'changed'\nquantity = 'dtype'\nreason = 'answers in float64'\n")
    results = check_adapter(_adapter(_cast(np.float64)), profile="smoke", dtypes=["f32"], expectations=file)
    assert results.conforms, str(results)
    assert {v.check for some in results.verdicts.values() for v in some} >= {"contract", "weight_gradients", "batch"}


def _stray(adapter: Adapter, bias: Bias = "pre") -> Verdict:
    runner = LocalRunner(adapter)
    structure = Structure(Network((3, 4, 2), ("tanh", "tanh"), bias), 2, "f32")
    group = Group(structure, "normal", 0, (0,))
    return next(v for v in examine(group, runner).verdicts[0] if v.quantity == "dtype")


@pytest.mark.parametrize(
    ("only", "declare", "which"),
    [
        ("dE/d", '{"dE/dW": "f64", "dE/db": "f64"}', "only the backward pass gives float64: outputs and E are float32"),
        ("E", '{"E": "f64"}', "only the forward pass gives float64: the gradients are float32"),
        ("", '{"outputs": "f64", "E": "f64", "z": "f64", "x": "f64", "k": "f64", "dE/dW": "f64", "dE/db": "f64"}', ""),
    ],
)
def test_the_finding_of_a_dtype_says_which_pass_and_all_that_is_to_be_declared(
    only: str, declare: str, which: str
) -> None:
    def change(observed: Observation) -> Observation:
        chosen = {n: a.astype(np.float64) for n, a in arrays(observed).items() if n.startswith(only)}
        return with_arrays(observed, {n: a for n, a in chosen.items() if only != "E" or n == "E"})

    adapter = _adapter(change)
    with_biases, without = _stray(adapter), _stray(adapter, "none")
    assert with_biases.message.endswith(f"or declare result_dtypes = {declare}")
    assert which in with_biases.message
    assert ("only the" in with_biases.message) == bool(which)
    # Which quantities there are differs from network to network, and the cause does not.
    assert without.gist == with_biases.gist
    declared = type(adapter)()
    declared.result_dtypes = json.loads(declare)
    with pytest.raises(StopIteration):
        _stray(declared)


class _RaisesHere(Miniature):
    name = "raises-here"

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        raise ValueError("no such kernel")


class _Refuses(_RaisesHere):
    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        raise NotImplementedError("no such layer")


def test_an_exception_has_the_file_and_line_where_it_was_raised() -> None:
    def raised(adapter: Adapter) -> NoAnswer:
        runner = LocalRunner(adapter)
        runner.build(Structure(Network((1, 1), ("tanh",)), 1, "f64"))
        one = np.ones((1, 1))
        with pytest.raises(NoAnswer) as caught:
            runner.call("normal", Parameters((one,), (one[0],)), one, one)
        return caught.value

    line = inspect.getsourcelines(_RaisesHere.answer)[1] + 1
    message = raised(_RaisesHere()).message
    assert re.fullmatch(rf"ValueError: no such kernel \(\S*test_form\.py:{line}\)", message), message
    # What the framework does not have is no mistake to look for.
    assert raised(_Refuses()).message == "NotImplementedError: no such layer"


def test_the_place_of_an_exception_is_short_and_printable() -> None:
    code = compile("def f():\n    raise ValueError('no')\n", "/" + "long\x1b[31m/" * 100 + "a.py", "exec")
    names: dict[str, Any] = {}
    exec(code, names)
    with pytest.raises(ValueError, match="no") as caught:
        names["f"]()
    said = describe_raised(caught.value)
    assert said.endswith("a.py:2)")
    assert said.isprintable()
    assert len(said) < 160
