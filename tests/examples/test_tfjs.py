"""TensorFlow.js, examples/tfjs: it answers rightly, and has the slopes and the divergence that its README states."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kterm.reference import ACTIVATIONS, Array, Bias, Network

from ..support.here import kterm_here
from ..support.port import Port, assert_follows_the_rule, read_tensor, start_port, write_structure, write_tensor

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "tfjs"
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here"),
    pytest.mark.skipif(not (FOLDER / "node_modules").exists(), reason="run npm ci --prefix examples/tfjs first"),
]


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with start_port(["node", str(FOLDER / "adapter.mjs")], ROOT) as port:
        yield port


@pytest.fixture(scope="module")
def declared(port: Port) -> dict[str, list]:
    return port.ask("initialize", protocol=1, device=None)


def test_the_versions_agree(declared: dict[str, str]) -> None:
    wanted = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]["@tensorflow/tfjs"]
    locked = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert declared["version"] == wanted == locked["node_modules/@tensorflow/tfjs"]["version"]
    assert f"TensorFlow.js](https://github.com/tensorflow/tfjs) {wanted}" in (FOLDER / "README.md").read_text("utf-8")


def test_it_conforms_with_its_expectation_alone(tmp_path: Path) -> None:
    spec = f"command:node '{FOLDER / 'adapter.mjs'}'"
    known = ("--expectations", str(FOLDER / "expectations.toml"))
    done = kterm_here("check", spec, "--profile", "smoke", "-n", "0", *known, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("bias", ["none", "pre", "post"])
def test_every_activation_gives_what_the_rule_gives(port: Port, declared: dict[str, list], bias: Bias) -> None:
    assert_follows_the_rule(port, declared["activations"], bias, np.float32, 1e-4, 1e-5)


def _slope(port: Port, name: str, point: float) -> Array:
    """The slope of an activation at a point: k of one unit with the residual 1."""
    number = port.ask("build", structure=write_structure(Network((1, 1), (name,), "none"), 1, "f32"))["program"]
    z, one = np.full((1, 1), point, np.float32), np.ones((1, 1), np.float32)
    value = ACTIVATIONS[name].f(z)
    given = {"weights": [write_tensor(one)], "biases": [], "x": write_tensor(z), "y": write_tensor(value - one)}
    return read_tensor(port.ask("backprop", program=number, **given)["k"][0])[0, 0]


def test_it_takes_the_slopes_that_it_declares(port: Port, declared: dict[str, list]) -> None:
    for name, point, slope in declared["kinks"]:
        assert _slope(port, name, point) == pytest.approx(slope, rel=1e-6), name
    kinks = {(name, kink.point) for name in declared["activations"] for kink in ACTIVATIONS[name].kinks}
    assert {(name, point) for name, point, _ in declared["kinks"]} == kinks


def test_elu_has_the_divergence_that_is_expected(port: Port) -> None:
    # From the rounded output -1, the slope is 0. If this fails, remove the expectation and its section in the README.
    assert _slope(port, "elu", -18) == 0 < np.exp(-18)
    assert _slope(port, "selu", -18) == pytest.approx(1.0507 * 1.67326 * np.exp(-18), rel=1e-4)


def test_the_code_in_the_readme_shows_the_divergence() -> None:
    code = re.findall(r"^    ((?:import|console).*)$", (FOLDER / "README.md").read_text("utf-8"), re.M)
    done = subprocess.run(
        ["node", "--input-type=module", "-e", "\n".join(code)], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    assert re.search(r"^0 1\.52\d*e-8$", done.stdout, re.M), done.stdout


def test_what_it_cannot_do_is_refused_by_code(port: Port, declared: dict[str, dict]) -> None:
    small = write_structure(Network((2, 1), ("relu",), "pre"), 1, "f32")
    assert port.refusal("build", structure={**small, "dtype": "f64"})[0] == -32001
    assert port.refusal("build", structure={**small, "activations": [{"name": "celu", "parameters": {}}]})[0] == -32001
    alpha = [{"name": "elu", "parameters": {"alpha": 1.5}}]
    assert port.refusal("build", structure={**small, "activations": alpha}) == (-32001, "tf.elu has alpha = 1 only")
    assert declared["fixed_parameters"] == {"elu": {"alpha": 1}}  # so that the suite asks for no other value
    assert port.refusal("release", program=10**6)[0] == -32602
    assert port.refusal("guess")[0] == -32601
    assert port.exchange(b"nonsense")["error"]["code"] == -32700
    assert port.ask("build", structure=small)["program"] > 0


def test_it_ends_with_its_input_and_on_shutdown() -> None:
    for ends in (False, True):
        with start_port(["node", str(FOLDER / "adapter.mjs")], ROOT) as port:
            if ends:
                assert port.ask("shutdown") == {}
            assert port.finish() == 0
