"""What an adapter declares is checked where it enters: a mistake is one line that says what to write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters import IN_OUT, Adapter, Limits, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import Description, describe
from kterm.reference import ACTIVATIONS, Structure
from kterm.reference.arithmetic import Arithmetic

from ..support.command import assert_one_line, kterm


def _described(declared: Mapping[str, Any]) -> Description:
    return describe(type("Odd", (Numpy,), {"name": "odd", **declared})(), "odd")


def _method(self: Adapter) -> str:
    return "1.0"


class _Half:
    name, to_native = "half", staticmethod(lambda weight: weight)


_NAMES = "is not a collection of names; write"
_KINKS = 'write slopes_at_kinks = {"relu": {0: 0}}'
_ANY: Any = Arithmetic
"""Arithmetic that takes what its types do not."""
_ARITHMETIC = 'write arithmetic = {"f32": Arithmetic(operands="tf32")}'
_LAYOUTS = "write IN_OUT, OUT_IN or WeightLayout(name, to_native, from_native), all from kterm.adapters"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dtypes": "f32"}, "dtypes: 'f32' is one string; write dtypes = ('f32',)"),
    ({"dtypes": None}, f'dtypes: None {_NAMES} dtypes = ("f64", "f32")'),
    ({"dtypes": b"f32"}, f'dtypes: b\'f32\' {_NAMES} dtypes = ("f64", "f32")'),
    ({"dtypes": 32}, f'dtypes: 32 {_NAMES} dtypes = ("f64", "f32")'),
    ({"dtypes": ("f32", np.float64)}, "dtypes: unknown <class 'numpy.float64'>; known are f64, f32, bf16, f16"),
    ({"dtypes": (["f32"],)}, "dtypes: unknown ['f32']; known are f64, f32, bf16, f16"),
    ({"dtypes": ()}, "dtypes: none declared; known are f64, f32, bf16, f16"),
    ({"biases": "pre"}, "biases: 'pre' is one string; write biases = ('pre',)"),
    ({"biases": None}, f'biases: None {_NAMES} biases = ("none", "pre")'),
    ({"biases": True}, f'biases: True {_NAMES} biases = ("none", "pre")'),
    ({"activations": "relu"}, "activations: 'relu' is not a mapping; write activations = {\"tanh\": function of z}"),
    ({"activations": None}, 'activations: None is not a mapping; write activations = {"tanh": function of z}'),
    ({"activations": ("relu",)}, "activations: ('relu',) is not a mapping"),
    ({"activations": {1: abs}}, "activations: unknown 1; known are identity, "),
    ({"activations": {}}, "activations: none declared; known are identity, "),
    ({"max_structures": 0}, "max_structures: 0 is not an integer of at least 1; write None where there is no limit"),
    ({"max_structures": -1}, "max_structures: -1 is not"),
    ({"max_structures": True}, "max_structures: True is not"),
    ({"max_structures": 6.0}, "max_structures: 6.0 is not"),
    ({"max_structures": "6"}, "max_structures: '6' is not"),
    ({"limits": 8}, "limits: 8 is not a kterm.Limits; write limits = Limits(width=16, batch=8)"),
    ({"limits": Limits(width=0)}, "limits: width: 0 is not an integer of at least 1"),
    ({"limits": Limits(least_batch=-1)}, "limits: least_batch: -1 is not an integer of at least 0"),
    ({"limits": Limits(batch=1, least_batch=2)}, "limits: least_batch: 2 is above batch, 1"),
    ({"limits": Limits(run_seconds=60)}, "limits: speed: None; give about how many multiplications a second"),
    ({"limits": Limits(speed=0)}, "limits: speed: 0 is not a positive number"),
    (
        {"limits": Limits(last_identity=True), "activations": {"tanh": abs}},
        'limits: last_identity: the adapter has no activation "identity"; declare it, for the last layer',
    ),
    ({"result_dtypes": "f64"}, 'result_dtypes: \'f64\' is not a mapping; write result_dtypes = {"E": "f64"}'),
    ({"result_dtypes": {"error": "f64"}}, "result_dtypes: unknown quantity 'error'; known are outputs, E, z, x, k, "),
    ({"result_dtypes": {"E": "float64"}}, "result_dtypes: unknown dtype 'float64'; known are f64, f32, bf16, f16"),
    ({"arithmetic": None}, f"arithmetic: None is not a mapping; {_ARITHMETIC}"),
    ({"arithmetic": {"f8": Arithmetic()}}, "arithmetic: unknown dtype 'f8'; known are f64, f32, bf16, f16"),
    ({"arithmetic": {"f32": "tf32"}}, f"arithmetic: f32: 'tf32' is not a kterm.Arithmetic; {_ARITHMETIC}"),
    ({"arithmetic": {"f32": Arithmetic("tf16")}}, "arithmetic: f32: operands: unknown 'tf16'; known are None, f32, "),
    ({"arithmetic": {"f32": Arithmetic(accumulator="tf32")}}, "arithmetic: f32: accumulator: unknown 'tf32'; known"),
    ({"arithmetic": {"f32": _ANY(rounding="up")}}, "arithmetic: f32: rounding: unknown 'up'; known are n"),
    ({"arithmetic": {"f32": _ANY(flushing=True)}}, "arithmetic: f32: flushing: unknown True; known are N"),
    ({"arithmetic": {"f32": Arithmetic("bf16", 4)}}, "arithmetic: f32: terms: 4 is not an integer from 1 to 3"),
    ({"arithmetic": {"f32": Arithmetic(terms=2)}}, "arithmetic: f32: terms: without operands there are none; name the"),
    ({"arithmetic": {"f16": Arithmetic("tf32")}}, "arithmetic: f16: operands: tf32 is not narrower than f16; leave op"),
    ({"version": None}, "version: None is not a version; give the framework's version as text, as in version = "),
    ({"version": " \n"}, "version: ' \\n' is not a version"),
    ({"version": _method}, "version: it is a method; write @property above it"),
    ({"framework": None}, 'framework: None is not a line of text; write framework = "jax"'),
    ({"framework": "a\nb"}, "framework: 'a\\nb' is not a line of text"),
    ({"framework_version": 2}, 'framework_version: 2 is not a line of text; write framework_version = "1.0"'),
    ({"device": None}, 'device: None is not a line of text; write "cpu", or another of devices()'),
    ({"device": "cpu\nconforms"}, "device: 'cpu\\nconforms' is not a line of text"),
    ({"weight_layout": "(in, out)"}, "weight_layout: '(in, out)' has no name and no to_native and no from_native; "),
    ({"weight_layout": None}, "weight_layout: None has no name and no to_native and no from_native; "),
    ({"weight_layout": _Half}, f" has no from_native; {_LAYOUTS}"),
    ({"slopes_at_kinks": None}, f"slopes_at_kinks: None is not a mapping; {_KINKS}"),
    ({"slopes_at_kinks": ("relu", 0)}, f"slopes_at_kinks: ('relu', 0) is not a mapping; {_KINKS}"),
    ({"slopes_at_kinks": {"relu": 0}}, f"slopes_at_kinks: relu: 0 is not a mapping from kinks to slopes; {_KINKS}"),
    ({"slopes_at_kinks": {"relu": {0: "1"}}}, "slopes_at_kinks: relu at 0: '1' is not a number"),
    ({"slopes_at_kinks": {"relu": {0: None}}}, "slopes_at_kinks: relu at 0: None is not a number"),
    ({"slopes_at_kinks": {"relu": {"0": 1}}}, "slopes_at_kinks: relu has no kink at '0'; it has 0"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "words"), REFUSED, ids=lambda value: str(value)[:32])
def test_a_declaration_of_the_wrong_form_is_one_line_that_says_what_to_write(
    declared: dict[str, Any], words: str
) -> None:
    adapter = type("Odd", (Numpy,), {"name": "odd", **declared})()
    if "device" in declared:  # which __init__ sets
        adapter.device = declared["device"]
    with pytest.raises(ValueError, match=r"^adapter odd: ") as caught:
        describe(adapter, "odd")
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x1b[31mred", "a\u2028b", None, 7, _method])
def test_a_name_is_a_line_of_text(name: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^adapter class Odd: name: .* is not a line of text; write name = "
    ) as caught:
        _described({"name": name})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("2.1", "2.1"),
        (2, "2"),
        ((1, 9), "(1, 9)"),
        ("1.0\nconforms\r\n", "1.0 conforms"),
        ("1.0\x1b[2J\x00\u2028x", "1.0 [2J x"),
    ],
)
def test_a_version_is_one_line_of_text(version: Any, line: str) -> None:
    assert _described({"version": version}).version == line


@pytest.mark.parametrize(
    ("declared", "due"),
    [
        ({"version": "2"}, ("odd", "2")),
        ({"version": "2", "framework": "jax"}, ("jax", "2")),
        ({"version": "2", "framework": "jax", "framework_version": "0.10"}, ("jax", "0.10")),
        ({"version": "2", "framework_version": "0.10"}, ("odd", "2")),
    ],
)
def test_the_framework_is_the_adapters_own_unless_declared(declared: dict[str, Any], due: tuple[str, str]) -> None:
    described = _described(declared)
    assert (described.framework, described.framework_version) == due
    assert Description.from_json(described.to_json()) == described


def test_what_has_another_form_and_says_the_same_is_taken() -> None:
    described = _described(
        {
            "dtypes": {"f32": 1, "f64": 2},
            "biases": ["pre"],
            "max_structures": np.int64(3),
            "slopes_at_kinks": {"relu": {0.0: np.float32(0.5)}},
            "weight_layout": type("Layout", (), vars(IN_OUT)),
        }
    )
    assert described.dtypes == ("f64", "f32")
    assert described.biases == ("pre",)
    assert described.activations == tuple(ACTIVATIONS)
    assert (described.max_structures, type(described.max_structures)) == (3, int)
    assert described.slopes_at_kinks == (("relu", 0.0, 0.5),)
    assert Description.from_json(described.to_json()) == described


class Bare(Adapter):
    """It has no name, no version and no activations."""

    def build(self, structure: Structure) -> Program:
        raise NotImplementedError


class NoDevice(Bare):
    """It has a name and a version, and an __init__ that does not call the base class's."""

    name = "bare"
    version = "1"

    def __init__(self) -> None:
        pass


