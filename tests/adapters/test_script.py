"""Scripts make the calls that their adapters make, and formulas agree with the activation table."""

import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kterm.adapters import Adapter, Call, Script
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.quantities import arrays
from kterm.adapters.registry import is_installed, load
from kterm.adapters.scripts.formulas import FORMULAS, HELPERS, helpers, slope_of, value_of
from kterm.adapters.scripts.source import read_source
from kterm.conformance.cases.draw import stacked
from kterm.conformance.cases.regimes import Draw
from kterm.conformance.checks.comparison.compare import compare
from kterm.reference import ACTIVATIONS, BIASES, DTYPES, Array, Bias, Network, Parameters, Structure
from kterm.reference.rounding import Estimate, activation, bound, derivative

NAMES = ("jax", "jax-eager", "jax-vmap", "numpy", "torch", "torch-func")


def _loaded(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


def _draw(structure: Structure) -> Draw:
    random = np.random.Generator(np.random.Philox(3))
    widths, dtype = structure.network.widths, structure.format.numpy

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape).astype(dtype)

    weights = tuple(normal(*pair) for pair in pairwise(widths))
    biases = () if structure.network.bias == "none" else tuple(normal(n) for n in widths[1:])
    x, y = normal(structure.batch, widths[0]), normal(structure.batch, widths[-1])
    return Draw(Parameters(weights, biases), x, y, np.zeros((), bool))


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore what a script sets for its whole process."""
    jax = sys.modules.get("jax")
    before = np.geterr(), jax and jax.config.jax_enable_x64
    try:
        yield
    finally:
        np.seterr(**before[0])
        if jax:
            jax.config.update("jax_enable_x64", before[1])


def run(script: Script, one: Draw) -> dict[str, Array]:
    """Run a script and return its quantities by name."""
    stored = np.float32 if one.x.dtype.itemsize == 2 and one.x.dtype != np.float16 else one.x.dtype
    names: dict[str, Any] = {
        "weights": [w.astype(stored) for w in one.parameters.weights],
        "biases": [b.astype(stored) for b in one.parameters.biases],
        "x": one.x.astype(stored),
        "y": one.y.astype(stored),
    }
    with _settings_kept():
        for part in (script.preamble, script.setup, script.calls):
            exec(compile(part, "<script>", "exec"), names)
        return {name: np.array(eval(text, names)) for name, text in script.shown.items()}


def _structures(name: str) -> Iterator[Structure]:
    """Structures with every activation, and with bias placements, dtypes and depths in turn. JAX's other adapters run
    the functions that "jax" runs and get an eighth of the activations.
    """
    names = tuple(ACTIVATIONS) if name in ("jax", "numpy", "torch", "torch-func") else tuple(ACTIVATIONS)[::8]
    dtypes = ("f32", "f64") if name == "numpy" else ("f32", "f64", "bf16", "f16")
    depths = (1, 2) if len(names) < 4 else (3, 2, 1) if name in ("numpy", "torch", "torch-func") else (4, 8)
    start = number = 0
    while start < len(names):
        some = names[start : start + depths[number % len(depths)]]
        widths = (3, 2, 4, 2, 3, 2, 2, 3, 2)[: len(some) + 1]
        yield Structure(Network(widths, some, BIASES[number % 3]), 5, dtypes[number % len(dtypes)])
        start, number = start + len(some), number + 1
    yield Structure(Network((2, 1), ("tanh",), "none"), 0, "f32")


@pytest.mark.parametrize(
    "name", ["jax", *(pytest.param(name, marks=pytest.mark.heavy) for name in NAMES[1:3]), *NAMES[4:]]
)
def test_a_script_computes_the_bits_of_its_adapter(name: str) -> None:
    adapter = _loaded(name)
    for structure in _structures(name):
        one = _draw(structure)
        due = arrays(adapter.program(structure)(one.parameters, one.x, one.y))
        found = run(adapter.script(structure), one)
        assert list(found) == list(due)
        for quantity, array in found.items():
            where = f"{structure} {quantity}"
            assert array.shape == due[quantity].shape, where
            stored = np.float32 if structure.dtype == "bf16" else structure.format.numpy
            assert array.dtype == stored, where
            np.testing.assert_array_equal(array, due[quantity].astype(stored), err_msg=where)


def test_the_script_in_numpy_conforms_and_keeps_the_dtype() -> None:
    adapter = _loaded("numpy")
    for structure in _structures("numpy"):
        one = _draw(structure)
        observed = adapter.program(structure)(one.parameters, one.x, one.y)
        found = run(adapter.script(structure), one)
        assert {name: (a.shape, a.dtype) for name, a in found.items()} == {
            name: (a.shape, a.dtype) for name, a in arrays(observed).items()
        }
        if structure.batch:
            observed = type(observed)(
                found["outputs"],
                found["E"],
                *(
                    tuple(a for name, a in found.items() if name.startswith(symbol))
                    for symbol in ("dE/dW", "dE/db", "z_", "x_", "k_")
                ),
            )
            for one_quantity in compare(structure, stacked([one]), [observed]):
                assert one_quantity.worst[0] <= 1, (structure, one_quantity)


def _branches(activations: list, bias: str) -> Any:
    def run(
        x: Array,
        *biases: Array,
    ) -> list:
        # The branch of each placement.
        if bias == "pre":
            # Inside.
            x = x + biases[0]
        else:
            x = x * 1
            x = x - 1
        if bias == "post":
            x = x + biases[0]

        def inner(z: Array, by: float = 2.0) -> Array:
            return z * by

        return [activation(inner(x)) for activation in activations]

    return run


@pytest.mark.parametrize(
    ("bias", "lines"),
    [
        ("none", ["    x = x * 1", "    x = x - 1"]),
        ("pre", ["    # Inside.", "    x = x + biases[0]"]),
        ("post", ["    x = x * 1", "    x = x - 1", "    x = x + biases[0]"]),
    ],
)
def test_the_source_of_a_function_has_the_branches_of_one_placement(bias: Bias, lines: list[str]) -> None:
    function = _branches([abs], bias)
    source = read_source(function, bias)
    head, *body = source.splitlines()
    assert head == "def run(x, *biases):"
    body = [line for line in body if "x = x" in line or "#" in line]
    assert body == ["    # The branch of each placement.", *lines]
    assert "    def inner(z, by=2.0):" in source
    names: dict[str, Any] = {"activations": [abs]}
    exec(source, names)
    assert names["run"](-3.0, 5.0) == function(-3.0, 5.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "numpy"])
@pytest.mark.parametrize("bias", BIASES)
def test_a_script_shows_the_lines_that_its_adapter_runs(name: str, bias: Bias) -> None:
    adapter = _loaded(name)
    module = sys.modules[type(adapter).__module__]
    # Its own module, and those whose functions it calls.
    homes = {module.__name__, *(part.__module__ for part in vars(module).values() if inspect.isfunction(part))}
    source = "\n".join(inspect.getsource(sys.modules[home]) for home in homes)
    setup = adapter.script(Structure(Network((2, 3, 1), ("elu", "tanh"), bias), 2, "f32")).setup
    functions = [node for node in ast.parse(setup).body if isinstance(node, ast.FunctionDef)]
    assert functions
    own = {line.strip() for line in source.splitlines()}
    for node in ast.walk(ast.Module(list(functions), [])):
        if isinstance(node, ast.FunctionDef):
            first, last = node.body[0].lineno - 1, node.end_lineno
            shown = {line.strip() for line in setup.splitlines()[first:last]}
            assert {line for line in shown if not line.startswith("def ")} <= own


def _evaluated(expression: str, z: Array) -> Array:
    import math

    names: dict[str, Any] = {"np": np, "math": math, "z": z}
    exec("\n".join(f"def {name}(z):\n    return {text}" for name, text in HELPERS.items()), names)
    with np.errstate(all="ignore"):
        return eval(expression, names)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_formulas_agree_with_the_table(name: str, dtype: str) -> None:
    row, reading = ACTIVATIONS[name], bound(DTYPES[dtype])
    points = [kink.point for kink in row.kinks]
    sizes = np.geomspace(1e-6, 700, 400)
    z = np.concatenate([-sizes[::-1], [0.0, *points], sizes]).astype(DTYPES[dtype].numpy)
    exact = Estimate(z.astype(np.float64))
    # At a kink a formula for f' gives the row's value; elsewhere its error is that of a sound implementation.
    for expression, right, due in (
        (value_of(name), activation(row, exact, reading), row.f(exact.value)),
        (slope_of(name), derivative(row, exact, reading), row.derivative(exact.value)),
    ):
        found = _evaluated(expression, z)
        assert found.dtype in (z.dtype, np.bool_), expression
        allowed = np.zeros(z.shape) if right.error is None else right.error
        assert (np.abs(found.astype(np.float64) - due) <= allowed).all(), expression


def test_every_activation_has_a_formula() -> None:
    assert list(FORMULAS) == list(ACTIVATIONS)
    assert list(helpers(["gate(z) + np.softplus(z) + normal_cdf(2)"])) == ["normal_cdf", "gate"]


def test_the_name_in_a_script_is_that_of_the_function() -> None:
    for name, modules in (("torch", ("torch", "F")), ("jax", ("jax", "jnp"))):
        adapter, names = _loaded(name), dict[str, Any]()
        exec(adapter.script(Structure(Network((1, 1), ("relu",)), 1, "f32")).preamble, names)
        for call in adapter.activations.values():
            assert isinstance(call, Call)
            assert bool(call.name) != bool(call.expression)
            if call.name:
                assert call.name.split(".")[0] in modules
                assert eval(call.name, names) is call.function


def test_an_adapter_without_a_script_says_how_to_give_it_one() -> None:
    structure = Structure(Network((1, 1), ("relu",)), 1, "f32")
    with pytest.raises(NotImplementedError, match=r"bare has no script; give its class a method script\(structure\)"):
        type("Bare", (Numpy,), {"name": "bare", "script": Adapter.script})().script(structure)
    torch = _loaded("torch")
    torch.activations = {"relu": lambda z: z}
    with pytest.raises(NotImplementedError, match=r"torch has no script: its relu is not a kterm.adapters.Call"):
        torch.script(structure)
