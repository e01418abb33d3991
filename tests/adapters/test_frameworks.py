"""Every shipped adapter agrees with the rule in float64 and keeps the contract: dtypes, shapes, strides, aliasing."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, Program
from kterm.adapters.registry import is_installed, load, registered
from kterm.reference import ACTIVATIONS, BIASES, DTYPES, Array, Bias, Network, Parameters, Structure, backpropagate

from .test_shipped import NAMES as OTHERS

NAMES = ("jax", "jax-eager", "jax-vmap", "numpy", "torch", "torch-func")
TORCH = ("torch", "torch-func")
# Compilation takes most of the time, so JAX gets few structures, each with several activations.
CHEAP = ("numpy", *TORCH)
Draw = tuple[Parameters, Array, Array]


def _loaded(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


@pytest.fixture(scope="module", params=NAMES)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return _loaded(request.param)


def _draw(structure: Structure, seed: int = 0) -> Draw:
    random = np.random.Generator(np.random.Philox(seed))
    widths, dtype = structure.network.widths, structure.format.numpy

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape).astype(dtype)

    weights = tuple(normal(n_in, n_out) for n_in, n_out in pairwise(widths))
    biases = () if structure.network.bias == "none" else tuple(normal(n) for n in widths[1:])
    return Parameters(weights, biases), normal(structure.batch, widths[0]), normal(structure.batch, widths[-1])


def _parts(observed: Observation) -> dict[str, Array]:
    assert observed.z is not None
    assert observed.x is not None
    assert observed.k is not None
    series = {
        "W": observed.weight_gradients,
        "b": observed.bias_gradients,
        "z": observed.z,
        "x": observed.x,
        "k": observed.k,
    }
    single = {"outputs": observed.outputs, "E": observed.error}
    return single | {f"{name}{i}": part for name, parts in series.items() for i, part in enumerate(parts, 1)}


def _bytes(observed: Observation) -> dict[str, bytes]:
    return {name: part.tobytes() for name, part in _parts(observed).items()}


def _due(structure: Structure, draw: Draw) -> dict[str, Array]:
    """The quantities of the rule in float64."""
    wide = [tuple(a.astype(np.float64) for a in part) for part in (draw[0].weights, draw[0].biases, draw[1:])]
    answer = backpropagate(structure.network, Parameters(wide[0], wide[1]), *wide[2])
    return _parts(
        Observation(
            outputs=answer.outputs,
            error=answer.error,
            weight_gradients=answer.weight_gradients,
            bias_gradients=answer.bias_gradients,
            z=answer.z,
            x=answer.x[1:],
            k=answer.k,
        )
    )


def _assert_conforms(adapter: Adapter, structure: Structure, scale: float = 1e3) -> None:
    """Compare with a rough tolerance, which no exchanged and no missing term would meet."""
    draw = _draw(structure)
    got, due = _parts(adapter.program(structure)(*draw)), _due(structure, draw)
    assert list(got) == list(due)
    u = structure.format.u
    if structure.dtype == "f64" and adapter.name in TORCH and "hard_sigmoid" in structure.network.activations:
        u = DTYPES["f32"].u  # PyTorch's hardsigmoid has a slope of float32(1/6), in float64 too
    where = f"{adapter.name} {structure}"
    for name, part in got.items():
        assert isinstance(part, np.ndarray), (where, name)
        assert part.dtype == structure.format.numpy, (where, name)
        assert part.shape == due[name].shape, (where, name)
        allowed = scale * u * max(1.0, np.abs(due[name]).max(initial=0))
        error = np.abs(part.astype(np.float64) - due[name]).max(initial=0)
        assert error <= allowed, (where, name, part, due[name])


def _mixed(dtype: str, batch: int = 5) -> Iterator[Structure]:
    """Networks in which every activation occurs once, with one to three layers and each bias placement in turn."""
    names, start = tuple(ACTIVATIONS), 0
    for i, depth in enumerate((3, 3, 1, 3, 3, 2, 3, 3, 3)):
        yield Structure(Network((3, 2, 4, 2)[: depth + 1], names[start : start + depth], BIASES[i % 3]), batch, dtype)
        start += depth
    assert start == len(names)


def test_every_shipped_adapter_is_tested() -> None:
    ours = {name for name, entry in registered().items() if entry.value.startswith("kterm.")}
    assert ours == {*NAMES, *OTHERS}


def test_declaration(adapter: Adapter) -> None:
    assert adapter.name in NAMES
    assert set(adapter.activations) == set(ACTIVATIONS)
    assert adapter.biases == BIASES
    assert adapter.device == "cpu"
    assert adapter.device in adapter.devices()
    assert adapter.version[0].isdigit()
    framework = adapter.name.split("-")[0]
    assert adapter.version == sys.modules[framework].__version__


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_agrees_with_the_rule(adapter: Adapter, dtype: str) -> None:
    structures = list(_mixed(dtype))
    # The other two JAX adapters run the functions that "jax" runs: one structure for each bias placement is enough.
    for structure in structures if adapter.name in ("jax", *CHEAP) else structures[:3]:
        _assert_conforms(adapter, structure)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("name", CHEAP)
def test_agrees_with_the_rule_for_every_activation_placement_and_depth(name: str, bias: Bias, dtype: str) -> None:
    adapter = _loaded(name)
    for activation, depth in product(ACTIVATIONS, (1, 2, 3)):
        _assert_conforms(adapter, Structure(Network((3, 4, 2, 5)[: depth + 1], (activation,) * depth, bias), 4, dtype))


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_narrow_dtypes(adapter: Adapter, dtype: str) -> None:
    if dtype not in adapter.dtypes:
        with pytest.raises(NotImplementedError, match=f"numpy has no dtype {dtype}"):
            adapter.build(Structure(Network((2, 1), ("relu",)), 1, dtype))
        return
    structures = list(_mixed(dtype))
    for structure in structures if adapter.name in CHEAP else structures[:1]:
        _assert_conforms(adapter, structure, scale=16)


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_jax_activations_keep_the_dtype(dtype: str) -> None:
    jax = pytest.importorskip("jax")
    network = Network((1,) * (len(ACTIVATIONS) + 1), tuple(ACTIVATIONS))
    z = jax.ShapeDtypeStruct((1, 1), DTYPES[dtype].numpy)
    for function in load("jax").functions(Structure(network, 1, dtype)):
        value, slope = jax.eval_shape(lambda z, f=function: jax.value_and_grad(lambda z: f(z).sum())(z), z)
        assert value.dtype == slope.dtype == z.dtype


def _hardest(adapter: Adapter) -> str:
    """The dtype that needs most conversions."""
    return "bf16" if "bf16" in adapter.dtypes else "f32"


def test_inputs_arrive_bit_for_bit(adapter: Adapter) -> None:
    structure = Structure(Network((1, 1), ("identity",)), 64, _hardest(adapter))
    _, x, y = _draw(structure)
    one = Parameters((np.ones((1, 1), x.dtype),))
    assert adapter.program(structure)(one, x, y).outputs.tobytes() == x.tobytes()


def _versions(array: Array) -> Iterator[Array]:
    """The same numbers in other memory layouts: Fortran order, every second element, backwards, read-only."""
    yield np.asfortranarray(array)
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    strided = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    strided[...] = array
    yield strided
    backwards = tuple(slice(None, None, -1) for _ in array.shape)
    yield array[backwards].copy()[backwards]
    locked = array.copy()
    locked.flags.writeable = False
    yield locked


def _all(draw: Draw) -> tuple[Array, ...]:
    return (*draw[0].weights, *draw[0].biases, *draw[1:])


def test_strides_and_locks_change_nothing(adapter: Adapter) -> None:
    structure = Structure(Network((3, 2, 4), ("tanh", "relu"), "post"), 5, _hardest(adapter))
    program, draw = adapter.program(structure), _draw(structure)
    due = _bytes(program(*draw))
    for arrays in zip(*(_versions(array) for array in _all(draw)), strict=True):
        before = [array.tobytes() for array in arrays]
        given = (Parameters(arrays[:2], arrays[2:4]), *arrays[4:])
        assert _bytes(program(*given)) == due
        assert [array.tobytes() for array in arrays] == before


def test_calls_neither_differ_nor_overwrite_nor_alias(adapter: Adapter) -> None:
    structure = Structure(Network((3, 2, 4), ("identity", "identity"), "pre"), 5, "f32")
    program: Program = adapter.program(structure)
    draw = _draw(structure)
    first = program(*draw)
    before = _bytes(first)
    program(*_draw(structure, seed=1))
    for array in _all(draw):
        array += 1
    assert _bytes(first) == before
    for array in _all(draw):
        array[...] = 0
    assert _bytes(program(*_draw(structure))) == before
    for array, part in product(_all(draw), _parts(first).values()):
        assert not np.shares_memory(array, part)


def test_two_programs_of_one_adapter_do_not_share_parameters(adapter: Adapter) -> None:
    structure = Structure(Network((2, 1), ("sigmoid",), "pre"), 2, "f64")
    programs = [adapter.program(structure), adapter.program(structure)]
    due = _bytes(programs[0](*_draw(structure)))
    programs[1](*_draw(structure, seed=1))
    assert _bytes(programs[0](*_draw(structure))) == due


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batch_and_width_one(adapter: Adapter, batch: int) -> None:
    for bias in BIASES if adapter.name in CHEAP else ("post",):
        _assert_conforms(adapter, Structure(Network((1, 1, 1), ("tanh", "relu"), bias), batch, "f32"))


def test_the_weight_layout_is_the_one_declared(adapter: Adapter) -> None:
    structure = Structure(Network((3, 2), ("identity",)), 4, "f64")
    parameters, x, y = _draw(structure)
    layout = adapter.weight_layout
    native = replace(parameters, weights=tuple(layout.to_native(weight) for weight in parameters.weights))
    observed = adapter.build(structure)(native, x, y)
    assert observed.weight_gradients[0].shape == native.weights[0].shape
    assert native.weights[0].shape == ((2, 3) if adapter.name in TORCH else (3, 2))


def test_undeclared_structures_are_not_implemented(adapter: Adapter) -> None:
    less = load(adapter.name)
    less.activations = {"relu": adapter.activations["relu"]}
    less.biases, less.dtypes = ("none",), ("f64",)
    layers = Network((1, 1), ("relu",))
    for structure, message in (
        (Structure(layers, 1, "f32"), "dtype f32"),
        (Structure(replace(layers, bias="pre"), 1, "f64"), "bias placement pre"),
        (Structure(replace(layers, activations=("tanh",)), 1, "f64"), "activation tanh"),
    ):
        for make in (less.build, less.program):
            with pytest.raises(NotImplementedError, match=f"^{adapter.name} has no {message}$"):
                make(structure)
    less.program(Structure(layers, 1, "f64"))


def test_an_absent_device_is_refused_with_what_there_is(adapter: Adapter) -> None:
    with pytest.raises(ValueError, match=r"device: .* has no 'abacus' here; it has cpu"):
        type(adapter)(device="abacus")


def _torch_values(names: Sequence[str]) -> Iterator[bool]:
    import torch

    state = torch.random.get_rng_state()
    for name in names:
        structure = Structure(Network((2, 3), ("relu",), "post"), 2, "f32")
        load(name).program(structure)(*_draw(structure))
        yield bool(torch.equal(torch.random.get_rng_state(), state))


def test_torch_uses_one_thread_and_draws_no_random_numbers() -> None:
    torch = pytest.importorskip("torch")
    assert all(_torch_values(TORCH))
    assert torch.get_num_threads() == 1


def test_jax_keeps_the_process_at_its_own_precision() -> None:
    jax = pytest.importorskip("jax")
    before = jax.numpy.ones(1, float).dtype
    structure = Structure(Network((1, 1), ("relu",)), 1, "f64")
    assert load("jax").program(structure)(*_draw(structure)).outputs.dtype == np.float64
    assert jax.numpy.ones(1, float).dtype == before


@pytest.mark.parametrize("name", ["jax", "jax-vmap"])
def test_jax_compiles_one_program_for_a_structure(name: str) -> None:
    jax = pytest.importorskip("jax")
    structure = Structure(Network((3, 2, 4), ("softsign", "mish"), "post"), 6, "f32")
    program, compiled = load(name).program(structure), list[str]()

    def listen(event: str, duration: float, **_: object) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for seed in range(3):
            program(*_draw(structure, seed))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(compiled) == 1