def test_what_is_not_declared_is_named() -> None:
    with pytest.raises(ValueError, match="adapter class Bare: name: nothing is not a line of text"):
        describe(Bare(), "bare")
    unversioned = type("Unversioned", (Bare,), {"name": "bare"})
    with pytest.raises(ValueError, match="adapter bare: version: nothing is not a version; give the framework's"):
        describe(unversioned(), "bare")
    named = type("Named", (Bare,), {"name": "bare", "version": "1"})
    with pytest.raises(ValueError, match="adapter bare: activations: nothing is not a mapping; write activations = "):
        describe(named(), "bare")
    with pytest.raises(ValueError, match=r"adapter bare: device: it is not set; call super\(\).__init__\(device\)"):
        describe(NoDevice(), "bare")


def test_devices_given_as_one_string_are_refused() -> None:
    odd = type("Odd", (Numpy,), {"name": "odd", "devices": lambda self: "cpu"})
    for device in ("c", "cpu"):
        with pytest.raises(ValueError, match=r"devices: odd gives 'cpu'; return \('cpu',\)"):
            odd(device)


@pytest.mark.parametrize(
    ("declared", "words"), [("dtypes = 'f32'", "write dtypes = ('f32',)"), ("max_structures = 0", "at least 1")]
)
def test_the_command_refuses_a_wrong_declaration(tmp_path: Path, declared: str, words: str) -> None:
    (tmp_path / "odd.py").write_text(
        f"from kterm.adapters.numpy_adapter import Numpy\nclass Odd(Numpy):\n    name = 'odd'\n    {declared}\n"
    )
    assert_one_line(kterm("check", "odd.py:Odd", "--profile", "smoke", "-n", "0", folder=tmp_path), 3, words)
