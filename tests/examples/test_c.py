"""The port in C, examples/c: it compiles, answers rightly, and refuses by code what it cannot do."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, Bias, Network

from ..support.here import kterm_here
from ..support.port import Port, assert_follows_the_rule, read_tensor, start_port, write_structure, write_tensor

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "c"
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler cc here")
SMALL = write_structure(Network((2, 1), ("relu",), "pre"), 1, "f32")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built by the command in the README with its output elsewhere."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    command = next(line.split() for line in readme.splitlines() if line.startswith("    cc "))
    built = tmp_path_factory.mktemp("c") / "adapter"
    command[command.index("-o") + 1] = str(built)
    done = subprocess.run([*command, "-std=c99", "-Wall", "-Wextra"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return built


@pytest.fixture
def port(program: Path) -> Iterator[Port]:
    with start_port([str(program)], ROOT) as port:
        yield port


def test_the_makefile_builds_it_too(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    copy = shutil.copytree(FOLDER, tmp_path / "c", ignore=shutil.ignore_patterns("adapter"))
    subprocess.run(["make", "-s", "-C", str(copy), "CFLAGS=-std=c99 -O0"], check=True)
    with start_port([str(copy / "adapter")], ROOT) as port:
        assert port.ask("initialize", protocol=1, device=None)["name"] == "c-port"


def test_it_conforms(program: Path, tmp_path: Path) -> None:
    done = kterm_here("check", f"command:'{program}'", "--profile", "smoke", "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "c-port" in done.stdout


def test_nothing_is_wrong_in_its_program(program: Path, tmp_path: Path) -> None:
    done = kterm_here("smoke", f"command:'{program}'", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong seen in the adapter" in done.stdout


def test_it_declares_every_activation_and_ends_with_its_input(port: Port) -> None:
    declared = port.ask("initialize", protocol=1, device=None)
    assert declared["activations"] == list(ACTIVATIONS)
    # Every kink has a slope, one that a formula in pass.inc takes and not the rule's by chance.
    kinks = {(name, point) for name, point, _ in declared["kinks"]}
    assert kinks == {(name, kink.point) for name, row in ACTIVATIONS.items() for kink in row.kinks}
    assert port.finish() == 0


def test_shutdown_ends_it(port: Port) -> None:
    assert port.ask("shutdown") == {}
    assert port.finish() == 0


@pytest.mark.parametrize("bias", ["none", "pre", "post"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_activation_gives_what_the_rule_gives(port: Port, bias: Bias, dtype: type) -> None:
    relative, absolute = (1e-4, 1e-5) if dtype is np.float32 else (1e-12, 1e-13)
    assert_follows_the_rule(port, ACTIVATIONS, bias, dtype, relative, absolute)


def test_an_empty_batch_and_a_width_of_zero_are_networks(port: Port) -> None:
    for widths, batch in (((2, 1), 0), ((2, 0, 3), 4), ((0, 2), 2)):
        network_structure = {**SMALL, "widths": widths, "batch": batch}
        network_structure["activations"] = [{"name": "identity", "parameters": {}}] * (len(widths) - 1)
        number = port.ask("build", structure=network_structure)["program"]
        weights = [np.ones(pair, np.float32) for pair in pairwise(widths)]
        biases = [np.ones(n, np.float32) for n in widths[1:]]
        answer = port.ask(
            "backprop",
            program=number,
            weights=[*map(write_tensor, weights)],
            biases=[*map(write_tensor, biases)],
            x=write_tensor(np.ones((batch, widths[0]), np.float32)),
            y=write_tensor(np.zeros((batch, widths[-1]), np.float32)),
        )
        assert [read_tensor(tensor).shape for tensor in answer["weight_gradients"]] == [w.shape for w in weights]


def _change(**changes: object) -> dict[str, object]:
    return {**SMALL, **changes}


@pytest.mark.parametrize(
    ("structure", "code", "words"),
    [
        (_change(dtype="f16"), -32001, "f64 or f32"),
        (_change(activations=[{"name": "softmax", "parameters": {}}]), -32001, "activation 1: there is none"),
        (_change(activations=[{"name": "relu", "parameters": {"slope": 1}}]), -32001, "no such parameter"),
        (_change(activations=[{"name": "elu", "parameters": {}}]), -32602, "parameter is missing"),
        (_change(activations=[{"name": "elu", "parameters": {"alpha": "1"}}]), -32602, "no number"),
        (_change(activations=["relu"]), -32602, "activation 1"),
        (_change(widths=[2]), -32602, "one width more"),
        (_change(widths=[2, -1]), -32602, "width 1"),
        (_change(widths=[2, 1.5]), -32602, "width 1"),
        (_change(widths=[2, 1e300]), -32602, "width 1"),
        (_change(widths=[2**20, 2**20]), -32001, "2^24 weights"),
        (_change(batch=2**24, widths=[2, 2]), -32001, "2^24 numbers"),
        (_change(batch=True), -32602, "batch"),
        (_change(bias="both"), -32602, "none, pre or post"),
        ({}, -32602, "structure"),
        (_change(widths=[1] * 5001, activations=[{"name": "relu"}] * 5000), -32001, "4096 layers"),
    ],
)
def test_a_structure_that_it_cannot_run_is_refused_by_code(
    port: Port, structure: dict[str, object], code: int, words: str
) -> None:
    found, message = port.refusal("build", structure=structure)
    assert found == code
    assert words in message
    assert port.ask("build", structure=SMALL) == {"program": 0}


TENSOR = write_tensor(np.zeros((2, 1), np.float32))


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ({**TENSOR, "dtype": "f64"}, "dtype"),
        ({**TENSOR, "shape": [1, 2]}, "shape"),
        ({**TENSOR, "shape": [2]}, "shape"),
        ({**TENSOR, "shape": [2, -1]}, "shape"),
        ({**TENSOR, "data": "AAAAAAAAAAA"}, "base64"),
        ({**TENSOR, "data": "AAAAAAAAAA=="}, "base64"),
        ({**TENSOR, "data": "AAAA AAAAAA="}, "base64"),
        ({**TENSOR, "data": "AAAAAAAAAAB="}, "base64"),
        ({**TENSOR, "data": "=AAAAAAAAAA="}, "base64"),
        ({**TENSOR, "data": 0}, "base64"),
        (None, "dtype"),
    ],
)
def test_a_tensor_of_the_wrong_form_is_refused(port: Port, weight: object, words: str) -> None:
    number = port.ask("build", structure=SMALL)["program"]
    x, y, bias = (write_tensor(np.zeros(shape, np.float32)) for shape in ((1, 2), (1, 1), 1))
    code, message = port.refusal("backprop", program=number, weights=[weight], biases=[bias], x=x, y=y)
    assert code == -32602
    assert message.startswith("weights of layer 1: ")
    assert words in message
    assert port.ask("backprop", program=number, weights=[TENSOR], biases=[bias], x=x, y=y)["outputs"] == y


def test_programs_are_found_by_number_until_released(port: Port) -> None:
    assert port.refusal("release", program=0)[0] == -32602
    assert [port.ask("build", structure=SMALL)["program"] for _ in range(3)] == [0, 1, 2]
    port.ask("release", program=1)
    for gone in (1, 3, -1, 0.5, "0", None):
        assert port.refusal("backprop", program=gone)[0] == -32602
    assert port.refusal("backprop", program=2)[1].startswith("weights")
    assert port.ask("build", structure=SMALL)["program"] == 3


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"", -32700, "byte 0"),
        (b"nonsense", -32700, "begins no value"),
        (b'{"id": 1', -32700, "bracket"),
        (b'{"id": 1} 2', -32700, "behind the value"),
        (b'{"id": 1, "id": 2}', -32700, "twice"),
        (b'{"id": 01}', -32700, "bracket"),
        (b'{"id": "\xff"}', -32700, "UTF-8"),
        (b'{"id": "\xed\xa0\x80"}', -32700, "UTF-8"),
        (b'{"id": "\\ud800"}', -32700, "surrogate"),
        (b'{"id": "\\x"}', -32700, "escape"),
        (b'{"id": "\x00"}', -32700, "control"),
        (b"[" * 100000, -32700, "deeply"),
        (b"[" + b"0," * 100000 + b"0]", -32700, "too many values"),
        (b"{" + b",".join(b'"%d":0' % i for i in range(65)) + b"}", -32700, "too many members"),
        (b"{}", -32600, "integer"),
        (b"[]", -32600, "integer"),
        (b'{"id": "1", "jsonrpc": "2.0", "method": "shutdown"}', -32600, "integer"),
        (b'{"id": 1.5, "jsonrpc": "2.0", "method": "shutdown"}', -32600, "integer"),
        (b'{"id": 1, "method": "shutdown"}', -32600, "JSON-RPC"),
        (b'{"id": 1, "jsonrpc": "2.0"}', -32600, "JSON-RPC"),
        (b'{"id": 1, "jsonrpc": "2.0", "method": "guess"}', -32601, "method"),
        (b'{"id": 1, "jsonrpc": "2.0", "method": "initialize", "params": {"protocol": 2}}', -32602, "version 1"),
        (
            b'{"id": 1, "jsonrpc": "2.0", "method": "initialize", "params": {"protocol": 1, "device": "gpu"}}',
            -32602,
            "cpu",
        ),
    ],
)
def test_a_line_that_is_no_request_is_refused_by_code(port: Port, line: bytes, code: int, words: str) -> None:
    error = port.exchange(line)["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert port.ask("build", structure=SMALL) == {"program": 0}


def test_escapes_in_strings_are_decoded(port: Port) -> None:
    line = json.dumps({"jsonrpc": "2.0", "id": -7, "method": "build", "params": {"structure": SMALL, "😀": "\n\"é'"}})
    assert port.exchange(line.replace("build", "b\\u0075ild").encode())["result"] == {"program": 0}
    assert port.exchange(json.dumps({"jsonrpc": "2.0", "id": 10**30, "method": "release"}).encode())["id"] == 10**30


def test_base64_of_every_length_survives_the_way(port: Port) -> None:
    rng = np.random.default_rng(1)
    for width in range(1, 9):
        structure = _change(widths=[1, width], activations=[{"name": "identity", "parameters": {}}], bias="none")
        number = port.ask("build", structure=structure)["program"]
        weight = np.frombuffer(rng.bytes(4 * width), np.uint32) & 0x3FFFFFFF | 0x20000000
        one = write_tensor(np.ones((1, 1), np.float32))
        tensor = {"dtype": "f32", "shape": [1, width], "data": base64.b64encode(weight.tobytes()).decode()}
        y = write_tensor(np.zeros((1, width), np.float32))
        answer = port.ask("backprop", program=number, weights=[tensor], biases=[], x=one, y=y)
        assert answer["outputs"]["data"] == tensor["data"]
